/**
 * Our side of `wal-redis`: the real runtime from the WAL to a Redis stream, with checkpoints. Timed at the sink, from the
 * first question to the last entry; the entries are read back afterwards and must prove the work.
 */
import { definePipeline } from '../../src/pipeline/define.js'
import { resolvePipeline } from '../../src/pipeline/resolve.js'
import { runPipeline } from '../../src/pipeline/run.js'
import type { PipelineConfig } from '../../src/pipeline/schema.js'
import { realWorld } from '../../src/world/real.js'
import { print } from '../harness/finish.js'
import { watchFirstAsk } from '../harness/first-ask.js'
import type { WorkShape } from '../harness/tally.js'
import { proveStream, watchStream } from '../workload/sink-stream.js'
import { quietLog } from './quiet-log.js'

export interface ToStreamInput {
  readonly config: PipelineConfig
  readonly redis: string
  readonly stream: string
  readonly shape: WorkShape
}

const { config, redis, stream, shape } = JSON.parse(process.argv[2]!) as ToStreamInput
const watched = watchStream(redis, stream, shape, watchFirstAsk('START_REPLICATION'))
const running = await runPipeline(resolvePipeline(definePipeline(config)), { world: realWorld, log: quietLog })
const failed = running.ended.then((reason) => {
  throw new Error(`the pipeline ended: ${JSON.stringify(reason)}`)
})
const seen = await Promise.race([watched, failed])
failed.catch(() => {})
await running.stop(10_000)
print({ ...seen, tally: await proveStream(redis, stream, shape) })
process.exit(0)
