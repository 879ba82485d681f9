/**
 * The limit of `runtime`: the same frames, handed to bare worker threads that walk the lengths of their records and count.
 * No actors, no order, no views.
 */
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { head, header, headerBytes } from '../../src/event/layout.js'
import { peakRssMb, print } from '../harness/finish.js'
import { cpuMs, now } from '../harness/tally.js'
import { buildFrames } from '../workload/frames.js'

interface Batch {
  readonly memory: SharedArrayBuffer
  readonly offsets: readonly number[]
}

const input = JSON.parse(process.argv[2] ?? '{}') as { events: number; rounds: number; threads: number }

function walk({ memory, offsets }: Batch): number {
  const view = new DataView(memory)
  let count = 0
  for (const offset of offsets) {
    const end = offset + view.getUint32(offset + header.footer, true)
    for (let at = offset + headerBytes; at < end; at += view.getUint32(at + head.length, true)) count++
  }
  return count
}

if (isMainThread) {
  const flushes = buildFrames(input.events)
  const workers = Array.from({ length: input.threads }, () => new Worker(new URL(import.meta.url)))
  const round = () =>
    new Promise<number>((resolve) => {
      let counted = 0
      const listen = (count: number) => {
        counted += count
        if (counted < input.events) return
        for (const worker of workers) worker.off('message', listen)
        resolve(counted)
      }
      for (const worker of workers) worker.on('message', listen)
      for (const { slab, frames } of flushes)
        workers.forEach((worker, index) => {
          const own = frames.filter(({ partition }) => partition % workers.length === index)
          if (own.length > 0)
            worker.postMessage({ memory: slab.memory, offsets: own.map(({ offset }) => offset) } satisfies Batch)
        })
    })
  await round()
  const began = { at: now(), cpu: cpuMs() }
  let count = 0
  for (let left = input.rounds; left > 0; left--) count += await round()
  print({ count, elapsedMs: now() - began.at, cpuMs: cpuMs() - began.cpu, peakRssMb: peakRssMb() })
  process.exit(0)
} else parentPort!.on('message', (batch: Batch) => parentPort!.postMessage(walk(batch)))
