// Guards docs/guarantees.md, "Truncate is a barrier", and what a reader makes of every message, against a real PostgreSQL.
import { describe, expect, it } from 'vitest'
import { harness } from './harness.js'
import { until } from './recording.js'

const here = harness()

describe('a reader', () => {
  it('carries inserts, updates and deletes with key, rows, transaction and unique positions', async () => {
    const { recording } = await here.start('CREATE TABLE a1 (id int PRIMARY KEY, name text)', ['public.a1'])
    await here.db.query(
      "BEGIN; INSERT INTO a1 VALUES (1, 'one'), (2, 'two'); UPDATE a1 SET name = 'ONE' WHERE id = 1; COMMIT",
    )
    await here.db.query('DELETE FROM a1 WHERE id = 2')
    await until(() => recording.events.length === 4, 'four events', recording)
    const [first, second, update, remove] = recording.events
    expect(recording.events.map((event) => event.operation)).toEqual(['insert', 'insert', 'update', 'delete'])
    expect(first!.namespace).toBe('public')
    expect(first!.entity).toBe('a1')
    expect(first!.after!.toObject()).toEqual({ id: 1, name: 'one' })
    expect(first!.key!.toObject()).toEqual({ id: 1 })
    expect(update!.after!.toObject()).toEqual({ id: 1, name: 'ONE' })
    expect(update!.keyHash).toBe(first!.keyHash)
    expect(remove!.before!.toObject()).toEqual({ id: 2 })
    expect(remove!.keyHash).toBe(second!.keyHash)
    expect(first!.transaction!.id).toBe(update!.transaction!.id)
    expect([first, second, update].map((event) => event!.transaction!.index)).toEqual([1, 2, 3])
    expect(Math.abs(Date.parse(first!.occurredAt!) - Date.now())).toBeLessThan(60_000)
    expect(new Set(recording.events.map((event) => event.id)).size).toBe(4)
  })

  it('counts what no processor wants, so that the others keep their ordinals', async () => {
    const { recording } = await here.start('CREATE TABLE b3 (id int PRIMARY KEY, n int)', ['public.b3'])
    recording.wants = (_entity, operation) => operation === 'delete'
    await here.db.query('BEGIN; INSERT INTO b3 VALUES (1, 1), (2, 2); DELETE FROM b3 WHERE id = 2; COMMIT')
    await until(() => recording.events.length === 1, 'the delete', recording)
    expect(recording.events[0]!.position.minor).toBe(3n)
  })

  it('gives a key change as a delete and an insert of one ordinal, incomplete where a column was not sent', async () => {
    const { recording } = await here.start(
      'CREATE TABLE c1 (id int PRIMARY KEY, name text, big text); ALTER TABLE c1 ALTER big SET STORAGE EXTERNAL',
      ['public.c1'],
    )
    await here.db.query("INSERT INTO c1 VALUES (1, 'a', repeat('x', 9000)), (2, 'b', 'small')")
    await here.db.query('UPDATE c1 SET id = 10 WHERE id = 1')
    await here.db.query('UPDATE c1 SET id = 20 WHERE id = 2')
    await until(() => recording.events.length === 6, 'six events', recording)
    const [one, , remove, insert, , whole] = recording.events
    expect(recording.events.slice(2).map((event) => event.operation)).toEqual(['delete', 'insert', 'delete', 'insert'])
    expect([remove!.position.part, insert!.position.part]).toEqual([0, 1])
    expect(remove!.position.minor).toBe(insert!.position.minor)
    expect(remove!.keyHash).toBe(one!.keyHash)
    expect(remove!.key!.toObject()).toEqual({ id: 1 })
    expect(insert!.key!.toObject()).toEqual({ id: 10 })
    expect(insert!.keyHash).not.toBe(remove!.keyHash)
    expect(insert!.incomplete).toBe(true)
    expect(insert!.unchanged).toEqual(['big'])
    expect(insert!.after!.toObject()).toEqual({ id: 10, name: 'a' })
    expect(whole!.incomplete).toBe(false)
    expect(whole!.after!.toObject()).toEqual({ id: 20, name: 'b', big: 'small' })
  })

  it('takes the unchanged columns of a key change from the old row under replica identity full', async () => {
    const { recording } = await here.start(
      'CREATE TABLE c2 (id int PRIMARY KEY, big text); ALTER TABLE c2 ALTER big SET STORAGE EXTERNAL; ALTER TABLE c2 REPLICA IDENTITY FULL',
      ['public.c2'],
    )
    await here.db.query("INSERT INTO c2 VALUES (1, repeat('x', 9000))")
    await here.db.query('UPDATE c2 SET id = 2')
    await until(() => recording.events.length === 3, 'three events', recording)
    const [first, remove, insert] = recording.events
    expect(remove!.operation).toBe('delete')
    expect(remove!.keyHash).toBe(first!.keyHash)
    expect(insert!.incomplete).toBe(false)
    expect(insert!.unchanged).toEqual([])
    expect(insert!.after!.get('big')).toHaveLength(9000)
  })

  it('never shows an unchanged TOAST column as a value, and names it', async () => {
    const { recording } = await here.start(
      'CREATE TABLE d1 (id int PRIMARY KEY, n int, big text); ALTER TABLE d1 ALTER big SET STORAGE EXTERNAL',
      ['public.d1'],
    )
    await here.db.query("INSERT INTO d1 VALUES (1, 1, repeat('x', 9000))")
    await here.db.query('UPDATE d1 SET n = 2')
    await until(() => recording.events.length === 2, 'two events', recording)
    const update = recording.events[1]!
    expect(update.unchanged).toEqual(['big'])
    expect(update.after!.has('big')).toBe(false)
    expect(update.after!.toObject()).toEqual({ id: 1, n: 2 })
    expect(update.after!.toJSON()).toEqual({ id: 1, n: 2 })
  })

  it('finds the same key where the key itself is stored out of line', async () => {
    const { recording } = await here.start(
      'CREATE TABLE d2 (k text PRIMARY KEY, n int); ALTER TABLE d2 ALTER k SET STORAGE EXTERNAL',
      ['public.d2'],
    )
    await here.db.query("INSERT INTO d2 SELECT string_agg(md5(g::text), ''), 1 FROM generate_series(1, 80) g")
    await here.db.query('UPDATE d2 SET n = 2; DELETE FROM d2')
    await until(() => recording.events.length === 3, 'three events', recording)
    expect(recording.events.map((event) => event.operation)).toEqual(['insert', 'update', 'delete'])
    expect(new Set(recording.events.map((event) => event.keyHash)).size).toBe(1)
    expect(new Set(recording.events.map((event) => event.keyText)).size).toBe(1)
  })

  it('finds the key under all four replica identities', async () => {
    const { recording } = await here.start(
      `CREATE TABLE e_default (id int PRIMARY KEY, n int);
       CREATE TABLE e_full (n int, id int PRIMARY KEY); ALTER TABLE e_full REPLICA IDENTITY FULL;
       CREATE TABLE e_keyless (a int, b int); ALTER TABLE e_keyless REPLICA IDENTITY FULL;
       CREATE TABLE e_index (id int PRIMARY KEY, code text NOT NULL UNIQUE);
       ALTER TABLE e_index REPLICA IDENTITY USING INDEX e_index_code_key`,
      ['public.e_default', 'public.e_full', 'public.e_keyless', 'public.e_index'],
    )
    await here.db.query('INSERT INTO e_default VALUES (1, 1)')
    await here.db.query('INSERT INTO e_full VALUES (1, 7); UPDATE e_full SET n = 2; DELETE FROM e_full')
    await here.db.query('INSERT INTO e_keyless VALUES (1, NULL); DELETE FROM e_keyless')
    await here.db.query("INSERT INTO e_index VALUES (1, 'x'); UPDATE e_index SET id = 2; DELETE FROM e_index")
    await until(() => recording.events.length === 9, 'nine events', recording)
    const of = (entity: string) => recording.events.filter((event) => event.entity === entity)
    expect(of('e_default')[0]!.key!.toObject()).toEqual({ id: 1 })
    expect(of('e_full').map((event) => event.operation)).toEqual(['insert', 'update', 'delete'])
    expect(of('e_full').map((event) => event.key!.toObject())).toEqual([{ id: 7 }, { id: 7 }, { id: 7 }])
    expect(new Set(of('e_full').map((event) => event.keyHash)).size).toBe(1)
    expect(of('e_full')[1]!.before!.toObject()).toEqual({ n: 1, id: 7 })
    expect(of('e_keyless')[0]!.key!.toObject()).toEqual({ a: 1, b: null })
    expect(of('e_keyless')[1]!.keyHash).toBe(of('e_keyless')[0]!.keyHash)
    expect(of('e_index').map((event) => event.operation)).toEqual(['insert', 'update', 'delete'])
    expect(of('e_index').map((event) => event.key!.toObject())).toEqual([{ code: 'x' }, { code: 'x' }, { code: 'x' }])
    expect(new Set(of('e_index').map((event) => event.keyHash)).size).toBe(1)
  })

  it('takes the key from the catalog where the identity is nothing, and routes keyless rows by their table', async () => {
    const ddl = `CREATE TABLE f1 (n int, id int PRIMARY KEY); ALTER TABLE f1 REPLICA IDENTITY NOTHING;
      CREATE TABLE f2 (a int); CREATE PUBLICATION f_only FOR TABLE f1, f2 WITH (publish = 'insert')`
    const over = { publication: 'f_only', createPublication: 'never' } as const
    const { recording } = await here.start(ddl, ['public.f1', 'public.f2'], over)
    await here.db.query('INSERT INTO f1 VALUES (1, 9); INSERT INTO f2 VALUES (1), (2)')
    await until(() => recording.events.length === 3, 'three events', recording)
    expect(recording.events[0]!.key!.toObject()).toEqual({ id: 9 })
    expect(recording.events[1]!.key).toBeNull()
    expect(recording.events[1]!.keyHash).toBe(recording.events[2]!.keyHash)
  })

  it('reads each row with the columns of its moment when a table is altered inside a transaction', async () => {
    const { recording } = await here.start('CREATE TABLE g1 (id int PRIMARY KEY, a text)', ['public.g1'])
    await here.db.query(
      "BEGIN; INSERT INTO g1 VALUES (1, 'x'); ALTER TABLE g1 ADD b int; INSERT INTO g1 VALUES (2, 'y', 5); ALTER TABLE g1 DROP a; INSERT INTO g1 VALUES (3, 6); COMMIT",
    )
    await here.db.query("CREATE TYPE g_mood AS ENUM ('sad', 'ok'); ALTER TABLE g1 ADD mood g_mood[]")
    await here.db.query("INSERT INTO g1 VALUES (4, 7, '{ok}')")
    await until(() => recording.events.length === 4, 'four events', recording)
    expect(recording.events.map((event) => event.after!.toObject())).toEqual([
      { id: 1, a: 'x' },
      { id: 2, a: 'y', b: 5 },
      { id: 3, b: 6 },
      { id: 4, b: 7, mood: ['ok'] },
    ])
    expect(new Set(recording.events.map((event) => event.schemaVersion)).size).toBe(4)
  })

  it('holds everything behind a truncate until its barrier is finished', async () => {
    const { recording, reader } = await here.start(
      'CREATE TABLE h1 (id int PRIMARY KEY); CREATE TABLE h2 (id int PRIMARY KEY)',
      ['public.h1', 'public.h2'],
    )
    recording.autoBarrier = false
    await here.db.query('INSERT INTO h1 VALUES (1)')
    await here.db.query(
      'BEGIN; INSERT INTO h1 VALUES (2); TRUNCATE h1, h2 RESTART IDENTITY; INSERT INTO h1 VALUES (3); COMMIT',
    )
    await until(() => recording.barriers.length === 1, 'the first barrier', recording)
    expect(recording.events.map((event) => event.operation)).toEqual(['insert', 'insert'])
    expect(reader.status().state).toBe('waiting')
    recording.barriers[0]!.finish()
    await until(() => recording.barriers.length === 2, 'the second barrier', recording)
    expect(recording.events.length).toBe(3)
    recording.barriers[1]!.finish()
    await until(() => recording.events.length === 5, 'all five', recording)
    expect(recording.events.map((event) => [event.operation, event.entity])).toEqual([
      ['insert', 'h1'],
      ['insert', 'h1'],
      ['truncate', 'h1'],
      ['truncate', 'h2'],
      ['insert', 'h1'],
    ])
    expect(recording.events.slice(1).map((event) => Number(event.position.minor))).toEqual([1, 2, 3, 4])
    expect(recording.events[2]!.headers).toEqual({ cascade: 'false', restartIdentity: 'true' })
  })

  it('carries logical messages, inside a transaction and outside of one', async () => {
    const { recording } = await here.start('CREATE TABLE i1 (id int PRIMARY KEY)', ['public.i1'])
    await here.db.query("SELECT pg_logical_emit_message(false, 'beat', 'now')")
    await here.db.query(
      "BEGIN; INSERT INTO i1 VALUES (1); SELECT pg_logical_emit_message(true, 'audit', 'who'); COMMIT",
    )
    await until(() => recording.events.length === 3, 'three events', recording)
    const [beat, , audit] = recording.events
    expect(beat!.operation).toBe('message')
    expect(beat!.headers).toMatchObject({ prefix: 'beat', transactional: 'false' })
    expect(beat!.after!.get('content')).toBe('now')
    expect(audit!.headers).toMatchObject({ prefix: 'audit', transactional: 'true' })
    expect(audit!.position.minor).toBe(2n)
    expect(beat!.position.major < audit!.position.major).toBe(true)
  })

  it('passes over origins and type announcements', async () => {
    const ddl = "CREATE TYPE j_kind AS ENUM ('a', 'b'); CREATE TABLE j1 (id int PRIMARY KEY, k j_kind)"
    const { recording } = await here.start(ddl, ['public.j1'])
    await here.db.query(
      "SELECT pg_replication_origin_create('elsewhere'); SELECT pg_replication_origin_session_setup('elsewhere')",
    )
    await here.db.query("INSERT INTO j1 VALUES (1, 'b')")
    await here.db.query("SELECT pg_replication_origin_session_reset(); SELECT pg_replication_origin_drop('elsewhere')")
    await until(() => recording.events.length === 1, 'the row', recording)
    expect(recording.events[0]!.after!.toObject()).toEqual({ id: 1, k: 'b' })
  })

  it('shows the rows of partitions as theirs, or as those of the root where the publication says so', async () => {
    const ddl = `CREATE TABLE k1 (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);
      CREATE TABLE k1_low PARTITION OF k1 FOR VALUES FROM (0) TO (10);
      CREATE TABLE k1_high PARTITION OF k1 FOR VALUES FROM (10) TO (20);
      CREATE PUBLICATION k_root FOR TABLE k1 WITH (publish_via_partition_root)`
    const leaves = await here.start(ddl, ['public.k1'])
    const root = await here.start('', ['public.k1'], { publication: 'k_root' })
    await here.db.query('INSERT INTO k1 VALUES (1, 1), (11, 1)')
    await until(() => leaves.recording.events.length === 2, 'two rows of partitions', leaves.recording)
    await until(() => root.recording.events.length === 2, 'two rows of the root', root.recording)
    expect(leaves.recording.events.map((event) => event.entity)).toEqual(['k1_low', 'k1_high'])
    expect(root.recording.events.map((event) => event.entity)).toEqual(['k1', 'k1'])
  })

  it('works with names that need quotes', async () => {
    const table = '"My Schema"."We ""like"" it, äh"'
    const { recording } = await here.start(
      `CREATE SCHEMA "My Schema"; CREATE TABLE ${table} ("Id" int PRIMARY KEY, "the ""column""" text)`,
      [table],
      { publication: `Pub "quoted", it's` },
    )
    await here.db.query(`INSERT INTO ${table} VALUES (1, 'x')`)
    await until(() => recording.events.length === 1, 'the row', recording)
    expect(recording.events[0]!.namespace).toBe('My Schema')
    expect(recording.events[0]!.entity).toBe('We "like" it, äh')
    expect(recording.events[0]!.after!.toObject()).toEqual({ Id: 1, 'the "column"': 'x' })
  })

  it('reads nothing more while its output is blocked, and goes on afterwards with nothing lost', async () => {
    const { recording, reader } = await here.start('CREATE TABLE l1 (id int PRIMARY KEY, t text)', ['public.l1'])
    await until(() => reader.status().state === 'streaming', 'streaming', recording)
    recording.setBlocked(true)
    await here.db.query("INSERT INTO l1 SELECT g, repeat('x', 100) FROM generate_series(1, 50000) g")
    await until(() => reader.status().state === 'blocked', 'blocked', recording)
    const { rows, bytesRead } = reader.status()
    await here.db.query('SELECT pg_sleep(0.3)')
    expect(reader.status().rows).toBe(rows)
    expect(reader.status().bytesRead).toBe(bytesRead)
    expect(bytesRead).toBeLessThan(1024 * 1024)
    recording.setBlocked(false)
    await until(() => recording.events.length === 50_000, 'all rows', recording)
    expect(recording.events.at(-1)!.key!.toObject()).toEqual({ id: 50_000 })
  })

  it('passes a row of 54 MB', async () => {
    const { recording } = await here.start('CREATE TABLE m1 (id int PRIMARY KEY, t text)', ['public.m1'])
    await here.db.query("INSERT INTO m1 VALUES (1, repeat('troupe', 9000000)), (2, 'after')")
    await until(() => recording.events.length === 2, 'both rows', recording)
    const text = recording.events[0]!.after!.get('t') as string
    expect(text.length).toBe(54_000_000)
    expect(text.slice(-12)).toBe('troupetroupe')
    expect(recording.events[1]!.after!.get('t')).toBe('after')
  })

  it('speaks over a unix socket', async () => {
    await here.db.query('CREATE TABLE n1 (id int PRIMARY KEY)')
    const { recording } = await here.start('', ['public.n1'], { url: here.server.socketUrl })
    await here.db.query('INSERT INTO n1 VALUES (1)')
    await until(() => recording.events.length === 1, 'the row', recording)
  })
})
