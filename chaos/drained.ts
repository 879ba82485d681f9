/**
 * Waits until Troupe has told the sources that it is done with everything, by asking the sources alone: the slot's
 * confirmed position has passed the WAL's end, and the group that follows the stream stands at its last entry.
 */
import { Redis } from 'ioredis'
import { Client } from 'pg'

const pollMs = 50

export interface DrainTargets {
  readonly postgres: string
  readonly slot: string
  readonly redis?: string
  readonly stream?: string
  readonly group?: string
}

/** Call when nothing writes any more. False where the deadline came first. */
export async function untilDrained(targets: DrainTargets, deadlineMs: number): Promise<boolean> {
  const until = Date.now() + deadlineMs
  const client = new Client({ connectionString: targets.postgres })
  client.on('error', () => {})
  const redis = targets.redis === undefined ? null : new Redis(targets.redis)
  redis?.on('error', () => {})
  try {
    await client.connect()
    const end = (await client.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn')).rows[0]!.lsn
    while (!((await walConfirmed(client, targets.slot, end)) && (await streamConfirmed(redis, targets)))) {
      if (Date.now() > until) return false
      await new Promise((resolve) => setTimeout(resolve, pollMs))
    }
    return true
  } finally {
    redis?.disconnect()
    await client.end()
  }
}

async function walConfirmed(client: Client, slot: string, end: string): Promise<boolean> {
  const found = await client.query<{ done: boolean }>(
    'SELECT confirmed_flush_lsn >= $2::pg_lsn AS done FROM pg_replication_slots WHERE slot_name = $1',
    [slot, end],
  )
  return found.rows[0]?.done === true
}

async function streamConfirmed(redis: Redis | null, { stream, group }: DrainTargets): Promise<boolean> {
  if (redis === null || stream === undefined) return true
  const last = (await redis.xrevrange(stream, '+', '-', 'COUNT', 1))[0]?.[0]
  if (last === undefined) return true
  const groups = (await redis.xinfo('GROUPS', stream).catch(() => [])) as unknown[][]
  for (const fields of groups) {
    const info = new Map<unknown, unknown>()
    for (let at = 0; at < fields.length; at += 2) info.set(fields[at], fields[at + 1])
    if (info.get('name') === group) return info.get('last-delivered-id') === last && Number(info.get('pending')) === 0
  }
  return false
}
