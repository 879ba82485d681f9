/** The processor of the latency's measurement: from the moment at which a row's transaction was due to the begin of its handling. */
import { BroadcastChannel } from 'node:worker_threads'
import { defineProcessor } from '../../src/processor/processor.js'
import { now } from '../harness/tally.js'
import { latencyChannel } from './poll.js'

interface Resources {
  readonly channel: BroadcastChannel
  readonly latencies: Float64Array
  count: number
  beganAt: number
}

/** Events that are not counted, and all of them. */
const { warmUp, total } = JSON.parse(process.env.TROUPE_BENCH_LATENCY ?? '{"warmUp":0,"total":1}') as {
  readonly warmUp: number
  readonly total: number
}

export default defineProcessor<Resources>({
  open: () => ({
    channel: new BroadcastChannel(latencyChannel),
    latencies: new Float64Array(total),
    count: 0,
    beganAt: 0,
  }),
  handle(event, resources) {
    const at = now()
    resources.latencies[resources.count++] = at - Number(event.after!.get('due')) / 1000
    if (resources.count === warmUp) resources.beganAt = at
    if (resources.count === total)
      resources.channel.postMessage(latencyOf(resources.latencies.subarray(warmUp), at - resources.beganAt))
  },
  close: ({ channel }) => channel.close(),
})

function latencyOf(latencies: Float64Array, elapsedMs: number) {
  const sorted = latencies.sort()
  const at = (share: number) =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]! * 10) / 10
  return {
    events: sorted.length,
    perSecond: Math.round((sorted.length * 1000) / elapsedMs),
    p50: at(0.5),
    p99: at(0.99),
    max: at(1),
  }
}
