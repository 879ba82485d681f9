/**
 * An older copy of the data directory is put back, as after a lost tail or a restored backup. The slot is then ahead of the
 * checkpoint: the source must stop with `slot-ahead` and say so; with `onGap: report` it goes on and reports a loss window.
 * What lies between had been processed before the copy was put back, so nothing is lost; the clicks come again.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { startObedient } from '../runtime/start.js'
import { copyData } from './copy.js'
import type { Scenario } from './scenario.js'
import { setStage } from './stage.js'

export const staleCheckpoint: Scenario = async ({ seed, rate, progress }) => {
  const stage = await setStage({ seed, rate })
  const copy = join(stage.folder, 'older')
  const { data } = stage.pipeline()
  const broken: string[] = []
  let runtime = startObedient(stage.pipeline())
  try {
    await stage.load()
    await stage.pause(200, 800)
    await runtime.kill()
    copyData(data, copy)
    progress('copied the data directory')

    runtime = startObedient(stage.pipeline())
    await stage.recovered()
    await stage.pause(300, 1_500)
    await stage.recovered()
    await runtime.kill()
    rmSync(data, { recursive: true })
    copyData(copy, data)
    progress('put the older copy back')

    runtime = startObedient(stage.pipeline())
    const refused = await runtime.ended
    if (refused.code !== 1 || !refused.said.includes('slot-ahead'))
      broken.push(
        `expected the end with slot-ahead, got ${refused.signal ?? refused.code}: ${refused.said.slice(-500)}`,
      )
    progress('refused with slot-ahead')

    runtime = startObedient(stage.pipeline({ onGap: 'report' }))
    await runtime.running
    const recovery = await stage.recovered()
    const { lossWindows } = await runtime.ask({ type: 'status' }, 'status')
    if (lossWindows === 0) broken.push('no loss window was reported')
    await stage.settle()
    const exit = await runtime.stop()
    if (exit.code !== 0) broken.push(`the runtime ended with ${exit.signal ?? exit.code} after SIGTERM: ${exit.said}`)
    return { faults: 1, recoveries: [recovery], lossWindows, broken, check: await stage.judge() }
  } finally {
    await runtime.kill()
    await stage.clear()
  }
}
