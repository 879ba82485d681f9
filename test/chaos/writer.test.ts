import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCheck } from '../../chaos/checker/run.js'
import { openIntents, readLedger } from '../../chaos/ledger/format.js'
import { lastCommittedInPostgres } from '../../chaos/ledger/settle.js'
import { createPace } from '../../chaos/writer/pace.js'
import { prepareShop, type RunningWriter, startWriter } from '../../chaos/writer/start.js'
import { type PostgresServer, type RedisServer, startPostgres, startRedis } from '../../src/servers/index.js'

let folder: string
let postgres: PostgresServer
let redis: RedisServer

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'troupe-writer-'))
  ;[postgres, redis] = await Promise.all([startPostgres(), startRedis({ settings: { appendfsync: 'always' } })])
  await prepareShop(postgres.url)
}, 60_000)
afterAll(async () => {
  await Promise.all([postgres?.stop(), redis?.stop()])
  rmSync(folder, { recursive: true, force: true })
})

function begin(writer: string, rate: number): { writer: RunningWriter; ledger: string } {
  const ledger = join(folder, `${writer}.jsonl`)
  const request = { writer, ledger, rate, seed: 7, postgresLanes: 2, clickShare: 0.4, keys: 20, limit: 0 }
  return {
    ledger,
    writer: startWriter({ ...request, postgres: postgres.url, redis: redis.url, clicks: `clicks-${writer}` }),
  }
}

async function until(condition: () => boolean, deadlineMs = 15_000): Promise<void> {
  const end = Date.now() + deadlineMs
  while (!condition()) {
    if (Date.now() > end) throw new Error('the condition did not come true')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** What the ledger says that each row's counter is now; rows that it says are gone are left out. */
function expectedRows(path: string, lane: (name: string) => boolean, settledAs: ReadonlyMap<number, boolean>) {
  const ledger = readLedger(path)
  const rows = new Map<string, number>()
  for (const intent of ledger.intents) {
    if (!lane(intent.lane)) continue
    if (!(ledger.outcomes.get(intent.intent) ?? settledAs.get(intent.intent))) continue
    for (const [key, counter, kind] of intent.changes) {
      if (kind === 'delete') rows.delete(key)
      else rows.set(key, counter)
    }
  }
  return rows
}

async function actualRows(writer: string): Promise<Map<string, number>> {
  const client = new Client({ connectionString: postgres.url })
  await client.connect()
  const tables = 'SELECT key, counter, writer FROM customers UNION ALL SELECT key, counter, writer FROM orders'
  const found = await client.query<{ key: string; counter: string }>(`SELECT * FROM (${tables}) r WHERE writer = $1`, [
    writer,
  ])
  await client.end()
  return new Map(found.rows.map((row) => [row.key, Number(row.counter)]))
}

const inPostgres = (lane: string) => lane.includes('/pg')

describe('the writer', () => {
  it('writes what its ledger says, though both sources are killed under it', async () => {
    const { writer, ledger } = begin('storm', 2_000)
    for (const server of [postgres, redis, postgres, redis]) {
      const before = writer.progress().changes
      await until(() => writer.progress().changes > before + 300)
      await server.kill()
      await server.restart()
    }
    const before = writer.progress()
    await until(() => writer.progress().changes > before.changes + 300)
    const total = await writer.stop()
    expect(before.reconnects).toBeGreaterThanOrEqual(4)
    expect(openIntents(readLedger(ledger))).toEqual([])
    expect(await actualRows('storm')).toEqual(expectedRows(ledger, inPostgres, new Map()))
    // The stream of clicks is append-only itself: the checker must find in it each click of the ledger, once.
    const clicks = await runCheck({
      ledgers: [ledger],
      sink: { kind: 'redis', url: redis.url, stream: 'clicks-storm' },
    })
    expect(clicks).toMatchObject({
      records: total.clicks,
      lost: total.changes - total.clicks,
      duplicated: 0,
      reordered: 0,
      phantom: 0,
    })
  }, 60_000)

  it('leaves at most one open intent in a lane when it is killed, and the source knows what became of it', async () => {
    const { writer, ledger } = begin('victim', 3_000)
    await until(() => writer.progress().changes > 500)
    writer.kill()
    await expect(writer.done).rejects.toThrow(/SIGKILL/)
    const open = openIntents(readLedger(ledger))
    expect(new Set(open.map((intent) => intent.lane)).size).toBe(open.length)
    const client = new Client({ connectionString: postgres.url })
    await client.connect()
    const settled = new Map<number, boolean>()
    for (const { lane, intent } of open.filter((line) => inPostgres(line.lane)))
      settled.set(intent, (await lastCommittedInPostgres(client, lane)) >= intent)
    await client.end()
    expect(await actualRows('victim')).toEqual(expectedRows(ledger, inPostgres, settled))
  })
})

describe('the schedule of the writer', () => {
  it('does not forget what a stall delayed', async () => {
    const pace = createPace(1_000)
    pace.take(10)
    await pace.wait(new AbortController().signal)
    expect(pace.due()).toBeGreaterThanOrEqual(1)
    const until = performance.now() + 50
    while (performance.now() < until);
    expect(pace.due()).toBeGreaterThanOrEqual(50)
    expect(pace.behindMs()).toBeGreaterThanOrEqual(50)
  })
})
