/** The process of `troupe run` is killed with SIGKILL at random moments under load, and started again each time. */
import { startThroughCli } from '../runtime/start.js'
import type { Scenario } from './scenario.js'
import { setStage } from './stage.js'

export const crashTroupe: Scenario = async ({ seed, faults, rate, progress }) => {
  const kills = faults ?? 20
  const stage = await setStage({ seed, rate })
  let runtime = startThroughCli(stage.pipeline())
  const recoveries: number[] = []
  try {
    await stage.load()
    for (let kill = 1; kill <= kills; kill++) {
      // Some deaths come while it is still getting up.
      await stage.pause(kill % 4 === 0 ? 0 : 50, kill % 4 === 0 ? 600 : 900)
      await runtime.kill()
      runtime = startThroughCli(stage.pipeline())
      if (kill % 4 !== 3) recoveries.push(await stage.recovered())
      progress(`killed ${kill} of ${kills}, ${await stage.sinkLength()} records in the sink`)
    }
    await stage.recovered()
    await stage.settle()
    const exit = await runtime.stop()
    const broken =
      exit.code === 0 ? [] : [`troupe run ended with ${exit.signal ?? exit.code} after SIGTERM: ${exit.said}`]
    return { faults: kills, recoveries, lossWindows: 0, broken, check: await stage.judge() }
  } finally {
    await runtime.kill()
    await stage.clear()
  }
}
