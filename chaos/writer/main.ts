/**
 * The writer, a process of its own: writes the shop to PostgreSQL and clicks to a Redis stream at a chosen rate, and
 * everything it does to its ledger. Stops when told to, when its parent is gone, or at its limit.
 *
 * Knows nothing of Troupe. Run by start.ts: `node dist/chaos/writer/main.js REQUEST`.
 */
import { openLedger } from '../ledger/ledger.js'
import { seeded } from '../seed.js'
import { type LaneCounts, runClickLane, runPostgresLane } from './lane.js'
import type { FromWriter, ToWriter, WriterRequest } from './protocol.js'

const progressMs = 250

const request = JSON.parse(process.argv[2] ?? '{}') as WriterRequest
const say = (message: FromWriter) =>
  new Promise<void>((resolve) => {
    if (!process.connected) return resolve()
    process.send?.(message, () => resolve())
  })
const stop = new AbortController()
process.on('message', (message: ToWriter) => {
  if (message.type === 'stop') stop.abort()
})
process.on('disconnect', () => stop.abort())
process.on('SIGTERM', () => stop.abort())
process.on('SIGINT', () => {})

const ledger = openLedger(request.ledger)
const seed = seeded(request.seed)
const all: LaneCounts[] = []
const total = (field: keyof LaneCounts) => all.reduce((sum, counts) => sum + counts[field], 0)
const clickShare = request.clicks === undefined ? 0 : request.postgresLanes === 0 ? 1 : request.clickShare

function laneContext(lane: string, url: string, share: number) {
  const counts: LaneCounts = { changes: 0, clicks: 0, transactions: 0, reconnects: 0, behindMs: 0 }
  all.push(counts)
  return {
    lane,
    url,
    ledger,
    counts,
    writer: request.writer,
    rate: request.rate * share,
    keys: request.keys,
    limit: Math.ceil(request.limit * share),
    seed: seed.fork(lane),
    signal: stop.signal,
  }
}

const running: Promise<void>[] = []
for (let number = 0; number < request.postgresLanes; number++) {
  const lane = `${request.writer}/pg${number}`
  ledger.lane({ writer: request.writer, lane, source: 'postgres' })
  running.push(runPostgresLane(laneContext(lane, request.postgres!, (1 - clickShare) / request.postgresLanes)))
}
if (request.clicks !== undefined && clickShare > 0) {
  const lane = `${request.writer}/clicks`
  ledger.lane({ writer: request.writer, lane, source: 'redis' })
  running.push(runClickLane({ ...laneContext(lane, request.redis!, clickShare), stream: request.clicks }))
}

const progress = setInterval(() => {
  void say({
    type: 'progress',
    changes: total('changes'),
    clicks: total('clicks'),
    transactions: total('transactions'),
    behindMs: Math.max(0, ...all.map((counts) => counts.behindMs)),
    reconnects: total('reconnects'),
  })
}, progressMs)

try {
  await Promise.all(running)
  await say({ type: 'done', changes: total('changes'), clicks: total('clicks'), transactions: total('transactions') })
} catch (error) {
  stop.abort()
  const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : ''
  await say({ type: 'failed', message: `${error instanceof Error ? error.message : String(error)}${cause}` })
  process.exitCode = 1
} finally {
  clearInterval(progress)
  ledger.close()
  if (process.connected) process.disconnect()
}
