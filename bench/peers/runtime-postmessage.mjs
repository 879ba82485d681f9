// postMessage of one object for each event, routed by key to three worker threads.
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { cpuMs, createReader, keys, now, objectAt, peakRssMb, print } from './objects.mjs'

if (isMainThread) {
  const { events, threads } = JSON.parse(process.argv[2])
  const workers = Array.from({ length: threads }, () => new Worker(new URL(import.meta.url)))
  const total = () =>
    Promise.all(
      workers.map(
        (worker) =>
          new Promise((resolve) => {
            worker.once('message', resolve)
            worker.postMessage('total')
          }),
      ),
    )
  await total()
  const began = { at: now(), cpu: cpuMs() }
  for (let sequence = 0; sequence < events; sequence++)
    workers[(sequence % keys) % threads].postMessage(objectAt(sequence))
  const parts = await total()
  const count = parts.reduce((sum, part) => sum + part.count, 0)
  if (parts.some((part) => part.disorder > 0)) throw new Error('out of order')
  print({ count, elapsedMs: now() - began.at, cpuMs: cpuMs() - began.cpu, peakRssMb: peakRssMb() })
  process.exit(0)
} else {
  const reader = createReader()
  parentPort.on('message', (event) => {
    if (event === 'total') parentPort.postMessage(reader.state)
    else reader.see(event)
  })
}
