/** The log of a reader as an actor: it speaks for the reader beside it, and goes on speaking while it seals. */
import { expect, onTestFinished, test } from 'vitest'
import { childOf } from '../../src/actor/child.js'
import { supervisor } from '../../src/actor/supervisor.js'
import { createSystem } from '../../src/actor/system.js'
import { provisionStream } from '../../src/log/jetstream/provision.js'
import { type LogWriterMessage, logWriter } from '../../src/log/jetstream/writer-actor.js'
import { realWorld } from '../../src/world/real.js'
import { linkTo, server, silent } from './nats-harness.js'
import { type ReaderStubMessage, readerStub, readers } from './reader-stub.js'
import { names, settle } from './shop-log.js'

async function unit(patience: number) {
  const nats = await server({ syncInterval: 'always' })
  const link = await linkTo(nats.url)
  await provisionStream(link, names, { maxBytes: 256 * 1024 * 1024, provision: true, log: silent })
  const system = createSystem({ world: realWorld, log: silent })
  onTestFinished(() => system.stop(10_000))
  readers.broken = false
  await system.start(
    childOf(supervisor, {
      id: 'root',
      args: {
        strategy: 'rest-for-one',
        intensity: { restarts: 100_000, periodMs: 60_000 },
        backoff: { initialMs: 1, maxMs: 20 },
        children: [
          childOf(logWriter, {
            id: 'log',
            args: {
              address: { pipeline: 'shop', node: 'n1', servers: nats.url, holdback: 0 },
              control: '/root/nobody',
              resource: 'reader.db',
              source: 'db',
              sets: [{ name: 'key', partitions: 1, processors: ['a'] }],
              closeWithin: 100,
              patience,
            },
          }),
          childOf(readerStub, { id: 'reader', args: { log: '/root/log' } }),
        ],
      },
    }),
  )
  const log = system.ref<LogWriterMessage>('/root/log')
  return {
    nats,
    log,
    reader: system.ref<ReaderStubMessage>('/root/reader'),
    alive: () => log.ask({ type: 'alive' }, 500).catch(() => 'no answer'),
  }
}

test('the unit of a reader that hangs gives no proof of life', async () => {
  const { reader, alive } = await unit(60_000)
  await settle(async () => expect(await alive()).toBe(true))
  await reader.ask({ type: 'alive' }, 1_000)
  reader.tell({ type: 'hang' })
  await settle(async () => expect(await alive()).toBe('no answer'))
}, 60_000)

test('the unit of a reader that cannot come up gives proof of life for as long as it may be down, and again once it is up', async () => {
  const { reader, alive } = await unit(2_000)
  await settle(async () => expect(await alive()).toBe(true))
  readers.broken = true
  reader.tell({ type: 'fall' })
  await expect(reader.ask({ type: 'alive' }, 1_000)).rejects.toMatchObject({ code: 'actor-gone' })
  expect(await alive()).toBe(true)
  await settle(async () => expect(await alive()).toBe(false))
  readers.broken = false
  await settle(async () => expect(await alive()).toBe(true))
}, 60_000)

test('while a writer seals and reads what the source must be told, its actor answers', async () => {
  const { nats, log, reader, alive } = await unit(60_000)
  await settle(async () => expect(await alive()).toBe(true))
  nats.pause()
  onTestFinished(() => nats.resume())
  const term = async () => (await log.ask<{ term: number }>({ type: 'figures' }, 500)).term
  const before = await term()
  reader.tell({ type: 'fall' })
  // The new writer has no term yet: its seal waits for the server.
  await settle(async () => expect(await term()).toBe(0))
  expect(await alive()).toBe(true)
  nats.resume()
  await settle(async () => expect(await term()).toBeGreaterThan(before))
}, 60_000)
