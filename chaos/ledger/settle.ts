/**
 * Asks the source what became of a write whose outcome is not known.
 *
 * Each lane writes serially and stores the number of its last intent in the same transaction as the changes (a row of
 * `ledger_lanes`, a Redis key `ledger:LANE` in the same MULTI). So an intent has been committed if and only if the
 * stored number has reached it, once no connection of the lane is left that could still commit: those are ended first.
 */
import type { Redis } from 'ioredis'
import type { Client } from 'pg'

const waitMs = 20
const settleDeadlineMs = 15_000

export const laneTable =
  'CREATE TABLE IF NOT EXISTS ledger_lanes (lane text PRIMARY KEY, intent bigint NOT NULL) WITH (fillfactor = 50)'

/** The name that a lane's connections bear at the server. */
export function connectionName(lane: string): string {
  return `ledger-${lane.replace(/[^A-Za-z0-9_-]/g, '-')}`
}

/** Number of the lane's last committed intent; 0 if none. */
export async function lastCommittedInPostgres(client: Client, lane: string): Promise<number> {
  const until = Date.now() + settleDeadlineMs
  const others = `FROM pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid()`
  for (;;) {
    const left = await client.query(`SELECT pg_terminate_backend(pid) ${others}`, [connectionName(lane)])
    if (left.rowCount === 0) break
    if (Date.now() > until) throw new Error(`lane ${lane}: an older connection does not end`)
    await new Promise((resolve) => setTimeout(resolve, waitMs))
  }
  const found = await client.query<{ intent: string }>('SELECT intent FROM ledger_lanes WHERE lane = $1', [lane])
  return Number(found.rows[0]?.intent ?? 0)
}

/** Number of the lane's last committed intent; 0 if none. */
export async function lastCommittedInRedis(client: Redis, lane: string): Promise<number> {
  const self = String(await client.client('ID'))
  const list = String(await client.client('LIST'))
  for (const line of list.split('\n')) {
    const fields = new Map(line.split(' ').map((pair) => pair.split('=', 2) as [string, string]))
    const id = fields.get('id')
    if (fields.get('name') === connectionName(lane) && id !== undefined && id !== self)
      await client.client('KILL', 'ID', id)
  }
  return Number((await client.get(`ledger:${lane}`)) ?? 0)
}
