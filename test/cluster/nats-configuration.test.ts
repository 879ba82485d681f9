import { execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { connect } from '@nats-io/transport-node'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { streamNames } from '../../src/log/jetstream/names.js'
import { createNatsStream } from '../../src/log/jetstream/nats-stream.js'
import type { StoredMessage, StreamPort } from '../../src/log/jetstream/port.js'
import { leastPrivileges, provisionStream } from '../../src/log/jetstream/provision.js'
import { lookAtSync, syncQuestion } from '../../src/log/jetstream/sync-check.js'
import { openNatsKv } from '../../src/membership/nats-kv.js'
import type { KvEntry, KvPort } from '../../src/membership/port.js'
import { resolveProgram, startNats, startNatsCluster } from '../../src/servers/index.js'
import { connectNats, type NatsLink } from '../../src/wire/nats/connect.js'
import type { Logger } from '../../src/world/logger.js'
import { realWorld } from '../../src/world/real.js'
import { makeSecrets, readEnvironment, type Secrets } from './secrets.js'

const single = 'cluster/nats/single.conf'
const three = 'cluster/nats/three.conf'
const names = streamNames('shop')
const text = (value: string) => new TextEncoder().encode(value)
let secrets: Secrets

beforeAll(() => {
  secrets = makeSecrets()
})
afterAll(() => secrets.remove())
beforeEach(() => {
  for (const [name, value] of Object.entries(secrets.environment)) vi.stubEnv(name, value)
})
afterEach(() => vi.unstubAllEnvs())

type User = Parameters<Secrets['password']>[0]

/** The URLs of one server or of many, with a user's name and password. */
function urlOf(urls: string, user: User): string {
  const list = urls.split(',').map((url) => `tls://${user}:${secrets.password(user)}@${new URL(url).host}`)
  return list.join(',')
}

/** What the server denies is kept: a denial that nobody waits for would be no failure. */
async function linkAs(user: User, urls: string): Promise<NatsLink & { readonly denied: readonly string[] }> {
  const denied: string[] = []
  const silent: Logger = { debug() {}, info() {}, warn() {}, error: (fields) => denied.push(JSON.stringify(fields)) }
  const link = await connectNats({
    servers: urlOf(urls, user),
    name: 'troupe.test',
    world: realWorld,
    log: silent,
    tls: { ca: secrets.ca },
  })
  onTestFinished(() => link.close())
  return Object.assign(link, { denied })
}

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} }

async function provision(link: NatsLink, replicas: number): Promise<KvPort> {
  await provisionStream(link, names, { maxBytes: 64 * 1024 * 1024, replicas, provision: true, log: quiet })
  return openNatsKv({
    connection: link.connection,
    inbox: link.inbox,
    world: realWorld,
    pipeline: 'shop',
    replicas,
    provision: true,
  })
}

interface Server {
  readonly server: { readonly name: string }
  readonly data: {
    readonly config: { readonly sync_always?: boolean }
    readonly meta_cluster?: { readonly cluster_size: number }
  }
}

/** What each server says of its JetStream, to the user of the system account. */
async function jetstreamOf(urls: string, count: number): Promise<Server[]> {
  const link = await connect({
    servers: urls.split(',').map((url) => new URL(url).host),
    user: 'sys',
    pass: secrets.password('sys'),
    tls: { caFile: secrets.ca },
  })
  onTestFinished(() => link.close())
  const answers = await link.requestMany('$SYS.REQ.SERVER.PING.JSZ', JSON.stringify({ config: true }), {
    maxMessages: count,
    maxWait: 10_000,
    strategy: 'count',
  })
  const servers: Server[] = []
  for await (const answer of answers) servers.push(answer.json<Server>())
  return servers
}

test.each([single, three])('%s is what nats-server takes for valid', async (file) => {
  const { binary } = await resolveProgram('nats')
  expect(
    execFileSync(binary, ['-t', '--config', file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }),
  ).toBeDefined()
  vi.stubEnv('NATS_SYS_PASSWORD', undefined)
  expect(() => execFileSync(binary, ['-t', '--config', file], { stdio: 'pipe' })).toThrow(/NATS_SYS_PASSWORD/)
})

test('one server: synced before it answers, over TLS alone, and only for those it knows', async () => {
  const server = await startNats({ configuration: single })
  onTestFinished(() => server.stop())
  expect(await jetstreamOf(server.url, 1)).toMatchObject([
    { server: { name: 'nats-1' }, data: { config: { sync_always: true } } },
  ])
  const admin = await linkAs('admin', server.url)
  await provision(admin, 1)
  const { host } = new URL(server.url)
  const failing = (servers: string, tls?: { ca: string }) =>
    connectNats({ servers, name: 'troupe.test', world: realWorld, log: quiet, ...(tls && { tls }) }).then(
      (link) => link.close(),
      (error: { code: string }) => error.code,
    )
  expect(await failing(`tls://${host}`, { ca: secrets.ca })).toBe('nats-denied')
  expect(await failing(`tls://shop:wrong@${host}`, { ca: secrets.ca })).toBe('nats-denied')
  // An authority that nobody here trusts.
  expect(await failing(urlOf(server.url, 'shop'))).toBe('nats-tls')
})

test('three servers: each synced, routes over TLS, the log on all of them', async () => {
  const cluster = await startNatsCluster({
    configuration: three,
    user: { name: 'admin', password: secrets.password('admin') },
    tls: secrets,
  })
  onTestFinished(() => cluster.stop())
  const servers = await jetstreamOf(cluster.url, 3)
  expect(servers.map(({ server }) => server.name).sort()).toEqual(['n1', 'n2', 'n3'])
  for (const { data } of servers)
    expect(data).toMatchObject({ config: { sync_always: true }, meta_cluster: { cluster_size: 3 } })
  const routes = (await (await fetch(`${cluster.servers[0]!.monitor}/routez`)).json()) as { num_routes: number }
  expect(routes.num_routes).toBeGreaterThan(0)
  const varz = (await (await fetch(`${cluster.servers[0]!.monitor}/varz`)).json()) as { cluster: object }
  expect(varz.cluster).toMatchObject({ tls_required: true, tls_verify: true })

  await provision(await linkAs('admin', cluster.url), 3)
  const node = await linkAs('shop', cluster.url)
  expect(await lookAtSync(node)).toEqual({ kind: 'synced', servers: 3 })
  const stream = createNatsStream(node, names, { log: quiet })
  expect(await stream.commit([{ subject: names.frames('key', 0), payload: text('frame') }], 10_000)).toMatchObject({
    kind: 'committed',
  })
}, 90_000)

describe('rights', () => {
  test('of a node are those that the log and the membership need, and no others', () => {
    const file = readFileSync('cluster/nats/rights/shop.conf', 'utf8')
    const listed = (block: string) => {
      const body = new RegExp(`^${block} \\{([\\s\\S]*?)^\\}`, 'm').exec(file)?.[1] ?? ''
      return [...body.matchAll(/^ *"(.+)"$/gm)].map(([, subject]) => subject!)
    }
    const { publish, subscribe } = leastPrivileges('shop', names)
    const rest = listed('publish').filter((subject) => !publish.includes(subject))
    expect(listed('publish')).toEqual(expect.arrayContaining([...publish]))
    expect(rest.filter((subject) => !/\bKV_troupe_shop\b|\$KV\.troupe_shop\./.test(subject))).toEqual([
      '$JS.API.INFO',
      syncQuestion,
    ])
    expect(listed('subscribe').sort()).toEqual([...subscribe].sort())
  })

  test('let a node do its work, and nothing else', async () => {
    const server = await startNats({ configuration: single })
    onTestFinished(() => server.stop())
    await provision(await linkAs('admin', server.url), 1)
    const node = await linkAs('shop', server.url)
    await provisionStream(node, names, { maxBytes: 64 * 1024 * 1024, provision: false, log: quiet })
    const stream = createNatsStream(node, names, { log: quiet })
    await workOn(stream)
    const kv = await bucketOf(node)
    await leaseOver(kv)
    const { connection } = node
    const heard = connection.subscribe(names.hurry, { max: 1 })
    connection.publish(names.hurry)
    for await (const message of heard) expect(message.subject).toBe(names.hurry)
    await connection.flush()
    expect(node.denied).toEqual([])

    for (const subject of [
      `$JS.API.STREAM.DELETE.${names.stream}`,
      `$JS.API.STREAM.UPDATE.${names.stream}`,
      '$JS.API.STREAM.CREATE.ANOTHER',
      '$JS.API.STREAM.INFO.TROUPE_other',
      `$JS.API.STREAM.DELETE.KV_troupe_shop`,
      `$JS.API.STREAM.PURGE.KV_troupe_shop`,
      'troupe.other.ck.reader.db',
      '$KV.troupe_other.lease.reader.db',
    ])
      expect(await attempt(node, subject), subject).toBe('denied')
  })

  test('let an operator look and give orders, and write no log', async () => {
    const server = await startNats({ configuration: single })
    onTestFinished(() => server.stop())
    await provision(await linkAs('admin', server.url), 1)
    const operator = await linkAs('operator', server.url)
    const stream = createNatsStream(operator, names, { log: quiet })
    expect(await stream.state(5_000)).toMatchObject({ messages: 0 })
    expect(await stream.last(names.layout, 5_000)).toBeNull()
    const kv = await bucketOf(operator)
    await kv.create('order.drain.n1', text('{}'))
    await entries(kv)
    expect(operator.denied).toEqual([])
    for (const subject of [
      `$JS.API.STREAM.DELETE.${names.stream}`,
      `$JS.API.STREAM.PURGE.${names.stream}`,
      names.frames('key', 0),
      names.reader('db'),
    ])
      expect(await attempt(operator, subject), subject).toBe('denied')
  })
})

async function attempt(link: NatsLink, subject: string): Promise<string> {
  return (await link.request({ subject, payload: text('{}'), deadlineMs: 5_000 })).kind
}

/** Everything that a node does with the log. */
async function workOn(stream: StreamPort): Promise<void> {
  const [frames, reader] = [names.frames('key', 0), names.reader('db')]
  const commit = await stream.commit(
    [
      { subject: frames, payload: text('one') },
      { subject: frames, payload: text('two') },
      { subject: reader, payload: text('checkpoint'), expect: 0, rollup: true },
    ],
    5_000,
  )
  expect(commit).toMatchObject({ kind: 'committed', sequence: 3 })
  expect((await stream.last(reader, 5_000))?.sequence).toBe(3)
  expect(await stream.subjects(`${reader}`, 5_000)).toEqual([reader])
  const read = await new Promise<StoredMessage[]>((done, failed) => {
    const messages: StoredMessage[] = []
    const reading = stream.read({
      subject: frames,
      from: 1,
      window: 1 << 20,
      message: (message) => {
        if (messages.push(message) < 2) return
        reading.stop()
        done(messages)
      },
      resumed: () => {},
      failed,
    })
  })
  expect(read.map(({ sequence }) => sequence)).toEqual([1, 2])
  await stream.purge(frames, 2, 5_000)
  expect(await stream.state(5_000)).toMatchObject({ messages: 2 })
}

/** Everything that a node does with the membership. */
async function leaseOver(kv: KvPort): Promise<void> {
  const first = await kv.create('lease.reader.db', text('n1'))
  const second = await kv.update('lease.reader.db', text('n1'), first!)
  expect(await kv.update('lease.reader.db', text('n2'), first!)).toBeNull()
  expect((await kv.get('lease.reader.db'))?.revision).toBe(second)
  // More than the server sends without a word of flow control.
  for (let n = 0; n < 50; n++) await kv.create(`member.n${n}`, text('x'.repeat(2_000)))
  expect(await entries(kv)).toHaveLength(51)
  expect(await kv.remove('lease.reader.db', second!)).toBe(true)
}

function entries(kv: KvPort): Promise<KvEntry[]> {
  return new Promise((done, failed) => {
    const seen: KvEntry[] = []
    const watch = kv.watch({
      entry: (entry) => seen.push(entry),
      ready: () => {
        watch.stop()
        done(seen)
      },
      failed,
    })
  })
}

test('what is secret is readable by its owner alone, the authority by everybody; made once, and kept by a second run', () => {
  for (const name of ['ca.key', 'nats-1.key', 'passwords.env', 'nats-3.env'])
    expect(statSync(join(secrets.folder, name)).mode & 0o077, name).toBe(0)
  expect(statSync(join(secrets.folder, 'ca.pem')).mode & 0o777).toBe(0o644)
  const before = readFileSync(join(secrets.folder, 'passwords.env'), 'utf8')
  execFileSync('sh', ['cluster/prepare.sh', secrets.folder], { stdio: 'ignore' })
  expect(readFileSync(join(secrets.folder, 'passwords.env'), 'utf8')).toBe(before)
  expect(readEnvironment(join(secrets.folder, 'nats-2.env')).NATS_NAME).toBe('nats-2')
  expect(readFileSync('.gitignore', 'utf8')).toContain('cluster/secrets/')
})

function bucketOf({ connection, inbox }: NatsLink) {
  return openNatsKv({ connection, inbox, world: realWorld, pipeline: 'shop', replicas: 1, provision: false })
}
