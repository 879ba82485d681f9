/**
 * One node of our side of `cluster`: the real runtime with its membership, as `troupe run --cluster` runs it. The child of
 * cluster-to-handler.ts (or of the latency's measurement), with which it speaks, and dies.
 */
import { BroadcastChannel } from 'node:worker_threads'
import { definePipeline } from '../../src/pipeline/define.js'
import { resolvePipeline } from '../../src/pipeline/resolve.js'
import { runPipeline } from '../../src/pipeline/run.js'
import type { PipelineConfig } from '../../src/pipeline/schema.js'
import { realWorld } from '../../src/world/real.js'
import { peakRssMb } from '../harness/finish.js'
import { type Moment, watchFirstAsk } from '../harness/first-ask.js'
import { cpuMs, type Tally, type WorkShape } from '../harness/tally.js'
import type { Latency } from '../latency.js'
import { latencyChannel, untilHandled } from './poll.js'
import { quietLog } from './quiet-log.js'

export interface ClusterNodeInput {
  readonly config: PipelineConfig
  readonly servers: string
  readonly node: string
  /** The reader's node says when it first asked; the owner's, when all is handled. */
  readonly role: 'reader' | 'owner'
  readonly shape: WorkShape
  /** The owner measures latencies instead of counting. */
  readonly latency?: { readonly warmUp: number; readonly total: number }
}

export type FromNode =
  | { readonly type: 'joined'; readonly cpuMs: number }
  | { readonly type: 'handled'; readonly tally: Tally }
  | { readonly type: 'latency'; readonly latency: Latency }
  | {
      readonly type: 'report'
      readonly began: Moment | null
      readonly cpuMs: number
      readonly peakRssMb: number
      /** Of frames, appended by this node. */
      readonly bytes: number
    }

const { config, servers, node, role, shape, latency } = JSON.parse(process.argv[2]!) as ClusterNodeInput
process.env.TROUPE_BENCH_SHAPE = JSON.stringify(shape)
if (latency !== undefined) process.env.TROUPE_BENCH_LATENCY = JSON.stringify(latency)
process.on('disconnect', () => process.exit(1))
const say = (message: FromNode) => void process.send!(message)
const firstAsk = role === 'reader' ? watchFirstAsk('START_REPLICATION') : null
/** Null: it has not asked yet, or is not to. */
function began(): Moment | null {
  try {
    return firstAsk?.() ?? null
  } catch {
    return null
  }
}
if (role === 'owner' && latency === undefined)
  void untilHandled(shape.total).then((tally) => say({ type: 'handled', tally }))
if (latency !== undefined)
  new BroadcastChannel(latencyChannel).onmessage = ({ data }) => say({ type: 'latency', latency: data as Latency })
const running = await runPipeline(resolvePipeline(definePipeline(config)), {
  world: realWorld,
  log: quietLog,
  cluster: { servers, node, version: 'bench' },
})
say({ type: 'joined', cpuMs: cpuMs() })
process.on('message', () => {
  void running.status().then(({ sources }) => {
    const bytes = sources.reduce((sum, source) => sum + source.bytesIn, 0)
    say({ type: 'report', began: began(), cpuMs: cpuMs(), peakRssMb: peakRssMb(), bytes })
  })
})
const reason = await running.ended
process.stderr.write(`the pipeline ended: ${JSON.stringify(reason)}\n`, () => process.exit(1))
