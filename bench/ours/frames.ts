/**
 * Our side of `runtime`: the real log, owners and processors on three threads, with a pump in the place of a reader.
 * One round warms up, the others are measured from the first append to the last frame that came back.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BroadcastChannel } from 'node:worker_threads'
import { childOf } from '../../src/actor/child.js'
import { supervisor } from '../../src/actor/supervisor.js'
import { createSystem } from '../../src/actor/system.js'
import { log } from '../../src/log/log-actor.js'
import { consumer } from '../../src/partition/owner.js'
import { processor } from '../../src/processor/processor-actor.js'
import { realWorld } from '../../src/world/real.js'
import { peakRssMb, print } from '../harness/finish.js'
import { runtimePartitions, runtimeSource, runtimeSum } from '../workload/frames.js'
import type { FrameTally } from './frame-tally.js'
import { tallyChannel } from './poll.js'
import { type PumpMessage, pump, type Round } from './pump.js'
import { quietLog } from './quiet-log.js'

export interface FramesInput {
  readonly events: number
  readonly rounds: number
  readonly threads: number
  readonly handler: 'sync' | 'async'
}

const input = JSON.parse(process.argv[2]!) as FramesInput
const folder = mkdtempSync(join(tmpdir(), 'troupe-bench-'))
const mailbox = { capacity: 262_144, full: 'fail' } as const
const handler = new URL(input.handler === 'sync' ? './count-frames.js' : './count-frames-async.js', import.meta.url)
  .href
const handlerModule = new URL('../../src/pipeline/handler.js', import.meta.url).href

const owners = Array.from({ length: runtimePartitions }, (_, partition) =>
  childOf(supervisor, {
    id: `key-${partition}`,
    placement: { thread: `owners-${partition % input.threads}` },
    args: {
      strategy: 'rest-for-one',
      children: [
        childOf(consumer, {
          id: 'consumer',
          mailbox,
          args: { set: 'key', partition, processors: [{ name: 'count', from: [] }], log: '/bench/log' },
        }),
        childOf(processor, {
          id: 'count',
          mailbox,
          args: {
            pipeline: 'bench',
            processor: 'count',
            set: 'key',
            partition,
            partitions: runtimePartitions,
            order: 'key',
            concurrency: 16,
            filter: { namespaces: [], entities: [], operations: [] },
            handler: { loader: { module: handlerModule, export: 'loadHandler' }, place: { module: handler } },
            sink: null,
            retry: { initial: 100, max: 10_000, maxElapsed: 60_000, jitter: 0.2 },
            onFailure: 'stop',
            dataDirectory: folder,
            consumer: `/bench/key-${partition}/consumer`,
          },
        }),
      ],
    },
  }),
)

const system = createSystem({ world: realWorld, log: quietLog })
await system.start(
  childOf(supervisor, {
    id: 'bench',
    args: {
      strategy: 'one-for-all',
      intensity: { restarts: 0, periodMs: 1_000 },
      children: [
        childOf(log, {
          id: 'log',
          mailbox,
          args: {
            dataDirectory: folder,
            sets: [{ name: 'key', partitions: runtimePartitions, processors: ['count'] }],
            sources: [runtimeSource],
            checkpointInterval: 1_000,
            flushDelay: 0,
          },
        }),
        ...owners,
        childOf(pump, { id: 'pump', mailbox, args: { log: '/bench/log', events: input.events } }),
      ],
    },
  }),
)
const pumping = system.ref<PumpMessage>('/bench/pump')

async function runRound(): Promise<Round> {
  pumping.tell({ type: 'round' })
  for (;;) {
    const round = await pumping.ask<Round | null>({ type: 'result' }, 10_000)
    if (round !== null) return round
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

async function tallies(): Promise<FrameTally[]> {
  const channel = new BroadcastChannel(tallyChannel)
  const found = new Map<number, FrameTally>()
  await new Promise<void>((resolve) => {
    channel.onmessage = (message) => {
      const { data } = message as { data: FrameTally | 'poll' }
      if (data === 'poll') return
      found.set(data.partition, data)
      if (found.size === runtimePartitions) resolve()
    }
    channel.postMessage('poll')
  })
  channel.close()
  return [...found.values()]
}

await runRound()
const rounds: Round[] = []
for (let round = 0; round < input.rounds; round++) rounds.push(await runRound())
const parts = await tallies()
const total = (field: 'count' | 'sum' | 'disorder') => parts.reduce((sum, part) => sum + part[field], 0)
const all = input.rounds + 1
if (total('count') !== input.events * all || total('disorder') > 0 || total('sum') !== runtimeSum(input.events) * all)
  throw new Error(`counted ${total('count')} of ${input.events * all}, ${total('disorder')} out of order`)
const threads = [...new Map(parts.map((part) => [part.thread, part])).values()]
const allocated = threads.reduce((sum, part) => sum + part.allocated, 0)
const sampled = threads.reduce((sum, part) => sum + part.sampledEvents, 0)
print({
  count: input.events * input.rounds,
  elapsedMs: rounds.reduce((sum, round) => sum + round.elapsedMs, 0),
  cpuMs: rounds.reduce((sum, round) => sum + round.cpuMs, 0),
  peakRssMb: peakRssMb(),
  extra: { allocatedBytesPerEvent: Math.round(allocated / Math.max(1, sampled)) },
})
await system.stop(5_000)
rmSync(folder, { recursive: true, force: true })
process.exit(0)
