/**
 * Every flush of a checkpoint is late by a second and a half, and the process is killed in between: whatever was confirmed
 * to a source before its checkpoint was durable would now be lost.
 */
import { startObedient } from '../runtime/start.js'
import type { Scenario } from './scenario.js'
import { setStage } from './stage.js'

const flushDelay = 1_500

export const delayedFlush: Scenario = async ({ seed, faults, rate, progress }) => {
  const kills = faults ?? 5
  const stage = await setStage({ seed, rate })
  const start = () => startObedient(stage.pipeline(), { flushDelay })
  let runtime = start()
  const recoveries: number[] = []
  try {
    await stage.load()
    for (let kill = 1; kill <= kills; kill++) {
      await stage.pause(0, 2 * flushDelay)
      await runtime.kill()
      runtime = start()
      recoveries.push(await stage.recovered())
      progress(`killed ${kill} of ${kills}`)
    }
    await stage.settle()
    const exit = await runtime.stop()
    const broken =
      exit.code === 0 ? [] : [`the runtime ended with ${exit.signal ?? exit.code} after SIGTERM: ${exit.said}`]
    return { faults: kills, recoveries, lossWindows: 0, broken, check: await stage.judge(), notes: { flushDelay } }
  } finally {
    await runtime.kill()
    await stage.clear()
  }
}
