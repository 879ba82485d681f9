/**
 * Where the NATS servers are and how to enter them: one parse for the client and for messages to people.
 *
 * A list is separated by commas: `nats://[user:password@]host[:port],nats://…`, `tls://…` to insist on TLS; a user without a
 * password is a token. `?creds=/path/to/file.creds` names a credentials file, `?ca=/path/to/ca.pem` the authority that
 * signed the servers' certificates (and insists on TLS), `?inbox=_INBOX_troupe` the prefix of our inboxes for accounts
 * whose users may not share `_INBOX.>`.
 */
import { TroupeError } from '../../world/error.js'

export interface NatsEndpoint {
  /** `host:port` of each, without credentials. */
  readonly servers: readonly string[]
  readonly tls: boolean
  readonly user: string | null
  readonly password: string | null
  readonly token: string | null
  /** Path of a credentials file. */
  readonly creds: string | null
  /** Path of the PEM file of the authority; null: those that Node.js knows. */
  readonly ca: string | null
  readonly inboxPrefix: string
}

const MAX_SERVERS = 64
const DEFAULT_PORT = 4222

/** @throws TroupeError `nats-url`, which never repeats the URL: it may hold a password */
export function parseNatsEndpoint(urls: string, place?: string): NatsEndpoint {
  const wrong = (message: string) =>
    new TroupeError({
      code: 'nats-url',
      message,
      ...(place === undefined ? {} : { place }),
      remedy:
        'write nats://[user:password@]host[:port], tls://… for TLS; several servers of one cluster are separated by commas',
      exitCode: 2,
      permanent: true,
    })
  const parts = urls
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
  if (parts.length === 0) throw wrong('no NATS server is named')
  if (parts.length > MAX_SERVERS) throw wrong(`more than ${MAX_SERVERS} NATS servers are named`)
  const scheme = /^([a-z]+):\/\//i.exec(parts[0]!)?.[1] ?? 'nats'
  const parsed = parts.map((part) => parseOne(part.includes('://') ? part : `${scheme}://${part}`, wrong))
  const only = <K extends 'user' | 'password' | 'token' | 'creds' | 'ca' | 'inboxPrefix'>(key: K): string | null => {
    const values = new Set(parsed.flatMap((one) => (one[key] === null ? [] : [one[key]])))
    if (values.size > 1) throw wrong(`the NATS servers of the list differ in their ${key}: one cluster has one way in`)
    return [...values][0] ?? null
  }
  return {
    servers: parsed.map((one) => one.server),
    tls: parsed.some((one) => one.tls),
    user: only('user'),
    password: only('password'),
    token: only('token'),
    creds: only('creds'),
    ca: only('ca'),
    inboxPrefix: only('inboxPrefix') ?? '_INBOX',
  }
}

function parseOne(text: string, wrong: (message: string) => TroupeError) {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw wrong('the URL of a NATS server cannot be read')
  }
  if (url.protocol !== 'nats:' && url.protocol !== 'tls:')
    throw wrong(`'${url.protocol}' is no scheme of a NATS URL that Troupe speaks`)
  if (url.hostname === '') throw wrong('the URL of a NATS server names no host')
  if (url.pathname !== '' && url.pathname !== '/') throw wrong('the URL of a NATS server has a path')
  // A password that is not encoded may have become the one or the other: neither is repeated.
  if (url.hash !== '' || url.search.includes('@'))
    throw wrong('the user or password in the URL of a NATS server is not percent-encoded')
  for (const key of url.searchParams.keys())
    if (key !== 'creds' && key !== 'ca' && key !== 'inbox')
      throw wrong('the URL of a NATS server has a parameter that is not one of creds, ca, inbox')
  const inboxPrefix = url.searchParams.get('inbox')
  if (inboxPrefix !== null && !/^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/.test(inboxPrefix))
    throw wrong('the inbox prefix of the NATS URL is no subject')
  const decoded = (part: string) => {
    try {
      return part === '' ? null : decodeURIComponent(part)
    } catch {
      throw wrong('the user or password in the URL of a NATS server is not percent-encoded')
    }
  }
  const user = decoded(url.username)
  const password = decoded(url.password)
  return {
    server: `${url.hostname}:${url.port === '' ? DEFAULT_PORT : url.port}`,
    tls: url.protocol === 'tls:' || url.searchParams.has('ca'),
    user: password === null ? null : user,
    password,
    token: password === null ? user : null,
    creds: url.searchParams.get('creds'),
    ca: url.searchParams.get('ca'),
    inboxPrefix,
  }
}

/** `host:port, host:port`, for messages: no user, no password. */
export function describeNats(endpoint: NatsEndpoint): string {
  return endpoint.servers.join(', ')
}
