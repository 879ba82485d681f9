// Guards docs/architecture.md, "Confirm" and "Resume": what the server is told, and what a reader does when it finds another slot than it left.
// The server ends a walsender that is silent for a second, so that feedback is put to the test in every case.
import { chownSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { ReaderState } from '../../../src/checkpoint/checkpoint.js'
import { formatLsn, parseLsn } from '../../../src/source/postgres/lsn.js'
import { connectReplication } from '../../../src/wire/copyboth.js'
import { TroupeError } from '../../../src/world/error.js'
import { realWorld } from '../../../src/world/real.js'
import { harness } from './harness.js'
import { createRecording, openReader, type Started, sourceFor, until } from './recording.js'

const here = harness({ wal_sender_timeout: '1s' })

async function confirmedBy(slot: string): Promise<bigint> {
  const { rows } = await here.db.query(
    'SELECT confirmed_flush_lsn AS lsn FROM pg_replication_slots WHERE slot_name = $1',
    [slot],
  )
  return parseLsn(rows[0].lsn)
}

async function currentLsn(): Promise<bigint> {
  const { rows } = await here.db.query('SELECT pg_current_wal_lsn() AS lsn')
  return parseLsn(rows[0].lsn)
}

const lsnOf = (state: ReaderState) => parseLsn(state.lsn as string)
const idsOf = (started: Pick<Started, 'recording'>) => started.recording.events.map((event) => event.id)

/** Stopped, with everything that was appended confirmed and told to the server. Gives its last state. */
async function settled({ recording, reader, config }: Started): Promise<ReaderState> {
  await until(() => recording.states.length > 0 && recording.out.quiet, 'quiet', recording)
  await reader.stop()
  const state = recording.states.at(-1)!
  await until(async () => (await confirmedBy(config.slot)) >= lsnOf(state), 'the server to know')
  return state
}

async function failure(work: Promise<unknown>): Promise<TroupeError> {
  return work.then(
    () => Promise.reject(new Error('it did not fail')),
    (error) => error,
  )
}

describe('confirming', () => {
  it('stores the first position before any event, so that a slot that is lost later is noticed', async () => {
    const { recording, config } = await here.start('CREATE TABLE a1 (id int PRIMARY KEY)', ['public.a1'])
    await until(() => recording.states.length > 0, 'a first state', recording)
    expect(lsnOf(recording.states[0]!)).toBe(await confirmedBy(config.slot))
  })

  it('reads nothing under a new epoch before that is on the disk: a crash must not give the same events another', async () => {
    await here.db.query('CREATE TABLE a2 (id int PRIMARY KEY)')
    const config = sourceFor(here.server.url, 'fresh', { tables: ['public.a2'] })
    await here.preflight(config)
    const recording = createRecording()
    let stored: () => void = () => {}
    recording.out.stored = () => new Promise((resolve) => (stored = resolve))
    const reader = await openReader(config, recording, {})
    await until(() => recording.states.length > 0, 'a first state', recording)
    await here.db.query('INSERT INTO a2 VALUES (1)')
    expect(recording.events).toEqual([])
    stored()
    await until(() => recording.events.length === 1, 'the row', recording)
    await reader.stop()
  })

  it('never passes a transaction that is not confirmed, nor stops inside one', async () => {
    const { recording, reader, config } = await here.start('CREATE TABLE b1 (id int PRIMARY KEY)', ['public.b1'])
    await until(() => recording.states.length > 0, 'a first state', recording)
    recording.autoConfirm = false
    const before = await confirmedBy(config.slot)
    for (let id = 1; id <= 3; id++) {
      await here.db.query(`INSERT INTO b1 SELECT ${id} * 1000 + g FROM generate_series(1, 600) g`)
      await until(() => recording.events.length === id * 600, 'its rows', recording)
    }
    expect(recording.states.length).toBeGreaterThan(3)
    await here.db.query('SELECT pg_sleep(0.6)')
    expect(await confirmedBy(config.slot)).toBe(before)
    // Frames of 512 rows were flushed inside the transactions: their states name the end of the one before.
    const ends = new Set(recording.states.map((state) => lsnOf(state)))
    expect(ends.size).toBe(4)
    for (const state of recording.states) {
      reader.confirm(state, [])
      const told = lsnOf(state)
      await until(async () => (await confirmedBy(config.slot)) >= told, 'the server to know', recording)
      expect(await confirmedBy(config.slot)).toBe(told)
    }
  })

  it('gives what was not confirmed again after a restart, with the same ids', async () => {
    const first = await here.start('CREATE TABLE c1 (id int PRIMARY KEY)', ['public.c1'])
    await here.db.query('INSERT INTO c1 VALUES (1)')
    await until(() => first.recording.events.length === 1 && first.recording.out.quiet, 'one row', first.recording)
    const confirmed = first.recording.states.at(-1)!
    first.recording.autoConfirm = false
    await here.db.query('INSERT INTO c1 VALUES (2), (3); ')
    await here.db.query('INSERT INTO c1 VALUES (4)')
    await until(() => first.recording.events.length === 4, 'four rows', first.recording)
    await first.reader.stop()
    const second = await here.reopen(first.config, { state: confirmed, term: 2 })
    await until(() => second.recording.events.length === 3, 'three rows', second.recording)
    expect(idsOf(second)).toEqual(idsOf(first).slice(1))
  })

  it('skips what the log still holds when the reader alone is restarted inside a transaction', async () => {
    const first = await here.start('CREATE TABLE d1 (id int PRIMARY KEY, t text)', ['public.d1'])
    first.recording.autoConfirm = false
    await here.db.query("INSERT INTO d1 SELECT g, repeat('x', 200) FROM generate_series(1, 20000) g")
    await until(() => first.recording.events.length > 512, 'a part of it', first.recording)
    await first.reader.stop()
    first.recording.out.flush()
    const second = await here.reopen(first.config, {
      state: first.recording.states.at(-1)!,
      confirmed: first.recording.states[0]!,
      appended: first.recording.last,
      term: 2,
    })
    const ids = idsOf(first)
    await until(() => ids.length + second.recording.events.length === 20_000, 'the rest', second.recording)
    expect(new Set([...ids, ...idsOf(second)]).size).toBe(20_000)
  })

  it('moves an idle slot while other tables are written, but only after the step was stored', async () => {
    const { recording, config } = await here.start(
      'CREATE TABLE e1 (id int PRIMARY KEY); CREATE TABLE e_other (id int)',
      ['public.e1'],
    )
    await here.db.query('INSERT INTO e_other SELECT generate_series(1, 1000)')
    const written = await currentLsn()
    await until(async () => (await confirmedBy(config.slot)) >= written, 'the slot to move', recording)
    expect(recording.events.length).toBe(0)
    const told = await confirmedBy(config.slot)
    expect(recording.states.some((state) => lsnOf(state) >= told)).toBe(true)
    // With steps that nobody stores it stays.
    recording.autoConfirm = false
    await here.db.query('INSERT INTO e_other SELECT generate_series(1, 1000)')
    const steps = recording.states.length
    await until(() => recording.states.length > steps, 'a step', recording)
    await here.db.query('SELECT pg_sleep(0.5)')
    expect(await confirmedBy(config.slot)).toBeLessThan(await currentLsn())
    expect(await confirmedBy(config.slot)).toBeLessThanOrEqual(lsnOf(recording.states[steps - 1]!))
  })

  it('goes on with its feedback while it is blocked, longer than the server waits', async () => {
    const { recording, reader } = await here.start('CREATE TABLE f1 (id int PRIMARY KEY, t text)', ['public.f1'])
    recording.setBlocked(true)
    await here.db.query("INSERT INTO f1 SELECT g, repeat('x', 1000) FROM generate_series(1, 20000) g")
    await until(() => reader.status().state === 'blocked', 'blocked', recording)
    await here.db.query('SELECT pg_sleep(2.5)')
    expect(recording.error).toBeNull()
    recording.setBlocked(false)
    await until(() => recording.events.length === 20_000, 'all rows', recording)
  })

  it('goes on with its feedback while a truncate waits', async () => {
    const { recording } = await here.start('CREATE TABLE f2 (id int PRIMARY KEY)', ['public.f2'])
    recording.autoBarrier = false
    await here.db.query('TRUNCATE f2')
    await until(() => recording.barriers.length === 1, 'the barrier', recording)
    await here.db.query('SELECT pg_sleep(2)')
    expect(recording.error).toBeNull()
    recording.barriers[0]!.finish()
    await until(() => recording.events.length === 1, 'the truncate', recording)
  })
})

describe('a reader that starts again', () => {
  it('after the server was killed goes on with nothing lost', async () => {
    const first = await here.start('CREATE TABLE g1 (id int PRIMARY KEY)', ['public.g1'])
    await here.db.query('INSERT INTO g1 SELECT generate_series(1, 100)')
    await until(() => first.recording.events.length === 100 && first.recording.out.quiet, 'rows', first.recording)
    const confirmed = first.recording.states.at(-1)!
    await here.server.kill('SIGKILL')
    await until(() => first.recording.error !== null, 'the reader to fail')
    expect((first.recording.error as TroupeError).permanent).toBe(false)
    await here.server.restart()
    await here.reconnect()
    await here.db.query('INSERT INTO g1 SELECT generate_series(101, 200)')
    const second = await here.reopen(first.config, { state: confirmed, term: 2 })
    await until(() => second.recording.events.at(-1)?.keyText === '200', 'the new rows', second.recording)
    const seen = new Set([...first.recording.events, ...second.recording.events].map((event) => event.keyText))
    expect(seen.size).toBe(200)
  })

  it('notices a server that has fallen silent', async () => {
    const { recording } = await here.start('CREATE TABLE g2 (id int PRIMARY KEY)', ['public.g2'])
    await until(() => recording.states.length > 0, 'a state', recording)
    here.server.pause()
    try {
      await until(() => recording.error !== null, 'the reader to fail')
    } finally {
      here.server.resume()
    }
    expect((recording.error as TroupeError).code).toBe('postgres-silent')
    expect((recording.error as TroupeError).permanent).toBe(false)
  })

  it('refuses a slot that is ahead of its checkpoint, or reports the window where that is allowed', async () => {
    const first = await here.start('CREATE TABLE h1 (id int PRIMARY KEY)', ['public.h1'])
    const state = await settled(first)
    await here.db.query('INSERT INTO h1 VALUES (1)')
    await here.db.query('SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())', [first.config.slot])
    const error = await failure(openReader(first.config, createRecording(), { state, term: 2 }))
    expect(error.code).toBe('slot-ahead')
    expect(error.permanent).toBe(true)
    expect(error.remedy).toContain('onGap')
    const second = await here.reopen({ ...first.config, onGap: 'report' }, { state, term: 3 })
    await here.db.query('INSERT INTO h1 VALUES (2)')
    await until(() => second.recording.events.length === 1, 'the next row', second.recording)
    expect(second.recording.events[0]!.keyText).toBe('2')
    const window = second.recording.windows[0]!
    expect(window.cause).toBe('slot-ahead')
    expect(window.bounded).toBe(true)
    expect(window.lastSeen).toMatch(/^\w+\/\w+\.\.\w+\/\w+$/)
    expect(second.recording.events[0]!.source.epoch.toString()).toBe(state.epoch)
  })

  it('asks who owns the source before it takes a slot that is further on, or gone, for a gap', async () => {
    const first = await here.start('CREATE TABLE q1 (id int PRIMARY KEY)', ['public.q1'])
    const state = await settled(first)
    // A reader that stood still since its takeover; its successor has come, confirmed, and gone.
    const fenced = new TroupeError({ code: 'fenced', message: 'another owner has sealed term 3' })
    const old = { state, term: 2, stillOwns: () => Promise.reject(fenced) }
    const config = { ...first.config, onGap: 'report' } as const
    await here.db.query('INSERT INTO q1 VALUES (1)')
    await here.db.query('SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())', [config.slot])
    expect((await failure(openReader(config, createRecording(), old))).code).toBe('fenced')
    await here.db.query('SELECT pg_drop_replication_slot($1)', [config.slot])
    expect((await failure(openReader(config, createRecording(), old))).code).toBe('fenced')
    const { rowCount } = await here.db.query('SELECT 1 FROM pg_replication_slots WHERE slot_name = $1', [config.slot])
    expect(rowCount).toBe(0)
  })

  it('refuses a slot that is gone, or makes it anew behind a window', async () => {
    const first = await here.start('CREATE TABLE i1 (id int PRIMARY KEY)', ['public.i1'])
    const state = await settled(first)
    await here.db.query('SELECT pg_drop_replication_slot($1)', [first.config.slot])
    const error = await failure(openReader(first.config, createRecording(), { state, term: 2 }))
    expect(error.code).toBe('slot-missing')
    expect(error.permanent).toBe(true)
    const second = await here.reopen({ ...first.config, onGap: 'report' }, { state, term: 3 })
    await here.db.query('INSERT INTO i1 VALUES (1)')
    await until(() => second.recording.events.length === 1, 'a row', second.recording)
    expect(second.recording.windows.map((window) => window.cause)).toEqual(['slot-missing'])
  })

  it('notices a slot that was dropped and made again', async () => {
    const first = await here.start('CREATE TABLE j1 (id int PRIMARY KEY)', ['public.j1'])
    const state = await settled(first)
    await here.db.query('SELECT pg_drop_replication_slot($1)', [first.config.slot])
    await here.db.query('INSERT INTO j1 VALUES (1)')
    await here.db.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [first.config.slot])
    expect((await failure(openReader(first.config, createRecording(), { state, term: 2 }))).code).toBe('slot-ahead')
  })

  it('notices a slot whose WAL was removed', async () => {
    const first = await here.start('CREATE TABLE k1 (id int PRIMARY KEY); CREATE TABLE k_fill (t text)', ['public.k1'])
    const state = await settled(first)
    await here.db.query("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    await here.db.query('SELECT pg_reload_conf()')
    const lost = async () => {
      await here.db.query('INSERT INTO k_fill VALUES (1); SELECT pg_switch_wal()')
      await here.db.query('CHECKPOINT')
      const { rows } = await here.db.query('SELECT wal_status FROM pg_replication_slots WHERE slot_name = $1', [
        first.config.slot,
      ])
      return rows[0].wal_status === 'lost'
    }
    await until(lost, 'the slot to be lost')
    await here.db.query('ALTER SYSTEM RESET max_slot_wal_keep_size')
    await here.db.query('SELECT pg_reload_conf()')
    const error = await failure(openReader(first.config, createRecording(), { state, term: 2 }))
    expect(error.code).toBe('slot-lost')
    const second = await here.reopen({ ...first.config, onGap: 'report' }, { state, term: 3 })
    await here.db.query('INSERT INTO k1 VALUES (1)')
    await until(() => second.recording.events.length === 1, 'a row', second.recording)
    expect(second.recording.windows[0]!.cause).toBe('slot-lost')
  })

  it('refuses another cluster, and a server that ran backwards unless a new epoch is allowed', async () => {
    const first = await here.start('CREATE TABLE l1 (id int PRIMARY KEY)', ['public.l1'])
    const state = await settled(first)
    const foreign = { ...state, system: '1' }
    expect((await failure(openReader(first.config, createRecording(), { state: foreign, term: 2 }))).code).toBe(
      'system-changed',
    )
    const ahead = { ...state, lsn: formatLsn((await currentLsn()) + 0x1000_0000n) }
    expect((await failure(openReader(first.config, createRecording(), { state: ahead, term: 2 }))).code).toBe(
      'history-rewound',
    )
    const second = await here.reopen({ ...first.config, onGap: 'report' }, { state: ahead, term: 3 })
    await here.db.query('INSERT INTO l1 VALUES (1)')
    await until(() => second.recording.events.length === 1, 'a row', second.recording)
    expect(second.recording.windows.map((window) => [window.cause, window.bounded])).toEqual([
      ['history-rewound', false],
    ])
    expect(second.recording.events[0]!.source.epoch).toBeGreaterThan(BigInt(state.epoch as string))
  })

  it('ends the walsender of its predecessor, and does not touch that of a successor', async () => {
    const first = await here.start('CREATE TABLE m1 (id int PRIMARY KEY)', ['public.m1'])
    await until(() => first.recording.states.length > 0, 'a state', first.recording)
    const state = first.recording.states[0]!
    const second = await here.reopen(first.config, { state, term: 2 })
    await until(() => first.recording.error !== null, 'the first to fail')
    await here.db.query('INSERT INTO m1 VALUES (1)')
    await until(() => second.recording.events.length === 1, 'the row', second.recording)
    const error = await failure(openReader(first.config, createRecording(), { state, term: 1 }))
    expect(error.code).toBe('slot-in-use')
    expect(error.permanent).toBe(false)
    await here.db.query('INSERT INTO m1 VALUES (2)')
    await until(() => second.recording.events.length === 2, 'the next row', second.recording)
  })

  it('gives up on a slot that a stranger holds, after its bound', async () => {
    const first = await here.start('CREATE TABLE n1 (id int PRIMARY KEY)', ['public.n1'])
    const state = await settled(first)
    const client = { connectionString: here.server.url, application_name: 'stranger' }
    const stranger = await connectReplication({ client, world: realWorld })
    const ignore = { data: () => {}, keepalive: () => {}, drained: () => {}, closed: () => {} }
    const held = await stranger.start(
      `START_REPLICATION SLOT "${first.config.slot}" LOGICAL 0/0 (proto_version '1', publication_names '${first.config.publication}')`,
      ignore,
    )
    const feedback = setInterval(() => held.status(0n, 0n), 200)
    const hasty = { ...realWorld, monotonic: () => realWorld.monotonic() * 50 }
    const error = await failure(openReader(first.config, createRecording(), { state, term: 2 }, hasty))
    clearInterval(feedback)
    await held.close()
    expect(error.code).toBe('slot-in-use')
    expect(error.message).toContain('stranger')
  })

  it('goes on over a promotion that kept what it had read, and stops at one that lost it', async () => {
    const first = await here.start('CREATE TABLE o1 (id int PRIMARY KEY)', ['public.o1'])
    await here.db.query('INSERT INTO o1 VALUES (1)')
    await until(() => first.recording.events.length === 1, 'the row', first.recording)
    const state = await settled(first)
    const data = join(here.server.directory, 'data')
    await here.server.kill('SIGINT')
    writeFileSync(join(data, 'standby.signal'), '')
    const { uid, gid } = statSync(data)
    if (process.getuid?.() === 0) chownSync(join(data, 'standby.signal'), uid, gid)
    await here.server.restart()
    await here.reconnect()
    await here.db.query('SELECT pg_promote()')
    await here.db.query('INSERT INTO o1 VALUES (2)')
    const lost = { ...state, lsn: formatLsn(await currentLsn()) }
    const error = await failure(openReader(first.config, createRecording(), { state: lost, term: 2 }))
    expect(error.code).toBe('history-diverged')
    const second = await here.reopen(first.config, { state, term: 3 })
    await until(() => second.recording.events.length === 1, 'the next row', second.recording)
    expect(second.recording.events[0]!.keyText).toBe('2')
    expect(second.recording.events[0]!.source.epoch.toString()).toBe(state.epoch)
    await until(() => second.recording.states.at(-1)?.timeline === 2, 'the new timeline', second.recording)
  })
})
