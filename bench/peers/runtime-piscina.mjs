// piscina: one task for each event over three threads. It has no order of keys, so none is asked of it.
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'
import { cpuMs, createReader, now, objectAt, peakRssMb, print } from './objects.mjs'

const reader = createReader()
export default (event) => {
  reader.see(event)
  return event.amount
}

if (isMainThread) {
  const { Piscina } = await import('piscina')
  const { events, threads } = JSON.parse(process.argv[2])
  const pool = new Piscina({ filename: fileURLToPath(import.meta.url), minThreads: threads, maxThreads: threads, concurrentTasksPerWorker: 100 })
  await pool.run(objectAt(0))
  const began = { at: now(), cpu: cpuMs() }
  let count = 0
  const window = []
  for (let sequence = 0; sequence < events; sequence++) {
    window.push(pool.run(objectAt(sequence)))
    if (window.length < 1_000 && sequence < events - 1) continue
    count += (await Promise.all(window.splice(0))).length
  }
  print({ count, elapsedMs: now() - began.at, cpuMs: cpuMs() - began.cpu, peakRssMb: peakRssMb() })
  process.exit(0)
}
