import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Rig, startRig, until } from './rig.js'

let rig: Rig
beforeAll(async () => {
  rig = await startRig()
})
afterAll(() => rig.stop())

const postgres = (url: string, tables: string[]) => ({ kind: 'postgres' as const, url, tables, slot: 'troupe' })
const stream = (name: string) => ({ kind: 'redis' as const, url: rig.redis.url, write: 'stream' as const, name })

/** The value of a field of each entry of a stream. */
async function fields(name: string, ...wanted: string[]): Promise<string[]> {
  const entries = await rig.commands.xrange(name, '-', '+')
  return entries.map(([, flat]) => {
    const at = (field: string) => flat[flat.indexOf(field) + 1]
    return wanted.map((field) => (flat.includes(field) ? at(field) : '')).join(' ')
  })
}

describe('a pipeline from PostgreSQL and Redis to Redis', () => {
  test('carries changes of both sources, each key in order, and confirms them', async () => {
    const { url, client } = await rig.database('both')
    await client.query('create table items(id int primary key, n int not null)')
    const running = await rig.run(
      rig.define({
        name: 'both',
        partitions: 4,
        threads: 2,
        sources: {
          db: postgres(url, ['public.items']),
          clicks: { kind: 'redis-streams', url: rig.redis.url, streams: ['both-in'], mode: 'group', keyField: 'user' },
        },
        processors: { out: { sink: stream('both-out') } },
      }),
    )
    await client.query('insert into items select g, 0 from generate_series(1, 200) g')
    for (let n = 1; n <= 3; n++) await client.query('update items set n = $1', [n])
    await client.query('delete from items where id <= 50')
    for (let n = 0; n < 100; n++) await rig.commands.xadd('both-in', '*', 'user', `u${n % 5}`, 'n', String(n))
    const wanted = 200 * 4 + 50 + 100
    await until('everything arrives', async () => (await rig.commands.xlen('both-out')) === wanted)
    const byKey = new Map<string, string[]>()
    for (const line of await fields('both-out', '@entity', '@key', '@op', 'n')) {
      const [entity, key, operation, n] = line.split(' ')
      const list = byKey.get(`${entity} ${key}`) ?? []
      byKey.set(`${entity} ${key}`, [...list, operation === 'delete' ? 'delete' : n!])
    }
    expect(byKey.get('public.items 60')).toEqual(['0', '1', '2', '3'])
    expect(byKey.get('public.items 50')).toEqual(['0', '1', '2', '3', 'delete'])
    const clicks = byKey.get('both-in u3') ?? byKey.get('0.both-in u3')!
    expect(clicks.map(Number)).toEqual([...clicks.map(Number)].sort((a, b) => a - b))
    await until('the group has nothing pending', async () => {
      const pending = (await rig.commands.xpending('both-in', 'troupe-both')) as [number]
      return pending[0] === 0
    })
    await until('the slot is confirmed to the end', async () => {
      const { rows } = await client.query(
        `select confirmed_flush_lsn >= pg_current_wal_lsn() - 0 as done from pg_replication_slots where slot_name = 'troupe'`,
      )
      return rows[0].done === true
    })
    const status = await running.status()
    expect(status.processors[0]).toMatchObject({ done: wanted, emitted: wanted, deadLetters: 0 })
    await running.stop()
    await client.query(`select pg_drop_replication_slot('troupe')`)
  })

  test('heals when its worker threads are killed, and loses nothing', async () => {
    const { url, client } = await rig.database('heals')
    await client.query('create table items(id int primary key, n int not null)')
    await client.query('insert into items select g, 0 from generate_series(1, 50) g')
    const running = await rig.run(
      rig.define({
        name: 'heals',
        partitions: 4,
        threads: 2,
        sources: { db: { ...postgres(url, ['public.items']), slot: 'heals' } },
        processors: { out: { sink: stream('heals-out') } },
      }),
    )
    let writing = true
    let written = 0
    const writer = (async () => {
      while (writing) {
        written++
        await client.query('update items set n = $1', [written])
      }
    })()
    for (let kill = 0; kill < 5; kill++) {
      await until('some more is written', () => written >= (kill + 1) * 10)
      const threads = running.threads()
      running.killThread(threads[kill % threads.length]!)
    }
    writing = false
    await writer
    await until('the last update of each row arrives', async () => {
      const last = new Set<string>()
      for (const line of await fields('heals-out', '@key', 'n')) if (line.endsWith(` ${written}`)) last.add(line)
      return last.size === 50
    })
    const seen = new Map<string, Set<number>>()
    for (const line of await fields('heals-out', '@key', 'n')) {
      const [key, n] = line.split(' ')
      const numbers = seen.get(key!) ?? new Set<number>()
      seen.set(key!, numbers)
      // First appearances ascend; what comes again was seen before.
      if (!numbers.has(Number(n))) expect(Number(n)).toBe(numbers.size + 1)
      numbers.add(Number(n))
    }
    expect(running.killThread('no-such-thread')).toBe(false)
    expect((await running.status()).actors.restarts).toBeGreaterThan(0)
    await running.stop()
    await client.query(`select pg_drop_replication_slot('heals')`)
  })

  test('a failed event is retried, then a dead letter, and its key goes on', async () => {
    const { url, client } = await rig.database('letters')
    await client.query('create table items(id int primary key, n int not null)')
    const definition = rig.define({
      name: 'letters',
      partitions: 2,
      threads: 1,
      sources: { db: { ...postgres(url, ['public.items']), slot: 'letters' } },
      processors: {
        out: {
          handler: new URL('./handlers/failing.ts', import.meta.url).href,
          retry: { initial: 5, max: 10, maxElapsed: 50 },
          sink: stream('letters-out'),
        },
      },
    })
    const running = await rig.run(definition)
    await client.query('insert into items select g, 0 from generate_series(1, 20) g')
    await until('all others arrive', async () => (await rig.commands.xlen('letters-out')) === 18)
    const letters = () =>
      [0, 1].flatMap((partition) => {
        try {
          const path = join(definition.dataDirectory, 'dead-letters', `out.key-${partition}.jsonl`)
          return readFileSync(path, 'utf8')
            .trim()
            .split('\n')
            .map((line) => JSON.parse(line))
        } catch {
          return []
        }
      })
    // Counted once they are durable, which comes after the file shows them.
    await until('both dead letters are counted', async () => (await running.status()).processors[0]?.deadLetters === 2)
    expect(
      letters()
        .map((letter) => letter.event.key.id)
        .sort((a, b) => a - b),
    ).toEqual([7, 14])
    expect(letters()[0]).toMatchObject({ processor: 'out', stage: 'handler', cause: { name: 'Error' } })
    expect((await running.status()).processors[0]!.retries).toBeGreaterThanOrEqual(4)
    await running.stop()
    await client.query(`select pg_drop_replication_slot('letters')`)
  })

  test('onFailure stop: the partition stops and says why, and after a restart the event comes again', async () => {
    const { url, client } = await rig.database('stops')
    await client.query('create table items(id int primary key, n int not null)')
    const definition = rig.define({
      name: 'stops',
      partitions: 1,
      threads: 1,
      sources: { db: { ...postgres(url, ['public.items']), slot: 'stops' } },
      processors: {
        out: {
          handler: new URL('./handlers/failing.ts', import.meta.url).href,
          retry: { initial: 1, max: 1, maxElapsed: 5 },
          onFailure: 'stop',
          sink: stream('stops-out'),
        },
      },
    })
    const first = await rig.run(definition)
    await client.query('insert into items values (1, 0), (7, 0)')
    await until('the partition has stopped', async () => (await first.status()).partitions[0]!.state === 'stopped')
    await client.query('insert into items values (2, 0)')
    await first.stop(500)
    expect(await fields('stops-out', '@key')).toEqual(['1'])
    const mended = {
      ...definition,
      processors: { out: { ...definition.processors.out!, handler: null } },
    }
    const second = await rig.run(mended)
    await until('the failed event and the later one arrive', async () => {
      const keys = await fields('stops-out', '@key')
      return keys.includes('7') && keys.includes('2')
    })
    await second.stop()
    await client.query(`select pg_drop_replication_slot('stops')`)
  })

  test('order global: all events in commit order, beside a keyed processor', async () => {
    const { url, client } = await rig.database('global')
    await client.query('create table items(id int primary key, n int not null)')
    const running = await rig.run(
      rig.define({
        name: 'global',
        partitions: 4,
        threads: 1,
        sources: { db: { ...postgres(url, ['public.items']), slot: 'global' } },
        processors: {
          all: { order: 'global', sink: stream('global-all') },
          keyed: { sink: stream('global-keyed') },
        },
      }),
    )
    await client.query('insert into items select g, g from generate_series(1, 500) g')
    await until('both have everything', async () => {
      const lengths = await Promise.all([rig.commands.xlen('global-all'), rig.commands.xlen('global-keyed')])
      return lengths.every((length) => length === 500)
    })
    expect((await fields('global-all', 'n')).map(Number)).toEqual(Array.from({ length: 500 }, (_, index) => index + 1))
    await running.stop()
    await client.query(`select pg_drop_replication_slot('global')`)
  })

  test('a processor sees the sources that it names, and no other', async () => {
    const { url, client } = await rig.database('from')
    await client.query('create table items(id int primary key, n int not null)')
    const running = await rig.run(
      rig.define({
        name: 'from',
        partitions: 2,
        threads: 1,
        sources: {
          db: { ...postgres(url, ['public.items']), slot: 'from' },
          clicks: { kind: 'redis-streams', url: rig.redis.url, streams: ['from-in'], mode: 'read' },
        },
        processors: {
          rows: { from: ['db'], sink: stream('from-rows') },
          both: { sink: stream('from-both') },
        },
      }),
    )
    await client.query('insert into items select g, g from generate_series(1, 20) g')
    for (let n = 0; n < 10; n++) await rig.commands.xadd('from-in', '*', 'n', String(n))
    await until('the one that reads both has both', async () => (await rig.commands.xlen('from-both')) === 30)
    await until('the other has the rows', async () => (await rig.commands.xlen('from-rows')) >= 20)
    await running.stop()
    expect(new Set(await fields('from-rows', '@source'))).toEqual(new Set(['db']))
    await client.query(`select pg_drop_replication_slot('from')`)
  })

  test('a truncate is a barrier: everything before it is through, nothing after it has begun', async () => {
    const { url, client } = await rig.database('barrier')
    await client.query('create table items(id int primary key, n int not null)')
    const running = await rig.run(
      rig.define({
        name: 'barrier',
        partitions: 4,
        threads: 2,
        sources: { db: { ...postgres(url, ['public.items']), slot: 'barrier' } },
        processors: { out: { sink: stream('barrier-out') } },
      }),
    )
    await client.query('insert into items select g, 1 from generate_series(1, 300) g')
    await client.query('truncate items')
    await client.query('insert into items select g, 2 from generate_series(1, 300) g')
    await until('everything arrives', async () => (await rig.commands.xlen('barrier-out')) === 601)
    const seen = await fields('barrier-out', '@op', 'n')
    expect(seen.indexOf('truncate ')).toBe(300)
    expect(new Set(seen.slice(0, 300))).toEqual(new Set(['insert 1']))
    expect(new Set(seen.slice(301))).toEqual(new Set(['insert 2']))
    await running.stop()
    await client.query(`select pg_drop_replication_slot('barrier')`)
  })

  test('nothing is confirmed while the checkpoint is not flushed', async () => {
    const { url, client } = await rig.database('late')
    await client.query('create table items(id int primary key, n int not null)')
    const definition = rig.define({
      name: 'late',
      partitions: 1,
      threads: 1,
      checkpointInterval: 100,
      sources: { db: { ...postgres(url, ['public.items']), slot: 'late' } },
      processors: { out: { sink: stream('late-out') } },
    })
    const running = await rig.run(definition, { flushDelay: 3_000 })
    const confirmed = async () =>
      (await client.query(`select confirmed_flush_lsn::text as lsn from pg_replication_slots where slot_name = 'late'`))
        .rows[0].lsn
    const { rows } = await client.query('select pg_current_wal_lsn() as lsn')
    await client.query('insert into items select g, 1 from generate_series(1, 100) g')
    await until('everything arrives', async () => (await rig.commands.xlen('late-out')) === 100)
    const { rows: behind } = await client.query('select $1::pg_lsn <= $2::pg_lsn as yes', [
      await confirmed(),
      rows[0].lsn,
    ])
    expect(behind[0].yes).toBe(true)
    await until('it is confirmed after the flush', async () => {
      const { rows: done } = await client.query('select $1::pg_lsn > $2::pg_lsn as yes', [
        await confirmed(),
        rows[0].lsn,
      ])
      return done[0].yes
    })
    await running.stop()
    await client.query(`select pg_drop_replication_slot('late')`)
  })

  test('another number of partitions loses nothing', async () => {
    const { url, client } = await rig.database('layout')
    await client.query('create table items(id int primary key, n int not null)')
    const definition = rig.define({
      name: 'layout',
      partitions: 2,
      threads: 1,
      sources: { db: { ...postgres(url, ['public.items']), slot: 'layout' } },
      processors: { out: { sink: stream('layout-out') } },
    })
    const first = await rig.run(definition)
    await client.query('insert into items select g, 1 from generate_series(1, 100) g')
    await until('the first hundred', async () => (await rig.commands.xlen('layout-out')) === 100)
    await first.stop()
    const second = await rig.run({ ...definition, partitions: 5 })
    await client.query('insert into items select g, 1 from generate_series(101, 200) g')
    await until('the second hundred', async () => new Set(await fields('layout-out', '@key')).size === 200)
    await second.stop()
    await client.query(`select pg_drop_replication_slot('layout')`)
  })
})
