/**
 * The process of `troupe run` is killed with SIGKILL at random moments under load, and started again each time. With the
 * fenced sink, which stores the checkpoint with the work, nothing may be there twice.
 */
import { startThroughCli } from '../runtime/start.js'
import { repeats, type Scenario } from './scenario.js'
import { setStage } from './stage.js'

const crash =
  (exactlyOnce: boolean): Scenario =>
  async ({ seed, faults, rate, progress }) => {
    const kills = faults ?? 20
    const stage = await setStage({ seed, rate })
    const start = () => startThroughCli(stage.pipeline({ exactlyOnce }))
    let runtime = start()
    const recoveries: number[] = []
    try {
      await stage.load()
      for (let kill = 1; kill <= kills; kill++) {
        // Some deaths come while it is still getting up.
        await stage.pause(kill % 4 === 0 ? 0 : 50, kill % 4 === 0 ? 600 : 900)
        await runtime.kill()
        runtime = start()
        if (kill % 4 !== 3) recoveries.push(await stage.recovered())
        progress(`killed ${kill} of ${kills}, ${await stage.sinkLength()} records in the sink`)
      }
      await stage.recovered()
      await stage.settle()
      const exit = await runtime.stop()
      const check = await stage.judge()
      const broken = exactlyOnce ? repeats(check) : []
      if (exit.code !== 0) broken.push(`troupe run ended with ${exit.signal ?? exit.code} after SIGTERM: ${exit.said}`)
      return { faults: kills, recoveries, lossWindows: 0, broken, check }
    } finally {
      await runtime.kill()
      await stage.clear()
    }
  }

export const crashTroupe = crash(false)
export const crashTroupeFenced = crash(true)
