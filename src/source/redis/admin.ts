/**
 * Everything that is not hot, through ioredis: what Redis says of streams, groups and itself, claims, groups, kills.
 *
 * One connection of one reader. It never connects again by itself: its loss fails the reader, which is restarted whole.
 */
import net from 'node:net'
import { Redis } from 'ioredis'
import { killOlderClients } from '../../wire/resp-clients.js'
import type { RespEndpoint } from '../../wire/resp-endpoint.js'
import type { RespValue } from '../../wire/resp-reply.js'
import { type EntryId, idOfText, idText, zeroId } from './entry-id.js'
import type { ReplicationFacts, StreamFacts } from './history.js'

const CONNECT_MS = 10_000
const COMMAND_MS = 30_000

export interface RedisAdmin {
  call(...args: readonly string[]): Promise<unknown>
  callBytes(...args: readonly string[]): Promise<unknown>
  replication(): Promise<ReplicationFacts>
  stream(name: string): Promise<StreamFacts>
  /** Fields and values of the entry with exactly this id; null if it is not there. */
  entry(stream: string, id: EntryId): Promise<readonly Buffer[] | null>
  /** @returns false if the group was there already */
  createGroup(stream: string, group: string, from: string): Promise<boolean>
  killOlder(isOurs: (name: string) => boolean): Promise<number>
  close(): void
}

/** @throws the connection's error, or Redis's own */
export async function connectAdmin(
  endpoint: RespEndpoint,
  name: string,
  onLost: (error: Error) => void,
): Promise<RedisAdmin> {
  let lastError: Error | null = null
  let running = false
  const redis = new Redis({
    ...(endpoint.path === null ? { host: endpoint.host, port: endpoint.port } : { path: endpoint.path }),
    ...(endpoint.tls ? { tls: net.isIP(endpoint.host) === 0 ? { servername: endpoint.host } : {} } : {}),
    ...(endpoint.username === null ? {} : { username: endpoint.username }),
    ...(endpoint.password === null ? {} : { password: endpoint.password }),
    lazyConnect: true,
    enableReadyCheck: false,
    disableClientInfo: true,
    connectTimeout: CONNECT_MS,
    commandTimeout: COMMAND_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  })
  redis.on('error', (error: Error) => {
    lastError = error
  })
  redis.on('close', () => {
    if (running) onLost(lastError ?? new Error('Redis closed the connection'))
  })
  const call = (...args: readonly string[]) => redis.call(args[0]!, ...args.slice(1)) as Promise<unknown>
  const callBytes = (...args: readonly string[]) => redis.callBuffer(args[0]!, ...args.slice(1)) as Promise<unknown>
  try {
    await redis.connect()
    if (endpoint.database !== 0) await call('SELECT', String(endpoint.database))
    await call('CLIENT', 'SETNAME', name)
    // ioredis tells a refused password on its event alone.
    if (lastError !== null) throw lastError
    running = true
  } catch (error) {
    redis.disconnect()
    throw lastError ?? error
  }

  return {
    call,
    callBytes,
    async replication() {
      const text = String(await call('INFO', 'replication'))
      const field = (key: string) => new RegExp(`^${key}:(\\S+)`, 'm').exec(text)?.[1] ?? ''
      const second = field('master_replid2')
      return { id: field('master_replid'), secondId: /^0*$/.test(second) ? null : second }
    },
    async stream(stream) {
      let reply: unknown
      try {
        reply = await call('XINFO', 'STREAM', stream)
      } catch (error) {
        if (/no such key/i.test(String(error)))
          return { exists: false, length: 0, lastGenerated: zeroId(), entriesAdded: 0, maxDeleted: null, first: null }
        throw error
      }
      const fields = pairs(reply)
      const first = fields.get('first-entry') as readonly unknown[] | null
      const added = fields.get('entries-added')
      const deleted = fields.get('max-deleted-entry-id')
      return {
        exists: true,
        length: Number(fields.get('length')),
        lastGenerated: idOfText(String(fields.get('last-generated-id'))),
        entriesAdded: added === undefined ? null : Number(added),
        maxDeleted: deleted === undefined ? null : idOfText(String(deleted)),
        first: first === null ? null : idOfText(String(first[0])),
      }
    },
    async entry(stream, id) {
      const text = idText(id)
      const rows = (await callBytes('XRANGE', stream, text, text)) as readonly [Buffer, Buffer[]][]
      return rows[0]?.[1] ?? null
    },
    async createGroup(stream, group, from) {
      try {
        await call('XGROUP', 'CREATE', stream, group, from, 'MKSTREAM')
        return true
      } catch (error) {
        if (/^BUSYGROUP/.test((error as Error).message)) return false
        throw error
      }
    },
    killOlder: (isOurs) => killOlderClients((...args) => call(...args) as Promise<RespValue>, isOurs),
    close() {
      running = false
      redis.disconnect()
    },
  }
}

/** A reply that lists names and values in turn. */
export function pairs(reply: unknown): ReadonlyMap<string, unknown> {
  const list = reply as readonly unknown[]
  const fields = new Map<string, unknown>()
  for (let index = 0; index + 1 < list.length; index += 2) fields.set(String(list[index]), list[index + 1])
  return fields
}
