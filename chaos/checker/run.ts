/**
 * One judgement: settles what the ledgers left open, reads the sink once, compares the rows.
 */
import { Redis } from 'ioredis'
import { Client } from 'pg'
import { type LedgerContents, openIntents, readLedger } from '../ledger/format.js'
import { lastCommittedInPostgres, lastCommittedInRedis } from '../ledger/settle.js'
import { check, committedCounters, type Verdict } from './check.js'
import { compareRows, createState, type RowComparison, sourceRows } from './rows.js'
import { readSink, type SinkPlace, type SinkRow } from './sink.js'

export interface CheckRequest {
  readonly ledgers: readonly string[]
  readonly sink: SinkPlace
  /** The sources, to settle open intents; `tables` are compared row by row. */
  readonly postgres?: string
  readonly redis?: string
  readonly tables?: readonly string[]
  /** The streams were read through a consumer group: their entries may come late, and say so. */
  readonly group?: boolean
}

export interface CheckReport extends Verdict {
  /** Intents that a kill left open, settled by asking the source. */
  readonly settled: number
  readonly rows: RowComparison | null
  readonly ok: boolean
}

async function settled(ledger: LedgerContents, request: CheckRequest): Promise<LedgerContents> {
  const outcomes = new Map(ledger.outcomes)
  for (const intent of openIntents(ledger)) {
    const source = ledger.lanes.get(intent.lane)?.source
    if (source === undefined) throw new Error(`the ledger does not name the lane ${intent.lane}`)
    const last = await lastCommitted(source, intent.lane, request)
    outcomes.set(intent.intent, last >= intent.intent)
  }
  return { ...ledger, outcomes }
}

async function lastCommitted(source: 'postgres' | 'redis', lane: string, request: CheckRequest): Promise<number> {
  if (source === 'postgres') {
    if (request.postgres === undefined) throw new Error(`lane ${lane} is open and no PostgreSQL is given to ask`)
    const client = new Client({ connectionString: request.postgres })
    await client.connect()
    return lastCommittedInPostgres(client, lane).finally(() => client.end())
  }
  if (request.redis === undefined) throw new Error(`lane ${lane} is open and no Redis is given to ask`)
  const redis = new Redis(request.redis)
  redis.on('error', () => {})
  return lastCommittedInRedis(redis, lane).finally(() => redis.disconnect())
}

export async function runCheck(request: CheckRequest): Promise<CheckReport> {
  const read = request.ledgers.map((path) => readLedger(path))
  const open = read.reduce((sum, ledger) => sum + openIntents(ledger).length, 0)
  const ledgers: LedgerContents[] = []
  for (const ledger of read) ledgers.push(await settled(ledger, request))
  const appended = new Set<string>()
  for (const ledger of ledgers)
    for (const intent of ledger.intents)
      for (const [key, , kind] of intent.changes) if (kind === 'append') appended.add(key)

  const state = createState((row) => !appended.has(row.key))
  const ofGroup = (key: string) => request.group === true && appended.has(key)
  const verdict = await check(committedCounters(ledgers), tap(readSink(request.sink), state.apply), ofGroup)
  const rows =
    request.postgres === undefined || request.tables === undefined
      ? null
      : compareRows(await sourceRows(request.postgres, request.tables), state.rows)
  const ok = verdict.lost === 0 && verdict.reordered === 0 && verdict.phantom === 0 && (rows === null || rows.equal)
  return { ...verdict, settled: open, rows, ok }
}

async function* tap(rows: AsyncIterable<SinkRow>, look: (row: SinkRow) => void): AsyncIterable<SinkRow> {
  for await (const row of rows) {
    look(row)
    yield row
  }
}
