/** The log of a partition as an actor: what it is told while it closes still counts. */
import { expect, onTestFinished, test } from 'vitest'
import type { SupervisorMessage } from '../../src/actor/actor.js'
import { childOf } from '../../src/actor/child.js'
import { supervisor } from '../../src/actor/supervisor.js'
import { createSystem } from '../../src/actor/system.js'
import { createNatsStream } from '../../src/log/jetstream/nats-stream.js'
import {
  type PartitionLogArgs,
  type PartitionLogMessage,
  partitionLog,
} from '../../src/log/jetstream/partition-actor.js'
import { provisionStream } from '../../src/log/jetstream/provision.js'
import { decodeProcessor } from '../../src/log/jetstream/stored.js'
import { realWorld } from '../../src/world/real.js'
import { consumerStub, heard, type StubMessage } from './consumer-stub.js'
import { gateBefore } from './gate.js'
import { linkTo, server, silent } from './nats-harness.js'
import { names, settle, write } from './shop-log.js'

const argsAt = (servers: string): PartitionLogArgs => ({
  address: { pipeline: 'shop', node: 'n1', servers, holdback: 0 },
  control: '/root/stub',
  resource: 'part.key.0',
  scope: 'key',
  partition: 0,
  processors: [{ name: 'a', start: 'earliest' }],
  checkpointInterval: 60_000,
  retain: 0,
  window: 1024 * 1024,
})

const at = { set: 'key', partition: 0 }

/** An owner that has given out one frame. */
async function owner() {
  const nats = await server({ syncInterval: 'always' })
  const link = await linkTo(nats.url)
  await provisionStream(link, names, { maxBytes: 256 * 1024 * 1024, provision: true, log: silent })
  const stream = createNatsStream(link, names, { log: silent })
  const { append } = await write(stream)
  append(1)
  const system = createSystem({ world: realWorld, log: silent })
  onTestFinished(() => system.stop(10_000))
  heard.length = 0
  await system.start(
    childOf(supervisor, {
      id: 'root',
      args: {
        strategy: 'rest-for-one',
        children: [
          childOf(consumerStub, { id: 'stub', args: null }),
          childOf(partitionLog, { id: 'log', args: argsAt(nats.url) }),
        ],
      },
    }),
  )
  const log = system.ref<PartitionLogMessage>('/root/log')
  const stub = system.ref<StubMessage>('/root/stub')
  log.tell({ type: 'attach', ...at, owner: '/root/stub', token: 1, processors: ['a'] })
  await settle(() => expect(heard.flatMap((one) => ('frames' in one ? one.frames : []))).toHaveLength(1))
  const session = heard.flatMap((one) => (one.type === 'attached' ? [one.session] : []))[0]!
  return { stream, log, stub, session }
}

test('an owner that is asked to close hears that what it gave out is finished, stores that, says that nothing is left, and does not wait for its deadline', async () => {
  const { stream, log, stub, session } = await owner()
  const closed = log.ask({ type: 'close', deadlineMs: 600_000 }, 30_000)
  const message = { type: 'finished', ...at, processor: 'a', sequence: 1, session } as const
  stub.tell({ type: 'tell-log', log: '/root/log', message })
  expect(await closed).toBe(true)
  const subject = names.processor('a', 'key', 0)
  const stored = await stream.last(subject, 5_000)
  expect(decodeProcessor(stored!.payload, subject).sequence).toBeGreaterThan(0)
}, 60_000)

test('an owner whose start was given up while it sealed seals nothing when the servers are heard again, and leaves no connection', async () => {
  const nats = await server({ syncInterval: 'always' })
  const link = await linkTo(nats.url)
  await provisionStream(link, names, { maxBytes: 256 * 1024 * 1024, provision: true, log: silent })
  const stream = createNatsStream(link, names, { log: silent })
  const gate = await gateBefore(nats.port, 'STREAM.MSG.GET')
  const system = createSystem({ world: realWorld, log: silent })
  onTestFinished(() => system.stop(10_000))
  const stub = childOf(consumerStub, { id: 'stub', args: null })
  await system.start(childOf(supervisor, { id: 'root', args: { strategy: 'one-for-one', children: [stub] } }))
  const root = system.ref<SupervisorMessage>('/root')
  const args = argsAt(`nats://127.0.0.1:${gate.port}`)
  const starting = root
    .ask({ type: 'start-child', spec: childOf(partitionLog, { id: 'log', shutdownMs: 50, args }) }, 60_000)
    .catch((error) => error)
  await settle(() => expect(gate.holding).toBe(true))
  await root.ask({ type: 'stop-child', id: 'log' }, 10_000)
  await starting
  expect(gate.connections).toBe(1)
  gate.open()
  await settle(() => expect(gate.connections).toBe(0))
  expect(await stream.last(names.processor('a', 'key', 0), 5_000)).toBeNull()
}, 60_000)

test('an owner that closes while a processor is still at work says so, and lives no more', async () => {
  const { log } = await owner()
  expect(await log.ask({ type: 'alive' }, 5_000)).toBe(true)
  expect(await log.ask({ type: 'close', deadlineMs: 10 }, 30_000)).toBe(false)
  expect(await log.ask({ type: 'alive' }, 5_000)).toBe(false)
}, 60_000)
