import { jetstreamManager } from '@nats-io/jetstream'
import { connect, createInbox, type NatsConnection } from '@nats-io/transport-node'
import { expect, onTestFinished, test } from 'vitest'
import { createControl } from '../../src/membership/control.js'
import type { Control } from '../../src/membership/control-port.js'
import { bucketOf, openNatsKv } from '../../src/membership/nats-kv.js'
import type { KvEntry, KvPort, Units } from '../../src/membership/port.js'
import { type NatsServer, startNats } from '../../src/servers/index.js'
import { realWorld } from '../../src/world/real.js'
import { until } from '../actor/harness.js'
import { silentLog } from './model.js'

async function serverUp(): Promise<NatsServer> {
  const server = await startNats()
  onTestFinished(() => server.stop())
  return server
}

async function connected(server: NatsServer): Promise<NatsConnection> {
  const connection = await connect({ servers: server.url, maxReconnectAttempts: -1, reconnectTimeWait: 100 })
  onTestFinished(() => connection.close())
  return connection
}

async function kvOf(server: NatsServer, rest: { deadline?: number; silence?: number } = {}): Promise<KvPort> {
  const connection = await connected(server)
  const inbox = () => createInbox()
  return openNatsKv({ connection, inbox, world: realWorld, pipeline: 'shop', replicas: 1, provision: true, ...rest })
}

/** Writes whatever there is, where nobody else writes. */
async function put(kv: KvPort, key: string, value: Uint8Array): Promise<number> {
  const entry = await kv.get(key)
  const written =
    entry === null || entry.value === null ? await kv.create(key, value) : await kv.update(key, value, entry.revision)
  expect(written).toBeGreaterThan(0)
  return written!
}

const bytes = (text: string): Uint8Array => Buffer.from(text)

interface Watched {
  readonly entries: KvEntry[]
  readonly latest: Map<string, string | null>
  ready: boolean
  stop(): void
}

function watched(kv: KvPort): Watched {
  const latest = new Map<string, string | null>()
  const entries: KvEntry[] = []
  const state: Watched = { entries, latest, ready: false, stop: () => watch.stop() }
  const watch = kv.watch({
    entry(entry) {
      entries.push(entry)
      latest.set(entry.key, entry.value === null ? null : Buffer.from(entry.value).toString())
    },
    ready() {
      state.ready = true
    },
    failed(error) {
      throw error
    },
  })
  onTestFinished(() => watch.stop())
  return state
}

test('a key is created once, updated over its last revision, removed over its last revision, and created again', async () => {
  const kv = await kvOf(await serverUp())
  const first = await kv.create('lease.part.key.1', bytes('a'))
  expect(first).toBeGreaterThan(0)
  expect(await kv.create('lease.part.key.1', bytes('b'))).toBeNull()
  const second = await kv.update('lease.part.key.1', bytes('c'), first!)
  expect(second).toBeGreaterThan(first!)
  expect(await kv.update('lease.part.key.1', bytes('d'), first!)).toBeNull()
  expect(await kv.remove('lease.part.key.1', first!)).toBe(false)
  expect(Buffer.from((await kv.get('lease.part.key.1'))!.value!).toString()).toBe('c')
  expect(await kv.remove('lease.part.key.1', second!)).toBe(true)
  expect((await kv.get('lease.part.key.1'))!.value).toBeNull()
  expect(await kv.get('lease.part.key.2')).toBeNull()
  expect(await kv.update('lease.part.key.2', bytes('x'), 1)).toBeNull()
  expect(await kv.create('lease.part.key.1', bytes('e'))).toBeGreaterThan(second!)
})

test('of many that create one key at once, one does', async () => {
  const server = await serverUp()
  const ports = await Promise.all([kvOf(server), kvOf(server), kvOf(server)])
  for (let i = 0; i < 20; i++) {
    const won = await Promise.all(ports.map((kv) => kv.create(`lease.part.key.${i}`, bytes('x'))))
    expect(won.filter((revision) => revision !== null).length).toBe(1)
  }
})

test('a watch tells what there is, then that it is ready, then every change with its revision', async () => {
  const server = await serverUp()
  const [kv, other] = [await kvOf(server), await kvOf(server)]
  const empty = watched(kv)
  await until(() => empty.ready)
  expect(empty.entries).toEqual([])
  await put(other, 'member.a', bytes('1'))
  const second = await put(other, 'member.b', bytes('1'))
  const late = watched(kv)
  await until(() => late.ready)
  expect([...late.latest.keys()]).toEqual(['member.a', 'member.b'])
  for (let i = 2; i < 100; i++) await put(other, 'member.a', bytes(`${i}`))
  await other.remove('member.b', second)
  await until(() => late.latest.get('member.b') === null)
  const told = late.entries.filter(({ key }) => key === 'member.a').map(({ value }) => Number(Buffer.from(value!)))
  expect(told).toEqual(Array.from({ length: 99 }, (_, i) => i + 1))
  const revisions = late.entries.map(({ revision }) => revision)
  expect(revisions).toEqual([...revisions].sort((a, b) => a - b))
  await until(() => empty.entries.length === late.entries.length)
})

test('a watch goes on over a server that is killed and started again, and misses no last value', async () => {
  const server = await serverUp()
  const [kv, other] = [await kvOf(server), await kvOf(server)]
  await put(other, 'member.a', bytes('before'))
  const watch = watched(kv)
  await until(() => watch.ready)
  for (let round = 0; round < 2; round++) {
    await server.kill()
    await server.restart()
    const value = `after ${round}`
    await until(async () => {
      const written = await put(other, 'member.a', bytes(value)).catch(() => undefined)
      return written !== undefined
    })
    await until(() => watch.latest.get('member.a') === value)
  }
})

test('a consumer that is gone is replaced, and keys that vanished with their bucket are told as gone', async () => {
  const server = await serverUp()
  const kv = await kvOf(server, { silence: 500 })
  const manager = await jetstreamManager(await connected(server))
  const stream = `KV_${bucketOf('shop')}`
  await put(kv, 'member.a', bytes('1'))
  const watch = watched(kv)
  await until(() => watch.ready)
  for await (const { name } of manager.consumers.list(stream)) await manager.consumers.delete(stream, name)
  await put(kv, 'member.b', bytes('1'))
  await until(() => watch.latest.get('member.b') === '1')
  await manager.streams.delete(stream)
  await kvOf(server)
  await put(kv, 'member.c', bytes('1'))
  await until(() => watch.latest.get('member.c') === '1' && watch.latest.get('member.a') === null)
})

test('with a server that does not answer every call ends within its deadline, and the connection serves again later', async () => {
  const server = await serverUp()
  const kv = await kvOf(server, { deadline: 300 })
  const revision = await put(kv, 'member.a', bytes('1'))
  server.pause()
  onTestFinished(() => server.resume())
  const calls = [
    kv.create('member.b', bytes('2')),
    kv.update('member.a', bytes('2'), revision),
    kv.remove('member.a', revision),
    kv.get('member.a'),
  ]
  for (const outcome of await Promise.allSettled(calls)) expect(outcome.status).toBe('rejected')
  server.resume()
  await until(() =>
    kv.get('member.a').then(
      (entry) => entry !== null,
      () => false,
    ),
  )
})

test('a missing bucket is an error with a remedy where nothing may be provisioned', async () => {
  const server = await serverUp()
  const connection = await connected(server)
  const open = (provision: boolean): Promise<KvPort> =>
    openNatsKv({ connection, inbox: () => createInbox(), world: realWorld, pipeline: 'other', replicas: 1, provision })
  await expect(open(false)).rejects.toMatchObject({ code: 'bucket-missing', exitCode: 2 })
  await open(true)
  const kv = await open(false)
  expect(await kv.create('member.a', bytes('1'))).toBeGreaterThan(0)
})

test('a server without JetStream is an error with a remedy', async () => {
  const server = await startNats({ jetstream: false })
  onTestFinished(() => server.stop())
  const connection = await connected(server)
  const opening = openNatsKv({
    connection,
    inbox: () => createInbox(),
    world: realWorld,
    pipeline: 'shop',
    replicas: 1,
    provision: true,
    deadline: 500,
  })
  await expect(opening).rejects.toMatchObject({ code: 'bucket-unreachable', exitCode: 2 })
})

test('two nodes on a real store share their work; one leaves, and the other has it all', async () => {
  const server = await serverUp()
  const resources = ['reader.db', ...Array.from({ length: 4 }, (_, i) => `part.key.${i}`)]
  async function node(name: string): Promise<{ control: Control; running: Set<string> }> {
    const running = new Set<string>()
    const units: Units = {
      async start(resource) {
        running.add(resource)
      },
      async stop(resource) {
        running.delete(resource)
      },
      alive: async (resource) => running.has(resource),
    }
    const control = createControl({
      kv: await kvOf(server),
      units,
      world: realWorld,
      log: silentLog,
      node: name,
      boot: `boot-${name}`,
      version: '1.0.0',
      protocol: 1,
      resources,
      settings: { lease: 1_500, settle: 200 },
    })
    onTestFinished(() => control.halt())
    await control.start()
    return { control, running }
  }
  const a = await node('a')
  await until(() => a.running.size === resources.length)
  const b = await node('b')
  await until(() => b.running.size >= 2 && a.running.size + b.running.size === resources.length)
  expect(b.control.view().counters.received.count).toBe(b.running.size)
  expect(await a.control.leave(5_000)).toBe(true)
  await until(() => b.running.size === resources.length)
  expect(a.running.size).toBe(0)
  await until(
    () =>
      b.control
        .view()
        .members.map(({ node: name }) => name)
        .join() === 'b',
  )
})
