/**
 * A lane: one connection that writes serially and knows the fate of every write before the next.
 *
 * When the connection or the server is lost within a write, the lane connects again (for at most `outageMs`) and asks
 * what became of it; only then does it go on. So its model of the source is exact, and the ledger never guesses.
 */
import { Redis } from 'ioredis'
import { Client } from 'pg'
import type { Ledger } from '../ledger/ledger.js'
import { connectionName, lastCommittedInPostgres, lastCommittedInRedis } from '../ledger/settle.js'
import type { Seeded } from '../seed.js'
import { createPace } from './pace.js'
import { createShop } from './shop.js'

const outageMs = 60_000
const retryMs = 50
const largestClickBatch = 200

export interface LaneCounts {
  changes: number
  clicks: number
  transactions: number
  reconnects: number
  behindMs: number
}

export interface LaneContext {
  readonly lane: string
  readonly writer: string
  readonly url: string
  readonly ledger: Ledger
  readonly rate: number
  readonly keys: number
  readonly limit: number
  readonly seed: Seeded
  readonly signal: AbortSignal
  readonly counts: LaneCounts
}

/** A connection that applies one write at a time and can tell which was the last that took effect. */
interface Applier<Write> {
  apply(intent: number, write: Write): Promise<void>
  lastCommitted(): Promise<number>
  close(): void
}

interface NextWrite<Write> {
  readonly changes: Parameters<Ledger['intend']>[1]
  readonly write: Write
  readonly commit: () => void
}

async function runLane<Write>(
  context: LaneContext,
  connect: () => Promise<Applier<Write>>,
  next: (due: number) => NextWrite<Write>,
  count: (changes: number) => void,
): Promise<void> {
  const { lane, ledger, signal, counts } = context
  const pace = createPace(context.rate)
  let applier = await connect()
  let written = 0
  const again = async (): Promise<number> => {
    applier.close()
    counts.reconnects++
    const until = Date.now() + outageMs
    for (;;) {
      try {
        applier = await connect()
        return await applier.lastCommitted()
      } catch (error) {
        applier.close()
        if (Date.now() > until) throw new Error(`lane ${lane}: the source stays away`, { cause: error })
        await new Promise((resolve) => setTimeout(resolve, retryMs))
      }
    }
  }
  try {
    while (!signal.aborted && (context.limit === 0 || written < context.limit)) {
      await pace.wait(signal)
      if (signal.aborted) break
      const { changes, write, commit } = next(pace.due())
      const intent = ledger.intend(lane, changes)
      let committed = true
      try {
        await applier.apply(intent, write)
      } catch (error) {
        if (isRefusal(error)) throw error
        committed = (await again()) >= intent
      }
      ledger.settle(intent, committed)
      pace.take(changes.length)
      counts.behindMs = pace.behindMs()
      if (!committed) continue
      commit()
      written += changes.length
      counts.transactions++
      count(changes.length)
    }
  } finally {
    applier.close()
  }
}

/** The source said no to the statement itself: a mistake of the writer, not an outage. */
function isRefusal(error: unknown): boolean {
  const code = String((error as { code?: unknown }).code ?? '')
  return /^(22|23|42)/.test(code)
}

export function runPostgresLane(context: LaneContext): Promise<void> {
  const { lane } = context
  const shop = createShop(lane, context.writer, context.keys, context.seed)
  const connect = async (): Promise<Applier<readonly string[]>> => {
    const client = new Client({ connectionString: context.url, application_name: connectionName(lane) })
    client.on('error', () => {})
    await client.connect()
    return {
      async apply(intent, statements) {
        const mark = `INSERT INTO ledger_lanes VALUES ('${lane}', ${intent}) ON CONFLICT (lane) DO UPDATE SET intent = excluded.intent`
        // One message: the server makes it one transaction.
        await client.query(['BEGIN', ...statements, mark, 'COMMIT'].join(';'))
      },
      lastCommitted: () => lastCommittedInPostgres(client, lane),
      close: () => void client.end().catch(() => {}),
    }
  }
  const next = () => {
    const { changes, statements, commit } = shop.next()
    return { changes, write: statements, commit }
  }
  return runLane(context, connect, next, (changes) => {
    context.counts.changes += changes
  })
}

interface Click {
  readonly key: string
  readonly counter: number
  readonly page: string
}

export function runClickLane(context: LaneContext & { readonly stream: string }): Promise<void> {
  const { lane, writer, seed } = context
  const counters = new Map<string, number>()
  const connect = async (): Promise<Applier<readonly Click[]>> => {
    const redis = new Redis(context.url, {
      lazyConnect: true,
      connectionName: connectionName(lane),
      retryStrategy: () => null,
      maxRetriesPerRequest: 0,
    })
    redis.on('error', () => {})
    await redis.connect()
    return {
      async apply(intent, clicks) {
        const batch = redis.multi()
        for (const { key, counter, page } of clicks)
          batch.xadd(context.stream, '*', 'key', key, 'counter', counter, 'writer', writer, 'page', page)
        batch.set(`ledger:${lane}`, intent)
        const results = await batch.exec()
        const failed = results?.find(([error]) => error !== null)
        if (results === null || failed !== undefined) throw failed?.[0] ?? new Error('the batch was given up')
      },
      lastCommitted: () => lastCommittedInRedis(redis, lane),
      close: () => redis.disconnect(),
    }
  }
  const next = (due: number) => {
    const drafted = new Map<string, number>()
    const clicks: Click[] = []
    for (let left = Math.min(Math.max(1, due), largestClickBatch); left > 0; left--) {
      const key = `${lane}/v${seed.below(context.keys)}`
      const counter = (drafted.get(key) ?? counters.get(key) ?? 0) + 1
      drafted.set(key, counter)
      clicks.push({ key, counter, page: `/p/${seed.below(500)}` })
    }
    return {
      changes: clicks.map(({ key, counter }) => [key, counter, 'append'] as const),
      write: clicks,
      commit: () => {
        for (const [key, counter] of drafted) counters.set(key, counter)
      },
    }
  }
  return runLane(context, connect, next, (clicks) => {
    context.counts.changes += clicks
    context.counts.clicks += clicks
  })
}
