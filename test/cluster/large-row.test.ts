/** A row that is larger than what a batch of the log gathers, from PostgreSQL through a cluster. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { Client } from 'pg'
import { expect, onTestFinished, test, vi } from 'vitest'
import { runNode } from '../../src/operator/node.js'
import { definePipeline } from '../../src/pipeline/define.js'
import { resolvePipeline } from '../../src/pipeline/resolve.js'
import { startNats, startPostgres, startRedis } from '../../src/servers/index.js'
import type { Logger } from '../../src/world/logger.js'
import { realWorld } from '../../src/world/real.js'

const handler = new URL('./handlers/measured.ts', import.meta.url).href

test('a row of 20 MiB goes through a cluster whole, and holds back none of its neighbours', async () => {
  const [nats, postgres, redis] = await Promise.all([startNats(), startPostgres(), startRedis()])
  onTestFinished(async () => void (await Promise.all([nats.stop(), postgres.stop(), redis.stop()])))
  const folder = mkdtempSync(join(tmpdir(), 'troupe-large-row-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const client = new Client({ connectionString: postgres.url })
  await client.connect()
  onTestFinished(() => client.end())
  const commands = new Redis(redis.url)
  onTestFinished(() => commands.disconnect())
  await client.query('CREATE TABLE large (id int PRIMARY KEY, bulk text)')

  const errors: string[] = []
  const note = (_: object, text: string) => void errors.push(text)
  const log: Logger = { debug() {}, info() {}, warn: note, error: note }
  const definition = resolvePipeline(
    definePipeline({
      name: 'large',
      data: folder,
      partitions: 2,
      threads: 1,
      checkpointInterval: 100,
      stopDeadline: 5_000,
      cluster: { durability: 'synced', lease: 2_000 },
      sources: { db: { kind: 'postgres', url: postgres.url, tables: ['public.large'] } },
      processors: { measured: { handler, sink: { kind: 'redis', url: redis.url, write: 'stream', name: 'measured' } } },
    }),
  )
  const running = await runNode(definition, {
    world: realWorld,
    log,
    cluster: { servers: nats.url, node: 'a', version: '0.0.0-test' },
  })
  onTestFinished(() => running.stop(2_000))

  await vi.waitFor(async () => {
    const slots = await client.query('SELECT active FROM pg_replication_slots')
    expect(slots.rows, errors.join('\n')).toEqual([{ active: true }])
  }, 60_000)

  const size = 20 * 1024 * 1024
  await client.query("INSERT INTO large VALUES (1, 'a')")
  await client.query("INSERT INTO large VALUES (2, repeat('x', $1) || 'b'), (3, 'c')", [size])
  const came = async () => {
    const entries = await commands.xrange('measured', '-', '+')
    const field = (fields: readonly string[], name: string) => fields[fields.indexOf(name) + 1]
    return entries.map(([, fields]) => [field(fields, 'id'), field(fields, 'length'), field(fields, 'last')])
  }
  await vi.waitFor(async () => expect(await came(), errors.join('\n')).toHaveLength(3), 90_000)
  expect((await came()).sort()).toEqual([
    ['1', '1', 'a'],
    ['2', String(size + 1), 'b'],
    ['3', '1', 'c'],
  ])
}, 240_000)
