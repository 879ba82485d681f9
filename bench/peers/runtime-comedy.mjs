// comedy's threaded actors: one `send` for each event, routed by key to three actors.
import { createRequire } from 'node:module'
import { cpuMs, keys, now, objectAt, peakRssMb, print } from './objects.mjs'

const actors = createRequire(import.meta.url)('comedy')
const { events, threads } = JSON.parse(process.argv[2])
const system = actors({ log: { info() {}, debug() {}, warn() {}, error: console.error } })
const root = await system.rootActor()

// comedy carries the text of a class to the thread, so it can name nothing from out here.
class Reader {
  initialize() {
    this.last = new Map()
    this.count = 0
    this.sum = 0
    this.disorder = 0
  }
  event(event) {
    const key = event.sequence % 1000
    if (event.sequence >= 1000 && this.last.get(key) !== event.sequence - 1000) this.disorder++
    this.last.set(key, event.sequence)
    this.sum += event.sequence + event.amount
    this.count++
  }
  total() {
    return { count: this.count, disorder: this.disorder }
  }
}
const children = []
for (let index = 0; index < threads; index++) children.push(await root.createChild(Reader, { mode: 'threaded', name: `reader${index}` }))
const began = { at: now(), cpu: cpuMs() }
let sending = []
for (let sequence = 0; sequence < events; sequence++) {
  sending.push(children[(sequence % keys) % threads].send('event', objectAt(sequence)))
  if (sending.length < 1_000) continue
  await Promise.all(sending)
  sending = []
}
await Promise.all(sending)
// `send` resolves before the event was handled: ask until all were.
let count = 0
while (count < events) {
  const parts = await Promise.all(children.map((child) => child.sendAndReceive('total')))
  count = parts.reduce((sum, part) => sum + part.count, 0)
}
print({
  count,
  elapsedMs: now() - began.at,
  cpuMs: cpuMs() - began.cpu,
  peakRssMb: peakRssMb(),
})
process.exit(0)
