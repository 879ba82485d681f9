// Wrong configuration: each a clear error with its remedy and the right exit code, before anything is started.
import { createServer } from 'node:net'
import { describe, expect, it } from 'vitest'
import type { PostgresSourceDefinition } from '../../../src/source/postgres/definition.js'
import type { TroupeError } from '../../../src/world/error.js'
import { harness } from './harness.js'
import { createRecording, openReader, sourceFor } from './recording.js'

const here = harness({ max_replication_slots: '2' })

async function refusal(config: PostgresSourceDefinition): Promise<TroupeError> {
  return here.preflight(config).then(
    () => Promise.reject(new Error('preflight did not refuse it')),
    (error) => error,
  )
}

function source(over: Partial<PostgresSourceDefinition> = {}): PostgresSourceDefinition {
  const name = here.name()
  return sourceFor(here.server.url, `p_${name}`, over)
}

function expectConfigurationError(error: TroupeError, code: string): void {
  expect(error.code).toBe(code)
  expect(error.exitCode).toBe(2)
  expect(error.permanent).toBe(true)
  expect(error.place).toBe('source db')
  expect(error.remedy).not.toBe('')
}

describe('preflight', () => {
  it('says that nobody listens, with the address and without the password', async () => {
    const free = createServer()
    const port = await new Promise<number>((resolve) =>
      free.listen(0, '127.0.0.1', () => resolve((free.address() as { port: number }).port)),
    )
    await new Promise((resolve) => free.close(resolve))
    const error = await refusal(source({ url: `postgres://someone:hunter2@127.0.0.1:${port}/shop` }))
    expect(error.code).toBe('postgres-refused')
    expect(error.exitCode).toBe(1)
    expect(error.permanent).toBe(false)
    expect(error.message).toContain(`127.0.0.1:${port}/shop`)
    expect(JSON.stringify(error)).not.toContain('hunter2')
  })

  it('refuses a wrong password without repeating it', async () => {
    const url = new URL(here.server.url)
    url.password = 'hunter2'
    const error = await refusal(source({ url: url.href }))
    expectConfigurationError(error, 'postgres-authentication')
    expect(JSON.stringify(error)).not.toContain('hunter2')
  })

  it('refuses a database that is not there', async () => {
    expectConfigurationError(await refusal(source({ url: here.server.urlFor('nowhere') })), 'postgres-no-database')
  })

  it('lets nodes that start at once make one publication, whoever is first', async () => {
    await here.db.query('CREATE TABLE at_once (id int PRIMARY KEY)')
    const config = source({ tables: ['public.at_once'], createPublication: 'if-missing' })
    await Promise.all(Array.from({ length: 8 }, () => here.preflight(config)))
  })

  it('refuses a missing publication that it may not create, and creates one that it may', async () => {
    await here.db.query('CREATE TABLE a1 (id int PRIMARY KEY)')
    expectConfigurationError(await refusal(source()), 'publication-missing')
    expectConfigurationError(
      await refusal(source({ tables: ['public.a1'], createPublication: 'never' })),
      'publication-missing',
    )
    const config = source({ tables: ['public.a1'] })
    await here.preflight(config)
    await here.preflight(config)
    const { rows } = await here.db.query('SELECT tablename FROM pg_publication_tables WHERE pubname = $1', [
      config.publication,
    ])
    expect(rows).toEqual([{ tablename: 'a1' }])
  })

  it('refuses a table that is missing, is no table, or is not in the publication', async () => {
    await here.db.query(
      'CREATE TABLE b1 (id int PRIMARY KEY); CREATE VIEW b_view AS SELECT 1; CREATE TABLE b2 (id int PRIMARY KEY)',
    )
    await here.db.query('CREATE PUBLICATION b_pub FOR TABLE b1')
    const missing = await refusal(source({ tables: ['shop.Orders'] }))
    expectConfigurationError(missing, 'table-missing')
    expect(missing.message).toContain('"shop"."Orders"')
    expectConfigurationError(await refusal(source({ tables: ['b_view'] })), 'table-not-publishable')
    const outside = await refusal(source({ publication: 'b_pub', tables: ['public.b1', 'public.b2'] }))
    expectConfigurationError(outside, 'table-not-published')
    expect(outside.remedy).toContain('ALTER PUBLICATION "b_pub" ADD TABLE "public"."b2"')
    expectConfigurationError(await refusal(source({ tables: ['a.b.c'] })), 'bad-table-name')
  })

  it('refuses a table whose updates and deletes could not be identified', async () => {
    await here.db.query(
      'CREATE TABLE c1 (id int); CREATE TABLE c2 (id int PRIMARY KEY); ALTER TABLE c2 REPLICA IDENTITY NOTHING',
    )
    expectConfigurationError(await refusal(source({ tables: ['public.c1'] })), 'no-replica-identity')
    expectConfigurationError(await refusal(source({ tables: ['public.c2'] })), 'no-replica-identity')
    await here.db.query("CREATE PUBLICATION c_inserts FOR TABLE c1, c2 WITH (publish = 'insert')")
    await here.preflight(source({ publication: 'c_inserts' }))
  })

  it('warns where a key change could come incomplete', async () => {
    await here.db.query('CREATE TABLE d1 (id int PRIMARY KEY, body text, n int)')
    const recording = createRecording()
    await here.preflight(source({ tables: ['public.d1'] }), recording)
    expect(recording.logs.filter((line) => line.level === 'warn').map((line) => line.fields)).toEqual([
      { table: 'public.d1', columns: ['body'] },
    ])
  })

  it('refuses a missing slot that it may not create, and a server without a free one', async () => {
    await here.db.query('CREATE TABLE e1 (id int PRIMARY KEY)')
    const missing = await refusal(source({ tables: ['public.e1'], createSlot: 'never' }))
    expectConfigurationError(missing, 'slot-missing')
    await here.db.query(
      "SELECT pg_create_logical_replication_slot('taken_' || n, 'pgoutput') FROM generate_series(1, 2) n",
    )
    const full = await refusal(source({ tables: ['public.e1'] }))
    expectConfigurationError(full, 'no-free-slot')
    expect(full.message).toContain('2')
    // The reader itself says the same, should the slot go between the two.
    const opened = openReader(source({ tables: ['public.e1'] }), createRecording())
    await expect(opened).rejects.toMatchObject({ code: 'no-free-slot' })
    await here.db.query("SELECT pg_drop_replication_slot('taken_' || n) FROM generate_series(1, 2) n")
  })

  it('refuses a slot of another plugin', async () => {
    await here.db.query('CREATE TABLE f1 (id int PRIMARY KEY)')
    const config = source({ tables: ['public.f1'] })
    await here.preflight(config)
    await here.db.query("SELECT pg_create_logical_replication_slot($1, 'test_decoding')", [config.slot])
    await expect(openReader(config, createRecording())).rejects.toMatchObject({ code: 'slot-foreign', exitCode: 2 })
    await here.db.query('SELECT pg_drop_replication_slot($1)', [config.slot])
  })

  it('refuses a role that may not replicate or may not create the publication', async () => {
    await here.db.query("CREATE ROLE plain LOGIN PASSWORD 'p'; CREATE ROLE reader LOGIN REPLICATION PASSWORD 'p'")
    await here.db.query('CREATE TABLE g1 (id int PRIMARY KEY)')
    const url = new URL(here.server.url)
    url.username = 'plain'
    url.password = 'p'
    expectConfigurationError(await refusal(source({ url: url.href, tables: ['public.g1'] })), 'postgres-privileges')
    url.username = 'reader'
    expectConfigurationError(await refusal(source({ url: url.href, tables: ['public.g1'] })), 'postgres-privileges')
  })

  it('lets a role with REPLICATION alone read a publication that others made', async () => {
    await here.db.query('CREATE TABLE h1 (id int PRIMARY KEY); CREATE PUBLICATION h_pub FOR TABLE h1')
    await here.db.query("CREATE ROLE modest LOGIN REPLICATION PASSWORD 'p'")
    const url = new URL(here.server.url)
    url.username = 'modest'
    url.password = 'p'
    const config = source({ url: url.href, publication: 'h_pub', tables: ['public.h1'] })
    await here.preflight(config)
    const { reader, recording } = await here.reopen(config, {})
    expect(recording.error).toBeNull()
    await reader.stop()
    await here.db.query('SELECT pg_drop_replication_slot($1)', [config.slot])
  })

  it('refuses a server with another wal_level', async () => {
    await here.server.restart({ wal_level: 'replica' })
    await here.reconnect()
    await here.db.query('CREATE TABLE i1 (id int PRIMARY KEY)')
    const error = await refusal(source({ tables: ['public.i1'] }))
    expectConfigurationError(error, 'wal-level')
    expect(error.message).toContain('wal_level = replica')
    expect(error.remedy).toContain('logical')
  })
})
