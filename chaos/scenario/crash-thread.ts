/**
 * Worker threads that own partitions are killed at random moments under load; the process lives on. With the fenced sink,
 * nothing may be there twice.
 */
import { startObedient } from '../runtime/start.js'
import { repeats, type Scenario } from './scenario.js'
import { setStage } from './stage.js'

const crash =
  (exactlyOnce: boolean): Scenario =>
  async ({ seed, faults, rate, progress }) => {
    const kills = faults ?? 10
    const stage = await setStage({ seed, rate })
    const runtime = startObedient(stage.pipeline({ exactlyOnce }))
    const recoveries: number[] = []
    try {
      await runtime.running
      await stage.load()
      let killed = 0
      for (let kill = 1; kill <= kills; kill++) {
        await stage.pause(100, 1_200)
        const { thread } = await runtime.ask({ type: 'kill-thread', pick: stage.seed.below(1_000) }, 'killed')
        if (thread !== null) killed++
        recoveries.push(await stage.recovered())
        progress(`killed ${thread} (${kill} of ${kills})`)
      }
      const { restarts } = await runtime.ask({ type: 'status' }, 'status')
      await stage.settle()
      const exit = await runtime.stop()
      const check = await stage.judge()
      const broken = exactlyOnce ? repeats(check) : []
      if (exit.code !== 0) broken.push(`the runtime ended with ${exit.signal ?? exit.code} after SIGTERM: ${exit.said}`)
      if (killed < kills) broken.push(`only ${killed} of ${kills} threads could be killed`)
      return {
        faults: killed,
        recoveries,
        lossWindows: 0,
        broken,
        check,
        notes: { restarts },
      }
    } finally {
      await runtime.kill()
      await stage.clear()
    }
  }

export const crashThread = crash(false)
export const crashThreadFenced = crash(true)
