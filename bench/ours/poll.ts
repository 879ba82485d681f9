/** How the main thread learns what the processors in other threads have counted: it asks on a channel, each answers. */
import { BroadcastChannel } from 'node:worker_threads'
import { join, type Tally } from '../harness/tally.js'

export const tallyChannel = 'troupe-bench-tally'
/** On which time-rows.ts says what it measured, once. */
export const latencyChannel = 'troupe-bench-latency'

const pollMs = 20

/** Resolves with the joined tallies when `total` events were handled. */
export function untilHandled(total: number): Promise<Tally> {
  const channel = new BroadcastChannel(tallyChannel)
  const parts = new Map<number, Tally>()
  return new Promise((resolve) => {
    const timer = setInterval(() => channel.postMessage('poll'), pollMs)
    channel.onmessage = ({ data }) => {
      if (data === 'poll') return
      const { partition, tally } = data as { partition: number; tally: Tally }
      parts.set(partition, tally)
      const whole = join([...parts.values()])
      if (whole.count < total) return
      clearInterval(timer)
      channel.close()
      resolve(whole)
    }
  })
}
