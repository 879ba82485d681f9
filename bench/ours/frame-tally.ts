/** What the processors of `runtime` count: the order of each key, the sum of two columns, and the heap that they use up. */
import { getHeapStatistics } from 'node:v8'
import { BroadcastChannel } from 'node:worker_threads'
import type { ChangeEvent } from '../../src/event/event.js'
import { runtimeKeys } from '../workload/frames.js'
import { tallyChannel } from './poll.js'

export interface FrameTally {
  readonly partition: number
  readonly count: number
  readonly sum: number
  readonly disorder: number
  /** Of the thread: bytes allocated on its heap between events, as far as samples can tell. */
  readonly thread: number
  readonly allocated: number
  readonly sampledEvents: number
}

const sampleEvery = 1_024

/** One for each thread: the heap is the thread's, however many partitions it owns. A fall is a collection and counts for nothing. */
const heap = { id: Math.floor(performance.now() * 1000) + process.pid, events: 0, allocated: 0, sampled: 0, last: 0 }

function sampleHeap(): void {
  if (++heap.events % sampleEvery !== 0) return
  const used = getHeapStatistics().used_heap_size
  if (heap.last > 0 && used >= heap.last) {
    heap.allocated += used - heap.last
    heap.sampled += sampleEvery
  }
  heap.last = used
}

export interface FrameCounter {
  see(event: ChangeEvent): void
  close(): void
}

export function createFrameCounter(partition: number): FrameCounter {
  const last = new Int32Array(runtimeKeys).fill(-1)
  let count = 0
  let sum = 0
  let disorder = 0
  const channel = new BroadcastChannel(tallyChannel)
  channel.onmessage = (message) => {
    if ((message as { data: unknown }).data !== 'poll') return
    const { id, allocated, sampled } = heap
    const tally: FrameTally = { partition, count, sum, disorder, thread: id, allocated, sampledEvents: sampled }
    channel.postMessage(tally)
  }
  ;(channel as unknown as { unref(): void }).unref()
  return {
    see(event) {
      const row = event.after!
      const sequence = row.get('sequence') as number
      const key = sequence % runtimeKeys
      // A round begins anew with the key's first row.
      if (sequence >= runtimeKeys && last[key] !== sequence - runtimeKeys) disorder++
      last[key] = sequence
      sum += sequence + (row.get('amount') as number)
      count++
      sampleHeap()
    },
    close: () => channel.close(),
  }
}
