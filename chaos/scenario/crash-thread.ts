/** Worker threads that own partitions are killed at random moments under load; the process lives on. */
import { startObedient } from '../runtime/start.js'
import type { Scenario } from './scenario.js'
import { setStage } from './stage.js'

export const crashThread: Scenario = async ({ seed, faults, rate, progress }) => {
  const kills = faults ?? 10
  const stage = await setStage({ seed, rate })
  const runtime = startObedient(stage.pipeline())
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
    const broken = killed === kills ? [] : [`only ${killed} of ${kills} threads could be killed`]
    return {
      faults: killed,
      recoveries,
      lossWindows: 0,
      broken,
      check: await stage.judge(),
      notes: { restarts, exit: exit.code ?? -1 },
    }
  } finally {
    await runtime.kill()
    await stage.clear()
  }
}
