/**
 * Our side of `wal` and `streams`: the real runtime, from preflight to checkpoint, with count-rows.ts as its processor.
 * A process of its own: `node to-handler.js {"config": …, "shape": …}`.
 */

import { definePipeline } from '../../src/pipeline/define.js'
import { resolvePipeline } from '../../src/pipeline/resolve.js'
import { runPipeline } from '../../src/pipeline/run.js'
import type { PipelineConfig } from '../../src/pipeline/schema.js'
import { realWorld } from '../../src/world/real.js'
import { printTally } from '../harness/finish.js'
import { watchFirstAsk } from '../harness/first-ask.js'
import type { WorkShape } from '../harness/tally.js'
import { untilHandled } from './poll.js'
import { quietLog } from './quiet-log.js'

export interface ToHandlerInput {
  readonly config: PipelineConfig
  readonly shape: WorkShape
}

const { config, shape } = JSON.parse(process.argv[2]!) as ToHandlerInput
process.env.TROUPE_BENCH_SHAPE = JSON.stringify(shape)
const began = watchFirstAsk(
  Object.values(config.sources).some(({ kind }) => kind === 'postgres') ? 'START_REPLICATION' : 'XREAD',
)
const handled = untilHandled(shape.total)
const running = await runPipeline(resolvePipeline(definePipeline(config)), { world: realWorld, log: quietLog })
const failed = running.ended.then((reason) => {
  throw new Error(`the pipeline ended: ${JSON.stringify(reason)}`)
})
const tally = await Promise.race([handled, failed])
failed.catch(() => {})
printTally(tally, began())
await running.stop(10_000)
process.exit(0)
