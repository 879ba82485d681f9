// What must stay bounded: memory behind a stopped sink, and one transaction of four times the credits.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { credits } from '../../src/pipeline/graph.js'
import { startRedis } from '../../src/servers/index.js'
import { type Rig, startRig, until } from './rig.js'

let rig: Rig
beforeAll(async () => {
  rig = await startRig()
})
afterAll(() => rig.stop())

/** One flush may be on its way when the bound is reached: at most one full frame for each partition. */
const oneFlush = 4 * 1024 * 1024

test('with a stopped sink the reader stops reading, memory stays flat, and everything arrives once it goes on', async () => {
  const { url, client } = await rig.database('stopped_sink')
  await client.query('create table items(id int primary key, filler text not null)')
  const sink = await startRedis()
  try {
    const running = await rig.run(
      rig.define({
        name: 'stopped-sink',
        partitions: 4,
        threads: 1,
        sources: { db: { kind: 'postgres', url, tables: ['public.items'], slot: 'stopped_sink' } },
        processors: { out: { sink: { kind: 'redis', url: sink.url, write: 'stream', name: 'out' } } },
      }),
    )
    await client.query('insert into items values (0, $1)', ['first'])
    await until('the path works', async () => (await running.status()).processors[0]!.emitted === 1)
    sink.pause()
    const rows = 60_000
    await client.query(`insert into items select g, repeat('x', 1000) from generate_series(1, ${rows}) g`)
    await until('the reader is blocked', async () => (await running.status()).sources[0]!.state === 'blocked')
    const read = async () => (await running.status()).sources[0]!.eventsIn
    const before = { events: await read(), rss: process.memoryUsage().rss }
    await client.query('update items set filler = filler where id <= 1000')
    await until(
      'a second has passed',
      (() => {
        const from = performance.now()
        return () => performance.now() - from > 1_000
      })(),
    )
    const status = await running.status()
    expect(await read()).toBe(before.events)
    expect(before.events).toBeLessThan(rows)
    for (const partition of status.partitions)
      expect(partition.outstandingBytes).toBeLessThan(credits.partition + oneFlush)
    expect(process.memoryUsage().rss - before.rss).toBeLessThan(40 * 1024 * 1024)
    sink.resume()
    await until(
      'everything arrives',
      async () => (await running.status()).processors[0]!.emitted >= rows + 1_001,
      40_000,
    )
    await running.stop()
  } finally {
    sink.resume()
    await sink.stop()
    await client.query(`select pg_drop_replication_slot('stopped_sink')`)
  }
})

test.each(['key', 'global', 'none'] as const)('one transaction of 256 MiB passes in order %s', async (order) => {
  const { url, client } = await rig.database(`large_${order}`)
  await client.query('create table items(id int primary key, filler text not null)')
  const running = await rig.run(
    rig.define({
      name: `large-${order}`,
      partitions: 4,
      threads: 1,
      sources: { db: { kind: 'postgres', url, tables: ['public.items'], slot: `large_${order}` } },
      processors: { out: { order, handler: new URL('./handlers/dropping.ts', import.meta.url).href } },
    }),
  )
  const rows = 4_096
  await client.query(`insert into items select g, repeat('x', 65536) from generate_series(1, ${rows}) g`)
  await until('all of it is processed', async () => (await running.status()).processors[0]!.done === rows, 40_000)
  const status = await running.status()
  expect(status.sources[0]!.bytesIn).toBeGreaterThan(4 * credits.pipeline)
  expect(status.memory.rssBytes).toBeLessThan(600 * 1024 * 1024)
  await until('the slot is confirmed', async () => {
    const { rows: slots } = await client.query(
      `select pg_current_wal_lsn() - confirmed_flush_lsn < 4096 as done from pg_replication_slots where slot_name = $1`,
      [`large_${order}`],
    )
    return slots[0].done
  })
  await running.stop()
  await client.query('select pg_drop_replication_slot($1)', [`large_${order}`])
})
