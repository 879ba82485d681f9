// biome-ignore-all lint/suspicious/noTemplateCurlyInString: interpolation is used
/** The commands on a cluster, against two real nodes. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ClusterStatus } from '../../src/operator/cluster/status.js'
import { type RedisServer, startRedis } from '../../src/servers/index.js'
import { type NatsServer, startNats } from '../../src/servers/nats.js'

const main = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))
const stream = `troupe-cluster-cli-${process.pid}`

let redis: RedisServer
let client: Redis | undefined
let nats: NatsServer
let folder: string
let file: string
let without: string
const nodes: ChildProcess[] = []

const pipeline = (processors: readonly string[]): string => `name: clicks-${process.pid}
partitions: 2
threads: 1
stopDeadline: 5s
checkpointInterval: 50ms
data: ./data
cluster: { lease: 1s, maxBytes: 64MiB, durability: synced }
sources:
  clicks: { kind: redis-streams, url: "\${REDIS_URL}", streams: ${stream} }
processors:
${processors.map((name) => `  ${name}: { sink: { kind: redis, url: "\${REDIS_URL}", write: stream, name: ${stream}-${name} } }`).join('\n')}
`

const environment = () => ({ PATH: process.env.PATH, HOME: process.env.HOME, REDIS_URL: redis.url })

beforeAll(async () => {
  ;[redis, nats] = await Promise.all([startRedis(), startNats()])
  const source = new Redis(redis.url)
  client = source
  folder = mkdtempSync(join(tmpdir(), 'troupe-cluster-cli-'))
  file = join(folder, 'clicks.yaml')
  without = join(folder, 'without.yaml')
  writeFileSync(file, pipeline(['copy', 'audit']))
  writeFileSync(without, pipeline(['copy']))
  for (const node of ['n1', 'n2'])
    nodes.push(
      spawn(process.execPath, [main, 'run', file, '--cluster', nats.url, '--node', node, '--json'], {
        env: environment(),
        stdio: ['ignore', 'ignore', 'ignore'],
      }),
    )
  for (let entry = 0; entry < 20; entry++) await source.xadd(stream, '*', 'key', `k${entry}`)
}, 120_000)

afterAll(async () => {
  await Promise.all(
    nodes.map(async (node) => {
      if (node.exitCode !== null || node.signalCode !== null) return
      const closed = once(node, 'close')
      node.kill('SIGKILL')
      await closed
    }),
  )
  client?.disconnect()
  await Promise.all([redis?.stop(), nats?.stop()])
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
})

interface Said {
  readonly code: number
  readonly out: string
  readonly err: string
}

function troupe(...args: string[]): Promise<Said> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args, '--cluster', nats.url], { env: environment() }, (error, out, err) =>
      resolve({ code: error === null ? 0 : Number(error.code), out, err }),
    )
  })
}

/** Asks until the status is so. */
async function until(what: string, holds: (status: ClusterStatus) => boolean, of = file): Promise<ClusterStatus> {
  const deadline = performance.now() + 30_000
  let last: Said | undefined
  while (performance.now() < deadline) {
    last = await troupe('status', of, '--json')
    if (last.code !== 0) continue
    const status = JSON.parse(last.out) as ClusterStatus
    if (holds(status)) return status
  }
  throw new Error(`not within 30 s: ${what}: ${last?.out}${last?.err}`)
}

const settled = ({ partitions, readers }: ClusterStatus): boolean =>
  [...partitions, ...readers].every(({ node, term }) => node !== null && term > 0) &&
  partitions.every(({ processors }) => processors.every(({ lag, sequence }) => lag === 0 && sequence !== null))

test('status shows nodes, owners by lease and term, processors and the log of the whole cluster', async () => {
  const status = await until('two nodes own everything', (one) => settled(one) && one.nodes.length === 2)
  expect(status.nodes.map(({ node, state }) => [node, state])).toEqual([
    ['n1', 'active'],
    ['n2', 'active'],
  ])
  expect(status.partitions.map(({ resource }) => resource)).toEqual(['part.key.0', 'part.key.1'])
  expect(status.log).toMatchObject({ limitBytes: 64 * 1024 ** 2 })
  expect(status.orders).toEqual({ paused: false, rolling: false, draining: [], pausedProcessors: [] })
  expect(status.departed).toEqual([])
  const { out } = await troupe('status', file)
  expect(out).toContain('node n1')
  expect(out).toMatch(/partition key\.0 +n[12] \(lease \d+\) +term \d+/)
  expect(out).toMatch(/durability synced/)
}, 40_000)

test('a cluster that is not there, and a status without a file, are refused with exit code 2', async () => {
  const elsewhere = join(folder, 'elsewhere.yaml')
  writeFileSync(elsewhere, pipeline(['copy']).replace('name: clicks', 'name: elsewhere'))
  const [missing, nameless] = await Promise.all([troupe('status', elsewhere), troupe('status')])
  expect(missing).toMatchObject({ code: 2, out: '' })
  expect(missing.err).toContain('error[stream-missing]')
  expect(nameless).toMatchObject({ code: 2 })
  expect(nameless.err).toContain('error[usage]')
})

test('a node that is drained gives everything away, and takes part again when that is undone', async () => {
  expect((await troupe('drain', 'nobody', file)).err).toContain('error[unknown-node]')
  expect(await troupe('drain', 'n1', file)).toMatchObject({ code: 0, out: 'node n1 is drained\n' })
  const drained = await until(
    'n1 holds nothing',
    (one) => settled(one) && [...one.partitions, ...one.readers].every(({ node }) => node === 'n2'),
  )
  expect(drained.orders.draining).toEqual(['n1'])
  expect((await troupe('why', 'key.0', file)).out).toMatch(/part\.key\.0 {2}n2 \(lease \d+\)/)
  expect(await troupe('drain', 'n1', file, '--undo')).toMatchObject({ code: 0 })
  await until('n1 is active', ({ nodes: lines }) =>
    lines.some(({ node, state }) => node === 'n1' && state === 'active'),
  )
}, 60_000)

test('a pipeline that is paused is held by nobody until it is resumed; one processor cannot be paused', async () => {
  expect(await troupe('pause', file, 'copy')).toMatchObject({ code: 2 })
  expect(await troupe('pause', file)).toMatchObject({ code: 0 })
  const paused = await until('nobody holds anything', (one) =>
    [...one.partitions, ...one.readers].every(({ node }) => node === null),
  )
  expect(paused.orders.paused).toBe(true)
  expect(JSON.parse((await troupe('resume', file, '--json')).out)).toMatchObject({ inForce: false, changed: true })
  await until('it goes on', settled)
}, 60_000)

test('a processor that the file has is not retired, nor one that a node still runs', async () => {
  const [has, runs, unknown] = await Promise.all([
    troupe('retire', 'audit', file),
    troupe('retire', 'audit', without, '--yes'),
    troupe('retire', 'nobody', file),
  ])
  expect(has.code).toBe(2)
  expect(has.err).toContain('error[processor-in-use]')
  expect(runs.code).toBe(2)
  expect(runs.err).toContain('runs it still')
  expect(unknown.err).toContain('error[unknown-processor]')
}, 30_000)
