// biome-ignore-all lint/suspicious/noTemplateCurlyInString: interpolation is used
/** What is wrong around a cluster: each is one clear error of `troupe run` with exit code 2, or does no harm. Real servers, real nodes. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { streamNames } from '../../src/log/jetstream/names.js'
import { createNatsStream } from '../../src/log/jetstream/nats-stream.js'
import { leastPrivileges } from '../../src/log/jetstream/provision.js'
import { decodeOwnership } from '../../src/log/jetstream/stored.js'
import { outdatedNats, type RedisServer, startRedis } from '../../src/servers/index.js'
import { type NatsServer, startNats } from '../../src/servers/nats.js'
import { connectNats } from '../../src/wire/nats/connect.js'
import { realWorld } from '../../src/world/real.js'

const names = streamNames('shop')
const silent = { debug() {}, info() {}, warn() {}, error() {} }
const clock = join(import.meta.dirname, 'jumping-clock.mjs')

let folder: string
let redis: RedisServer
let nats: NatsServer

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'troupe-wrong-'))
  ;[redis, nats] = await Promise.all([startRedis(), startNats()])
}, 120_000)

afterAll(async () => {
  await Promise.all([redis?.stop(), nats?.stop()])
  rmSync(folder, { recursive: true, force: true })
})

interface Given {
  readonly partitions?: number
  readonly maxBytes?: string
  readonly name?: string
}

let files = 0

function pipeline({ partitions = 2, maxBytes = '64MiB', name = 'shop' }: Given = {}): string {
  const file = join(folder, `pipeline-${++files}.yaml`)
  writeFileSync(
    file,
    `name: ${name}
partitions: ${partitions}
threads: 1
stopDeadline: 3s
checkpointInterval: 50ms
data: ./data-${files}
cluster: { lease: 600ms, maxBytes: ${maxBytes}, durability: synced }
sources:
  in: { kind: redis-streams, url: "\${REDIS_URL}", streams: ${name}-in, keyField: key }
processors:
  copy: { sink: { kind: redis, url: "\${REDIS_URL}", write: stream, name: ${name}-out } }
`,
  )
  return file
}

interface Node {
  readonly child: ChildProcess
  said(): string
  /** Its exit code, once it has ended. */
  code(): Promise<number | null>
}

function run(file: string, servers: string, args: readonly string[] = [], options: readonly string[] = []): Node {
  const child = spawn(
    process.execPath,
    [...options, 'dist/src/cli/main.js', 'run', file, '--cluster', 'env', '--json', ...args],
    {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, REDIS_URL: redis.url, TROUPE_CLUSTER: servers },
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  )
  const exit = once(child, 'exit') as Promise<[number | null]>
  onTestFinished(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await exit
  })
  let said = ''
  child.stderr!.on('data', (chunk) => {
    said += chunk
  })
  return { child, said: () => said, code: async () => (await exit)[0] }
}

async function started(...[options]: Parameters<typeof startNats>): Promise<NatsServer> {
  const server = await startNats(options)
  onTestFinished(() => server.stop())
  return server
}

async function refused(node: Node, code: string): Promise<string> {
  expect(await node.code(), node.said()).toBe(2)
  expect(node.said()).toContain(`error[${code}]`)
  expect(node.said()).toContain('remedy:')
  return node.said()
}

async function linkTo(url: string) {
  const link = await connectNats({ servers: url, name: 'troupe.test', world: realWorld, log: silent })
  onTestFinished(() => link.close())
  return link
}

const wait = (check: () => Promise<void> | void): Promise<void> => vi.waitFor(check, { timeout: 60_000, interval: 100 })
const list = (subjects: readonly string[]) => `[${subjects.map((one) => JSON.stringify(one)).join(', ')}]`

function userWith(publish: readonly string[], subscribe: readonly string[]): string {
  const rights = `{ publish: ${list(publish)}, subscribe: ${list(subscribe)} }`
  return `{ users: [{ user: admin, password: p }, { user: node, password: some-secret, permissions: ${rights} }] }`
}

test('a NATS that is too old is refused with its version and the one that is needed', async (context) => {
  const program = await outdatedNats()
  if (typeof program === 'string') return context.skip(`no old NATS: ${program}`)
  const old = await started({ program })
  expect(await refused(run(pipeline(), old.url), 'nats-too-old')).toContain(`${program.version}; Troupe needs 2.12`)
}, 180_000)

test('a NATS whose configuration turns JetStream on for nobody is refused', async () => {
  const configuration = join(folder, 'plain.conf')
  writeFileSync(configuration, 'max_payload: 1MB\n')
  const plain = await started({ configuration })
  await refused(run(pipeline(), plain.url), 'jetstream-off')
}, 90_000)

test('a user without rights is told which subject he lacks, of the log and of the membership, and never his password', async () => {
  const { publish, subscribe } = leastPrivileges('shop', names)
  const nothing = await started({ settings: { authorization: userWith(['nothing'], ['_INBOX.>']) } })
  const said = await refused(run(pipeline(), `nats://node:some-secret@127.0.0.1:${nothing.port}`), 'nats-denied')
  expect(said).toContain('$JS.API.STREAM.INFO.TROUPE_shop')
  const half = await started({ settings: { authorization: userWith(publish, subscribe) } })
  const admin = run(pipeline(), `nats://admin:p@127.0.0.1:${half.port}`, ['--for', '1s'])
  expect(await admin.code(), admin.said()).toBe(0)
  const node = run(pipeline(), `nats://node:some-secret@127.0.0.1:${half.port}`, ['--no-provision'])
  const second = await refused(node, 'nats-denied')
  expect(second).toMatch(/KV_troupe_shop/)
  for (const text of [said, second]) expect(text).not.toContain('some-secret')
}, 180_000)

test('a user who may not write the log is told the subject, and the node lives on', async () => {
  const { publish, subscribe } = leastPrivileges('shop', names)
  const membership = ['$JS.API.>', '$KV.>', '$JS.FC.>']
  const reads = [...publish.filter((subject) => subject !== 'troupe.shop.>'), ...membership]
  const server = await started({ settings: { authorization: userWith(reads, subscribe) } })
  const admin = run(pipeline(), `nats://admin:p@127.0.0.1:${server.port}`, ['--for', '1s'])
  expect(await admin.code(), admin.said()).toBe(0)
  const args = ['--no-provision', '--node', 'n1']
  const node = run(pipeline(), `nats://node:some-secret@127.0.0.1:${server.port}`, args)
  await wait(() => expect(node.said()).toMatch(/the stream takes no commit.*troupe\.shop\.ck\./))
  const link = await linkTo(`nats://admin:p@127.0.0.1:${server.port}`)
  const members = createNatsStream(link, { stream: 'KV_troupe_shop' }, { log: silent })
  const beats = async () => (await members.last('$KV.troupe_shop.member.n1', 5_000))?.sequence ?? 0
  const before = await beats()
  await wait(async () => expect(await beats()).toBeGreaterThan(before))
  expect(node.child.exitCode, node.said()).toBeNull()
}, 180_000)

test('a log that is larger than the account allows, or is there with another size, and messages that are too small are refused', async () => {
  const accounts = `{ A { jetstream { max_file: ${100 * 1024 ** 2} }, users: [{ user: a, password: a }] } }`
  const limited = await started({ settings: { accounts } })
  const url = `nats://a:a@127.0.0.1:${limited.port}`
  await refused(run(pipeline({ maxBytes: '1GiB' }), url), 'stream-limits')
  const small = await started({ settings: { max_payload: '65536' } })
  await refused(run(pipeline(), small.url), 'max-payload-too-small')
  const first = run(pipeline({ name: 'sizes' }), nats.url, ['--for', '1s'])
  expect(await first.code(), first.said()).toBe(0)
  expect(await refused(run(pipeline({ name: 'sizes', maxBytes: '128MiB' }), nats.url), 'stream-differs')).toContain(
    'max_bytes',
  )
}, 180_000)

test('a second pipeline of one name with other partitions is refused, and the first goes on', async () => {
  const node = run(pipeline({ name: 'twice' }), nats.url)
  await wait(() => expect(node.said()).toContain('"running"'))
  const said = await refused(run(pipeline({ name: 'twice', partitions: 3 }), nats.url), 'cluster-layout')
  expect(said).toMatch(/2 partitions in set key, this pipeline 3/)
  expect(node.child.exitCode).toBeNull()
}, 120_000)

test('an older protocol is raised once no node of it lives, and a newer one is refused', async () => {
  const own = streamNames('versions')
  const first = run(pipeline({ name: 'versions' }), nats.url, ['--for', '1s'])
  expect(await first.code(), first.said()).toBe(0)
  const link = await linkTo(nats.url)
  const stream = createNatsStream(link, own, { log: silent })
  const write = async (protocol: number) => {
    const found = (await stream.last(own.layout, 5_000))!
    const payload = Buffer.from(JSON.stringify({ version: 1, protocol, sets: { key: 2 } }))
    const outcome = await stream.commit([{ subject: own.layout, payload, expect: found.sequence, rollup: true }], 5_000)
    expect(outcome.kind).toBe('committed')
  }
  const written = async () => JSON.parse(Buffer.from((await stream.last(own.layout, 5_000))!.payload).toString())

  await write(0)
  let beat = 0
  const record = {
    form: 1,
    node: 'old',
    boot: 'old',
    version: '0.0.1',
    protocol: 0,
    state: 'active',
    weight: 1,
    startedAt: 0,
  }
  const beating = setInterval(
    () =>
      link.connection.publish('$KV.troupe_versions.member.old', JSON.stringify({ ...record, beat: ++beat, holds: {} })),
    50,
  )
  try {
    expect(await refused(run(pipeline({ name: 'versions' }), nats.url), 'node-version')).toContain(
      "node 'old' (version 0.0.1)",
    )
    expect(await written()).toMatchObject({ protocol: 0 })
  } finally {
    clearInterval(beating)
  }
  const next = run(pipeline({ name: 'versions' }), nats.url, ['--for', '1s'])
  expect(await next.code(), next.said()).toBe(0)
  expect(next.said()).toContain('raised to a newer protocol')
  expect(await written()).toMatchObject({ protocol: 1, sets: { key: 2 } })

  await write(99)
  expect(await refused(run(pipeline({ name: 'versions' }), nats.url), 'cluster-protocol')).toContain('protocol 99')
}, 180_000)

test('a node whose wall clock jumps by hours keeps what it holds, and nothing is lost or comes twice', async () => {
  const file = pipeline({ name: 'clock' })
  const nodes = [
    run(file, nats.url, ['--node', 'steady']),
    run(file, nats.url, ['--node', 'jumps'], ['--import', clock]),
  ]
  const client = new Redis(redis.url)
  try {
    const own = streamNames('clock')
    const stream = createNatsStream(await linkTo(nats.url), own, { log: silent })
    const add = async (from: number, to: number) => {
      for (let number = from; number < to; number++)
        await client.xadd('clock-in', '*', 'key', `k${number % 20}`, 'number', String(number))
    }
    const written = async () =>
      (await client.xrange('clock-out', '-', '+')).map(([, fields]) => Number(fields[fields.indexOf('number') + 1]))
    const terms = async () => {
      const subjects = [own.reader('in'), own.processor('copy', 'key', 0), own.processor('copy', 'key', 1)]
      const found = await Promise.all(subjects.map((subject) => stream.last(subject, 5_000)))
      return found.map((message) => (message === null ? 0 : decodeOwnership(message.payload, message.subject).term))
    }
    await wait(() => {
      for (const node of nodes) expect(node.said()).toContain('"running"')
    })
    await add(0, 20)
    await wait(async () => expect((await written()).length).toBe(20))
    // Members have settled once each holds one of the two partitions.
    await wait(() => {
      for (const node of nodes) expect(node.said()).toMatch(/part\.key\.[01] runs here/)
    })
    const before = await terms()
    for (let from = 20; from < 420; from += 20) {
      await add(from, from + 20)
      await wait(async () => expect((await written()).length).toBe(from + 20))
    }
    expect((await written()).sort((a, b) => a - b)).toEqual(Array.from({ length: 420 }, (_, number) => number))
    expect(await terms()).toEqual(before)
    for (const node of nodes) expect(node.child.exitCode).toBeNull()
  } finally {
    client.disconnect()
  }
}, 180_000)
