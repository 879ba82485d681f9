/**
 * The stage of `takeover`: three NATS servers, PostgreSQL, Redis, three nodes as `troupe run` starts them, a writer at a fixed
 * rate, and the audit of the sink. Each step begins when all is calm: every node lives, every reader and partition is at
 * its home, and what is committed is at most a second behind.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { type Resource, readerResource } from '../../src/membership/port.js'
import type { ClusterAccess } from '../../src/operator/cluster/connect.js'
import { resourcesOf } from '../../src/operator/cluster/explain.js'
import { lookAtBucket } from '../../src/operator/cluster/snapshot.js'
import { startNatsCluster, startPostgres, startRedis } from '../../src/servers/index.js'
import { now } from '../harness/tally.js'
import { createSinkAudit, type SinkAudit } from '../workload/sink-audit.js'
import { prepareTable, walKeys } from '../workload/wal.js'
import { type CliNode, startCliNode } from './cli-node.js'
import { threads } from './config.js'
import { type TakeoverPlace, takeover } from './takeover-pipeline.js'

export const nodeCount = 3
export const reader = readerResource('wal')

/** A look asks the servers some forty things: more often, looking would be much of their load. */
const pollMs = 500
const waitMs = 90_000
/** What counts as calm: so far behind at most, for so many looks. */
const behindMs = 1_000
const calmLooks = 3
const calmEveryMs = 250
/** How long a rate is given to be carried before half of it is offered. */
const rateMs = 20_000

export type Homes = ReadonlyMap<Resource, string>

export interface TakeoverStage {
  readonly nats: string
  readonly nodes: CliNode[]
  readonly audit: SinkAudit
  startNode(index: number): void
  /** Offers the rate; where it is not carried, half of it, and so on. Gives what is carried. */
  load(rate: number, progress: (line: string) => void): Promise<number>
  /** Waits until every resource has a holder and no node holds more than its share: these are the homes. */
  settle(access: ClusterAccess): Promise<Homes>
  calm(access: ClusterAccess, homes: Homes): Promise<void>
  until(what: string, condition: () => Promise<boolean>): Promise<void>
  /** Ends the writer, lets everything arrive; gives what is missing in the sink, in the midst of a key too. */
  finish(): Promise<number>
  clear(): Promise<void>
}

export async function setTakeoverStage(): Promise<TakeoverStage> {
  const folder = mkdtempSync(join(tmpdir(), 'troupe-bench-'))
  const [postgres, redis, nats] = await Promise.all([
    startPostgres({ settings: { max_wal_size: '4GB', shared_buffers: '256MB' } }),
    startRedis(),
    startNatsCluster({ syncInterval: 'always' }),
  ])
  await prepareTable(postgres.url)
  const place: TakeoverPlace = { postgres: postgres.url, redis: redis.url, data: join(folder, 'data'), ...threads }
  const streams = Array.from({ length: takeover.partitions }, (_, partition) => takeover.stream(partition))
  const audit = createSinkAudit(redis.url, streams, walKeys)
  const nodes: CliNode[] = []
  let writer: ChildProcess | null = null

  const until = async (what: string, condition: () => Promise<boolean>, withinMs = waitMs) => {
    const end = now() + withinMs
    while (!(await condition())) {
      for (const node of nodes) await refuseDead(node)
      if (now() > end) throw new Error(`${what}: not within ${withinMs / 1000} s`)
      await new Promise((resolve) => setTimeout(resolve, pollMs))
    }
  }
  /** Ended by ourselves, or not at all. */
  const refuseDead = async (node: CliNode) => {
    const end = await Promise.race([node.ended, Promise.resolve(null)])
    if (end !== null && end !== 'SIGKILL' && end !== 0)
      throw new Error(`node ${node.name} ended with ${end}: ${node.said()}`)
  }
  const behind = async () => {
    const newest = await audit.newest()
    return now() - Math.min(...newest.map((one) => one?.due ?? 0))
  }
  /** @param strays what is not where it should be */
  const calmly = async (strays: () => Promise<readonly string[]>, what: string, withinMs = waitMs) => {
    let looks = 0
    let seen = ''
    const isCalm = async () => {
      const [astray, late] = [await strays(), await behind()]
      seen = `${Math.round(late)} ms behind, astray: ${astray.join(', ') || 'nothing'}`
      looks = astray.length === 0 && late < behindMs ? looks + 1 : 0
      if (looks > 0 && looks < calmLooks) await new Promise((resolve) => setTimeout(resolve, calmEveryMs))
      return looks >= calmLooks
    }
    await until(what, isCalm, withinMs).catch((error: Error) => {
      throw new Error(`${error.message} (${seen})`)
    })
  }
  const stopWriter = async () => {
    if (writer === null) return
    writer.kill('SIGTERM')
    if (writer.exitCode === null) await once(writer, 'exit')
    writer = null
  }

  return {
    nats: nats.url,
    nodes,
    audit,
    startNode(index) {
      nodes[index] = startCliNode(`n${index + 1}`, nats.url, place)
    },
    async load(rate, progress) {
      await until('the slot is made', async () => (await slotStands(postgres.url)) === true)
      for (let offered = rate; ; offered = Math.round(offered / 2)) {
        const input = JSON.stringify({ url: postgres.url, rate: offered, total: 2e9 })
        const script = new URL('../workload/latency-writer.js', import.meta.url).pathname
        writer = spawn(process.execPath, [script, input], { stdio: 'inherit' })
        try {
          await calmly(async () => [], `${offered} events a second are carried`, rateMs)
          return offered
        } catch (error) {
          if (offered < 200) throw error
          progress(`${offered} events a second are more than this machine carries with all that is on it`)
          await stopWriter()
        }
      }
    },
    async settle(access) {
      const most = Math.ceil(takeover.partitions / nodeCount)
      let homes: Homes = new Map()
      await until('partitions and reader are placed', async () => {
        homes = await holders(access)
        const shares = nodes.map(
          ({ name }) => [...homes].filter(([what, who]) => what !== reader && who === name).length,
        )
        return homes.size === takeover.partitions + 1 && Math.max(...shares) <= most && Math.min(...shares) > 0
      })
      return homes
    },
    calm: (access, homes) =>
      calmly(async () => {
        const held = await holders(access)
        return [...homes].flatMap(([resource, node]) => (held.get(resource) === node ? [] : [resource]))
      }, 'every node has its own again, and all is carried'),
    until,
    async finish() {
      await stopWriter()
      const client = new Client({ connectionString: postgres.url })
      await client.connect()
      try {
        const { rows } = await client.query<{ key: number; counter: number }>('SELECT key, counter FROM bench_rows')
        const behind = () => rows.reduce((sum, { key, counter }) => sum + counter - audit.lastCounter(key), 0)
        const end = now() + waitMs
        for (;;) {
          await audit.catchUp()
          if (behind() === 0 || now() > end) return behind() + audit.leapt
          await new Promise((resolve) => setTimeout(resolve, 200))
        }
      } finally {
        await client.end()
      }
    },
    async clear() {
      writer?.kill('SIGKILL')
      audit.close()
      for (const node of nodes) node.signal('SIGKILL')
      await Promise.all(nodes.map(({ ended }) => ended))
      await Promise.all([postgres.stop(), redis.stop(), nats.stop()])
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Who holds what, by living leases. */
export async function holders(access: ClusterAccess): Promise<Map<Resource, string>> {
  const { observer, now } = await lookAtBucket(access)
  const held = new Map<Resource, string>()
  for (const resource of resourcesOf(access.definition)) {
    const lease = observer.lease(resource, now)
    if (lease.state === 'held') held.set(resource, lease.record.node)
  }
  return held
}

async function slotStands(url: string): Promise<boolean> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    const found = await client.query(
      `SELECT 1 FROM pg_replication_slots WHERE slot_name = '${takeover.slot}' AND confirmed_flush_lsn IS NOT NULL`,
    )
    return found.rowCount === 1
  } finally {
    await client.end()
  }
}
