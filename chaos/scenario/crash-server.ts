/** PostgreSQL, or Redis (appendfsync always), is killed with SIGKILL at random moments under load, and started again. */
import { startThroughCli } from '../runtime/start.js'
import type { Scenario } from './scenario.js'
import { setStage } from './stage.js'

function crashServer(which: 'postgres' | 'redis'): Scenario {
  return async ({ seed, faults, rate, progress }) => {
    const kills = faults ?? 5
    const stage = await setStage({ seed, rate })
    const runtime = startThroughCli(stage.pipeline())
    const recoveries: number[] = []
    try {
      await stage.load()
      for (let kill = 1; kill <= kills; kill++) {
        await stage.pause(200, 1_500)
        await stage[which].kill()
        await stage.pause(0, 400)
        await stage[which].restart()
        recoveries.push(await stage.recovered())
        progress(`${which} killed ${kill} of ${kills}, ${await stage.sinkLength()} records in the sink`)
      }
      await stage.settle()
      const exit = await runtime.stop()
      const broken = exit.code === 0 ? [] : [`troupe run ended with ${exit.signal ?? exit.code}: ${exit.said}`]
      return { faults: kills, recoveries, lossWindows: 0, broken, check: await stage.judge() }
    } finally {
      await runtime.kill()
      await stage.clear()
    }
  }
}

export const crashPostgres = crashServer('postgres')
export const crashRedis = crashServer('redis')
