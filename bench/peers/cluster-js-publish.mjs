// What one writes first: one event a message, each publish awaited, `inFlight` of them at once (1: one after the other).
// The event's bytes are at hand; nothing is read from a WAL, nobody consumes.
import { jetstream } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'

const { servers, subject, eventBytes, events, inFlight } = JSON.parse(process.argv[2])
const connection = await connect({ servers: servers.split(',') })
const js = jetstream(connection)
const payload = Buffer.alloc(eventBytes, 'x')
const began = performance.now()
const before = process.cpuUsage()
let left = events
async function publish() {
  while (left-- > 0) await js.publish(subject, payload, { timeout: 20_000 })
}
await Promise.all(Array.from({ length: inFlight }, publish))
const { user, system } = process.cpuUsage(before)
console.log(
  JSON.stringify({
    count: events,
    elapsedMs: performance.now() - began,
    cpuMs: (user + system) / 1000,
    peakRssMb: process.resourceUsage().maxRSS / 1024,
  }),
)
process.exit(0)
