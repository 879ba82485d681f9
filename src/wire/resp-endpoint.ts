/**
 * Where a Redis is and how to enter it: one parse of a URL for ioredis and for our own sockets alike.
 *
 * `redis://[user:password@]host[:port][/db]`, `rediss://…` for TLS, `unix:///path/to/socket[?db=n]`.
 */
import { TroupeError } from '../world/error.js'

export interface RespEndpoint {
  readonly host: string
  readonly port: number
  /** Path of a unix socket; then host and port mean nothing. */
  readonly path: string | null
  readonly tls: boolean
  readonly username: string | null
  readonly password: string | null
  readonly database: number
}

const MAX_DATABASE = 2 ** 31 - 1

/** @throws TroupeError `redis-url`, which never repeats the URL: it may hold a password */
export function parseRespEndpoint(url: string, place: string): RespEndpoint {
  const wrong = (message: string) =>
    new TroupeError({
      code: 'redis-url',
      message,
      place,
      remedy: 'write redis://[user:password@]host[:port][/db], rediss://… for TLS, or unix:///path/to/socket',
      exitCode: 2,
      permanent: true,
    })
  let parsed: URL
  try {
    parsed = new URL(url)
  } catch {
    throw wrong('the URL of the Redis cannot be read')
  }
  const unix = parsed.protocol === 'unix:'
  if (!unix && parsed.protocol !== 'redis:' && parsed.protocol !== 'rediss:')
    throw wrong(`'${parsed.protocol}' is no scheme of a Redis URL`)
  const databaseText = unix ? (parsed.searchParams.get('db') ?? '') : parsed.pathname.replace(/^\//, '')
  const database = databaseText === '' ? 0 : Number(databaseText)
  if (!Number.isInteger(database) || database < 0 || database > MAX_DATABASE)
    throw wrong('the database of the Redis URL is no number')
  const decoded = (text: string) => {
    try {
      return text === '' ? null : decodeURIComponent(text)
    } catch {
      throw wrong('the user or password in the URL of the Redis is not percent-encoded')
    }
  }
  return {
    host: parsed.hostname.replace(/^\[(.*)\]$/, '$1') || '127.0.0.1',
    port: parsed.port === '' ? 6379 : Number(parsed.port),
    path: unix ? decodeURIComponent(parsed.pathname) : null,
    tls: parsed.protocol === 'rediss:',
    username: decoded(parsed.username),
    password: decoded(parsed.password),
    database,
  }
}

/** `host:port/db`, for messages: no user, no password. */
export function describeEndpoint(endpoint: RespEndpoint): string {
  const address = endpoint.path ?? `${endpoint.host}:${endpoint.port}`
  return endpoint.database === 0 ? address : `${address}/${endpoint.database}`
}
