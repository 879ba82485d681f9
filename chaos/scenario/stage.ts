/**
 * The stage of a scenario: servers, the writer under load, the data directory, and the end, where the checker judges.
 * Everything on it is gone after `clear`.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { Client } from 'pg'
import { type PostgresServer, type RedisServer, startPostgres, startRedis } from '../../src/servers/index.js'
import type { CheckReport } from '../checker/run.js'
import { judge } from '../checker/start.js'
import { untilDrained } from '../drained.js'
import { type ChaosPipeline, names } from '../runtime/pipeline.js'
import { type Seeded, seeded } from '../seed.js'
import type { WriterRequest } from '../writer/protocol.js'
import { shopTables } from '../writer/shop.js'
import { prepareShop, type RunningWriter, startWriter } from '../writer/start.js'

const pollMs = 20
const progressMs = 60_000
const drainMs = 60_000

export interface Stage {
  readonly seed: Seeded
  readonly postgres: PostgresServer
  readonly redis: RedisServer
  readonly folder: string
  /** Starts the writer, once the slot of the first runtime exists: what is written before is not Troupe's to carry. Waits until it is carried. */
  load(): Promise<void>
  pipeline(overrides?: Partial<ChaosPipeline>): ChaosPipeline
  /** A random wait, ms, decided by the seed. */
  pause(least: number, most: number): Promise<void>
  /** Waits until the condition holds. @throws Error after a minute, naming what did not come */
  until(what: string, condition: () => Promise<boolean>): Promise<void>
  /** Entries in the sink; 0 while Redis does not answer. */
  sinkLength(): Promise<number>
  /** Waits until events that were written after this call were confirmed to PostgreSQL and others arrived in the sink. Gives ms. */
  recovered(): Promise<number>
  /** Waits until events came into the sink that were not there before: with a fenced sink, new ones. Gives ms. */
  grown(): Promise<number>
  /** Stops the writer, lets Troupe drain. */
  settle(): Promise<void>
  /** `group`: the clicks were read through their consumer group. */
  judge(mode?: ChaosPipeline['mode']): Promise<CheckReport>
  clear(): Promise<void>
}

export interface StageOptions {
  readonly seed: number
  readonly rate: number
}

export async function setStage(options: StageOptions): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), 'troupe-chaos-'))
  const [postgres, redis] = await Promise.all([startPostgres(), startRedis({ settings: { appendfsync: 'always' } })])
  await prepareShop(postgres.url)
  const ledger = join(folder, 'ledger.jsonl')
  const seed = seeded(options.seed)
  let writer: RunningWriter | null = null
  const request: WriterRequest = {
    writer: 'chaos',
    ledger,
    seed: options.seed,
    rate: options.rate,
    postgres: postgres.url,
    postgresLanes: 2,
    redis: redis.url,
    clicks: names.clicks,
    clickShare: 0.4,
    keys: 60,
    limit: 0,
  }
  const client = new Redis(redis.url, { retryStrategy: () => 50, maxRetriesPerRequest: 1 })
  client.on('error', () => {})

  const until = async (what: string, condition: () => Promise<boolean>) => {
    const end = Date.now() + progressMs
    while (!(await condition().catch(() => false))) {
      if (Date.now() > end) throw new Error(`${what}: not within ${progressMs / 1000} s`)
      await new Promise((resolve) => setTimeout(resolve, pollMs))
    }
  }
  const sinkLength = () => client.xlen(names.sink).catch(() => 0)

  const stage: Stage = {
    seed,
    postgres,
    redis,
    folder,
    pipeline: (overrides = {}) => ({
      postgres: postgres.url,
      redis: redis.url,
      data: join(folder, 'data'),
      mode: 'read',
      onGap: 'stop',
      ...overrides,
    }),
    async load() {
      const exists = `SELECT count(*) FROM pg_replication_slots WHERE slot_name = '${names.slot}' AND confirmed_flush_lsn IS NOT NULL`
      await until('the slot is made', async () => (await oneValue(postgres.url, exists)) === '1')
      writer = startWriter(request)
      await stage.recovered()
    },
    pause: (least, most) =>
      new Promise((resolve) => setTimeout(resolve, least + seed.below(Math.max(1, most - least)))),
    until,
    sinkLength,
    async recovered() {
      const begun = performance.now()
      let end = ''
      await until('PostgreSQL answers', async () => {
        end = await oneValue(postgres.url, 'SELECT pg_current_wal_insert_lsn()::text')
        return true
      })
      let length = -1
      await until('Redis answers', async () => {
        length = await client.xlen(names.sink)
        return true
      })
      const confirmed = `SELECT confirmed_flush_lsn >= '${end}'::pg_lsn FROM pg_replication_slots WHERE slot_name = '${names.slot}'`
      await until('the pipeline recovers', async () => String(await oneValue(postgres.url, confirmed)) === 'true')
      await until('the sink grows', async () => (await client.xlen(names.sink)) > length)
      return Math.round(performance.now() - begun)
    },
    async grown() {
      const begun = performance.now()
      let length = -1
      await until('Redis answers', async () => {
        length = await client.xlen(names.sink)
        return true
      })
      await until('the sink grows', async () => (await client.xlen(names.sink)) > length + options.rate / 4)
      return Math.round(performance.now() - begun)
    },
    async settle() {
      await writer?.stop()
      const { slot, clicks, group } = names
      const targets = { postgres: postgres.url, slot, redis: redis.url, stream: clicks, group }
      if (!(await untilDrained(targets, drainMs))) throw new Error('the pipeline did not drain')
    },
    judge: (mode = 'read') =>
      judge({
        ledgers: [ledger],
        sink: { kind: 'redis', url: redis.url, stream: names.sink },
        postgres: postgres.url,
        redis: redis.url,
        tables: shopTables,
        group: mode === 'group',
      }),
    async clear() {
      writer?.kill()
      client.disconnect()
      await Promise.all([postgres.stop(), redis.stop()])
      rmSync(folder, { recursive: true, force: true })
    },
  }
  return stage
}

async function oneValue(url: string, sql: string): Promise<string> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 })
  client.on('error', () => {})
  try {
    await client.connect()
    return Object.values((await client.query<Record<string, string>>(sql)).rows[0] ?? {})[0] ?? ''
  } finally {
    await client.end().catch(() => {})
  }
}
