/** A log that fills up: who fills it is named, the reader waits, and it drains again without help. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { clusterLines } from '../../src/cli/cluster-text.js'
import { hashText } from '../../src/event/hash.js'
import { type ClusterAccess, withCluster } from '../../src/operator/cluster/connect.js'
import { planRetirement, retire } from '../../src/operator/cluster/retire.js'
import { type ClusterStatus, clusterStatus } from '../../src/operator/cluster/status.js'
import { runNode } from '../../src/operator/node.js'
import { definePipeline } from '../../src/pipeline/define.js'
import type { PipelineDefinition } from '../../src/pipeline/definition.js'
import { resolvePipeline } from '../../src/pipeline/resolve.js'
import type { RunningPipeline } from '../../src/pipeline/run.js'
import { type NatsServer, type RedisServer, startNats, startRedis } from '../../src/servers/index.js'
import type { Logger } from '../../src/world/logger.js'
import { realWorld } from '../../src/world/real.js'

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} }
const handler = new URL('./handlers/gated.ts', import.meta.url).href
/** The smallest log that there is. Readers stop at 51 MiB; so many entries of this size are more than that. */
const limit = 64 * 1024 * 1024
const bulk = 'x'.repeat(256 * 1024)
const many = 260

let nats: NatsServer
let redis: RedisServer
let commands: Redis
let folder: string
let gate: string

beforeAll(async () => {
  ;[nats, redis] = await Promise.all([startNats(), startRedis()])
  commands = new Redis(redis.url)
  folder = mkdtempSync(join(tmpdir(), 'troupe-room-'))
  gate = join(folder, 'gate')
  vi.stubEnv('ROOM_GATE', gate)
}, 120_000)
afterAll(async () => {
  vi.unstubAllEnvs()
  commands?.disconnect()
  await Promise.all([nats?.stop(), redis?.stop()])
  rmSync(folder, { recursive: true, force: true })
})

function define(name: string, processors: readonly string[]): PipelineDefinition {
  return resolvePipeline(
    definePipeline({
      name,
      data: join(folder, name),
      partitions: 2,
      threads: 1,
      checkpointInterval: 100,
      stopDeadline: 5_000,
      cluster: { maxBytes: limit, durability: 'synced', lease: 2_000 },
      sources: { feed: { kind: 'redis-streams', url: redis.url, streams: [`${name}:feed`], keyField: 'key' } },
      processors: Object.fromEntries(
        processors.map((processor) => [
          processor,
          { handler, sink: { kind: 'redis', url: redis.url, write: 'stream', name: `${name}:${processor}` } },
        ]),
      ),
    }),
  )
}

async function run(definition: PipelineDefinition): Promise<RunningPipeline> {
  const running = await runNode(definition, {
    world: realWorld,
    log: quiet,
    cluster: { servers: nats.url, node: 'a', version: '0.0.0-test' },
  })
  onTestFinished(() => running.stop(2_000))
  return running
}

const ask = <T>(definition: PipelineDefinition, question: (access: ClusterAccess) => Promise<T>): Promise<T> =>
  withCluster(definition, nats.url, { world: realWorld, log: quiet }, question)

/** Waits until the status is so; gives it. */
async function until(definition: PipelineDefinition, holds: (status: ClusterStatus) => void): Promise<ClusterStatus> {
  return vi.waitFor(
    async () => {
      const status = await ask(definition, clusterStatus)
      holds(status)
      return status
    },
    { timeout: 90_000, interval: 250 },
  )
}

/** A key of each partition. */
const keyOf = (partition: number) => ['a', 'b', 'c', 'd', 'e', 'f'].find((key) => hashText(key) % 2 === partition)!

async function write(name: string, partition: number, from: number, count: number, filler: string): Promise<void> {
  for (let n = from; n < from + count; n++)
    await commands.xadd(`${name}:feed`, '*', 'key', keyOf(partition), 'n', n, 'bulk', filler)
}

/** The numbers that came into a sink, in order. */
async function arrived(name: string, processor: string): Promise<number[]> {
  const entries = await commands.xrange(`${name}:${processor}`, '-', '+')
  return entries.map(([, fields]) => Number(fields[fields.indexOf('n') + 1]))
}

const numbers = (count: number) => Array.from({ length: count }, (_, n) => n)
const inOrder = (list: readonly number[]) => [...list].sort((one, other) => one - other)
const through = (status: ClusterStatus) => {
  expect(status.log.stoppedBy).toBeNull()
  expect(status.partitions.map(({ frames }) => frames.retained)).toEqual([0, 0])
}

test('a processor that stands still fills the log, is named, and the log drains by itself when it goes on; an idle partition pins nothing', async () => {
  const definition = define('room', ['fast', 'slow'])
  await run(definition)
  await write('room', 1, 0, 4, 'little')
  for (const processor of ['fast', 'slow'])
    await vi.waitFor(async () => expect(await arrived('room', processor)).toEqual(numbers(4)), 60_000)
  await until(definition, (status) => {
    through(status)
    for (const { sequence } of status.partitions[1]!.processors) expect(sequence).toBeGreaterThan(0)
  })
  const idle = (await ask(definition, clusterStatus)).partitions[1]!.processors.map(({ sequence }) => sequence)

  writeFileSync(gate, '')
  await write('room', 0, 4, many, bulk)
  const full = await until(definition, ({ log }) => expect(log.stoppedBy).toBe('slow key.0'))
  expect(clusterLines(full).join('\n')).toContain('readers wait for slow key.0')
  expect(full.log.used).toBeLessThan(1)
  // The reader waits: what the log did not take is still in the source, and the other processor has had the rest.
  expect((await arrived('room', 'fast')).length).toBeLessThan(4 + many)
  expect((await arrived('room', 'slow')).length).toBe(4)

  expect(existsSync(gate)).toBe(true)
  rmSync(gate)
  await vi.waitFor(
    async () => {
      expect(await arrived('room', 'slow')).toHaveLength(4 + many)
      expect(await arrived('room', 'fast')).toHaveLength(4 + many)
    },
    { timeout: 90_000, interval: 250 },
  )
  expect(await arrived('room', 'slow')).toEqual(numbers(4 + many))
  expect(await arrived('room', 'fast')).toEqual(numbers(4 + many))
  const drained = await until(definition, through)
  // More than the log holds went past the checkpoints of the partition in which nothing happened.
  expect(drained.partitions[1]!.processors.map(({ sequence }) => sequence)).toEqual(idle)
}, 240_000)

test('a processor that left the pipeline pins the log under its name, until it is retired', async () => {
  const before = define('left', ['fast', 'gone'])
  const first = await run(before)
  await write('left', 0, 0, 2, 'little')
  await write('left', 1, 2, 2, 'little')
  await until(before, (status) => {
    through(status)
    for (const { processors } of status.partitions)
      for (const { sequence } of processors) expect(sequence).toBeGreaterThan(0)
  })
  await first.stop()

  const definition = define('left', ['fast'])
  await run(definition)
  await write('left', 0, 4, many, bulk)
  const full = await until(definition, ({ log }) =>
    expect(log.stoppedBy).toBe('gone key.0 (left the pipeline: troupe retire)'),
  )
  expect(full.departed).toMatchObject([{ processor: 'gone', partitions: ['key.0', 'key.1'] }])
  expect(clusterLines(full).join('\n')).toContain('`troupe retire gone`')
  expect((await arrived('left', 'fast')).length).toBeLessThan(4 + many)

  await ask(definition, async (access) => retire(access, await planRetirement(access, 'gone')))
  await until(definition, (status) => {
    through(status)
    expect(status.departed).toEqual([])
  })
  await vi.waitFor(async () => expect(await arrived('left', 'fast')).toHaveLength(4 + many), {
    timeout: 90_000,
    interval: 250,
  })
  const list = await arrived('left', 'fast')
  expect(inOrder(list)).toEqual(numbers(4 + many))
  expect(list.filter((n) => n >= 4)).toEqual(numbers(4 + many).slice(4))
}, 240_000)
