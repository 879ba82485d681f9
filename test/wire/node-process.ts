/** A node in a process of its own, for tests that kill it: `node node-process.js SERVERS NAME`. Prints `ready`. */
import { childOf } from '../../src/actor/child.js'
import { createSystem } from '../../src/actor/system.js'
import { connectNats } from '../../src/wire/nats/connect.js'
import { natsNodeLink } from '../../src/wire/nats/node-transport.js'
import { realWorld } from '../../src/world/real.js'
import { counter, probe } from '../actor/behaviors.js'

const [servers, node] = process.argv.slice(2) as [string, string]
const log = { debug() {}, info() {}, warn() {}, error() {} }
const nats = await connectNats({ servers, name: `troupe.test.${node}`, world: realWorld, log })
const link = natsNodeLink(nats, { pipeline: 'test', node })
const system = createSystem({
  world: realWorld,
  log,
  node: { link, behaviors: [counter.ref, probe.ref], pingMs: 100, deadMs: 2_000 },
})
await system.start(childOf(counter, { id: 'it', args: { from: 40 } }))
process.stdout.write('ready\n')
