/**
 * A connection to NATS with what Troupe must know of it: that the server is new enough, and when it comes and goes. That
 * JetStream is on is looked at once, by who starts a pipeline (server-check.ts): every actor connects in a takeover.
 *
 * Promises: a server that cannot serve is refused with the remedy before anything is written; a connection that is lost is
 * sought again within a bound, then `onClosed` is told, once; what the server refuses as an event of the
 * connection becomes the outcome of the request that it concerns. Does not promise that what was published
 * while the connection went has arrived: only a reply says so.
 */
import { readFileSync } from 'node:fs'
import {
  type ConnectionOptions,
  connect,
  credsAuthenticator,
  type NatsConnection,
  type Status,
} from '@nats-io/transport-node'
import { messageOf, TroupeError } from '../../world/error.js'
import type { Logger } from '../../world/logger.js'
import type { Timer, World } from '../../world/world.js'
import { describeNats, type NatsEndpoint, parseNatsEndpoint } from './endpoint.js'
import { explainNats, isRefusal } from './errors.js'
import { createRequests, type NatsReply, type NatsRequest } from './requests.js'
import { checkServer } from './server-check.js'

export interface NatsConnectOptions {
  /** `nats://[user:password@]host[:port]`, several separated by commas; see endpoint.ts. */
  readonly servers: string
  /** Shown by the server: `troupe.<pipeline>.<node>`. */
  readonly name: string
  readonly world: World
  readonly log: Logger
  /** Where the configuration of this connection stands, for errors. */
  readonly place?: string
  /** Paths of PEM files. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string }
  /** Path of a credentials file; read again at each connect, so that it may be renewed. */
  readonly creds?: string
  /** ms for which a lost connection is sought again. Default 60,000. */
  readonly reconnectMs?: number
  /** The connection is over, and not by `close`. Called once. */
  readonly onClosed?: (error: TroupeError) => void
}

/** Told of what happens to a link. Must not throw. */
export interface LinkObserver {
  /** A subscription has been made again and what was on the wire is gone. */
  readonly reconnected?: () => void
  readonly disconnected?: () => void
  readonly closed?: (error: TroupeError) => void
  /** The server has refused a publish or a subscription that nobody may wait for. */
  readonly denied?: (operation: 'publish' | 'subscription', subject: string) => void
}

export interface NatsLink {
  readonly world: World
  readonly connection: NatsConnection
  /** `host:port, …`, without credentials. */
  readonly described: string
  /** Those that the URL names, `host:port`; a cluster may have more. */
  readonly servers: readonly string[]
  /** Bytes of payload and headers that the server takes in one message. */
  readonly maxPayload: number
  readonly connected: boolean
  readonly closed: boolean
  /** A subject of our own below which nobody else receives. */
  inbox(): string
  request(request: NatsRequest): Promise<NatsReply>
  /** @returns ends the observation */
  observe(observer: LinkObserver): () => void
  close(): Promise<void>
}

const RECONNECT_MS = 60_000
const DIAL_MS = 5_000
const RETRY_MS = 200
const JITTER_MS = 200
/** A peer that is paused or cut off is noticed after two unanswered pings. */
const PING_MS = 5_000
/** A `denied` that comes over and over (a retried publish) is said once per subject, for as many subjects. */
const MAX_DENIALS = 1_000

/** @throws TroupeError `nats-url`, `nats-unreachable`, `nats-denied`, `nats-tls`, `nats-credentials`, `nats-too-old`, `nats-headers` */
export async function connectNats(options: NatsConnectOptions): Promise<NatsLink> {
  const { log, place } = options
  const endpoint = parseNatsEndpoint(options.servers, place)
  const described = describeNats(endpoint)
  for (const path of [options.tls?.ca ?? endpoint.ca, options.tls?.cert, options.tls?.key]) mustRead(path, options)
  let connection: NatsConnection
  try {
    connection = await connect(clientOptions(options, endpoint))
  } catch (error) {
    throw explainNats(error, described, place)
  }
  const link = makeLink(options, endpoint, described, connection)
  try {
    checkServer(connection.info, described, place)
    log.debug({ nats: described, version: connection.info?.version }, 'connected to NATS')
    return link
  } catch (error) {
    await link.close()
    throw error
  }
}

function clientOptions(options: NatsConnectOptions, endpoint: NatsEndpoint): ConnectionOptions {
  const { world, tls } = options
  const { user, password, token } = endpoint
  const creds = options.creds ?? endpoint.creds
  const ca = tls?.ca ?? endpoint.ca
  return {
    servers: [...endpoint.servers],
    name: options.name,
    ...(user === null ? {} : { user, pass: password ?? '' }),
    ...(token === null ? {} : { token }),
    ...(creds === null ? {} : { authenticator: credsAuthenticator(credsReader(creds, options)) }),
    ...(tls === undefined && !endpoint.tls
      ? {}
      : {
          tls: {
            ...(ca === null ? {} : { caFile: ca }),
            ...(tls?.cert === undefined ? {} : { certFile: tls.cert }),
            ...(tls?.key === undefined ? {} : { keyFile: tls.key }),
          },
        }),
    inboxPrefix: endpoint.inboxPrefix,
    timeout: DIAL_MS,
    pingInterval: PING_MS,
    maxPingOut: 2,
    // The bound is ours, in time: attempts are quick where a port refuses and slow where a host is silent.
    maxReconnectAttempts: -1,
    reconnectDelayHandler: () => RETRY_MS + world.random() * JITTER_MS,
    // Two refusals, years apart, would end a connection: the client never forgets one.
    ignoreAuthErrorAbort: true,
    noAsyncTraces: true,
  }
}

/** Where the file is renewed in this moment, what it last held is shown again. */
function credsReader(path: string, { log, place }: NatsConnectOptions): () => Uint8Array {
  let last: Uint8Array | null = null
  return () => {
    try {
      const read = readFileSync(path)
      if (!isCredentials(read)) throw new Error(`'${path}' holds no user JWT and seed`)
      last = read
      return read
    } catch (error) {
      if (last !== null) {
        log.warn({ reason: messageOf(error) }, 'the NATS credentials file cannot be read; those before are used')
        return last
      }
      throw new TroupeError({
        code: 'nats-credentials',
        message: `the NATS credentials file cannot be read: ${messageOf(error)}`,
        ...(place === undefined ? {} : { place }),
        remedy: 'correct its path, or let this user read it; `nsc generate creds` writes one',
        exitCode: 2,
        permanent: true,
      })
    }
  }
}

function isCredentials(bytes: Uint8Array): boolean {
  const text = Buffer.from(bytes).toString('latin1')
  return /JWT-{3,}\s+\S/i.test(text) && /SEED-{3,}\s+\S/i.test(text)
}

function mustRead(path: string | null | undefined, { place }: NatsConnectOptions): void {
  if (path === null || path === undefined) return
  try {
    readFileSync(path)
  } catch (error) {
    throw new TroupeError({
      code: 'nats-tls',
      message: `a PEM file for TLS with NATS cannot be read: ${messageOf(error)}`,
      ...(place === undefined ? {} : { place }),
      remedy: 'correct its path (?ca= of the URL, tls.ca, tls.cert, tls.key), or let this user read it',
      exitCode: 2,
      permanent: true,
    })
  }
}

function makeLink(
  options: NatsConnectOptions,
  endpoint: NatsEndpoint,
  described: string,
  connection: NatsConnection,
): NatsLink {
  const { world, log, place } = options
  const observers = new Set<LinkObserver>()
  const denials = new Set<string>()
  const token = Buffer.from(world.randomBytes(12)).toString('hex')
  let inboxes = 0
  let connected = true
  let closing = false
  let ended = false
  let patience: Timer | null = null
  let failure: TroupeError | null = null
  /** Why the servers do not let us in again, where they say so. */
  let refusal: Error | null = null

  const inbox = () => `${endpoint.inboxPrefix}.${token}.${(++inboxes).toString(36)}`
  const requests = createRequests({ world, connection, inbox: inbox(), connected: () => connected })
  const tell = (run: (observer: LinkObserver) => void) => {
    for (const observer of [...observers]) run(observer)
  }
  const giveUp = (error: TroupeError) => {
    failure ??= error
    void connection.close()
  }

  const away = () => {
    if (!connected) return
    connected = false
    requests.lost()
    tell((observer) => observer.disconnected?.())
    if (closing) return
    const ms = options.reconnectMs ?? RECONNECT_MS
    log.warn({ nats: described }, 'the connection to NATS is lost and sought again')
    patience = world.setTimer(ms, () =>
      giveUp(
        explainNats(
          refusal ?? new Error(`the connection was lost and not found again within ${ms} ms`),
          described,
          place,
        ),
      ),
    )
  }
  const back = () => {
    patience?.cancel()
    patience = null
    refusal = null
    connected = true
    log.info({ nats: described, server: connection.getServer() }, 'connected to NATS again')
    try {
      // A cluster may be upgraded the wrong way round.
      checkServer(connection.info, described, place)
    } catch (error) {
      return giveUp(error as TroupeError)
    }
    tell((observer) => observer.reconnected?.())
  }
  const refused = (operation: 'publish' | 'subscription', subject: string) => {
    requests.denied(operation, subject)
    tell((observer) => observer.denied?.(operation, subject))
    const key = `${operation} ${subject}`
    if (denials.has(key) || denials.size >= MAX_DENIALS) return
    denials.add(key)
    log.error({ nats: described, operation, subject }, 'NATS does not allow this user what Troupe must do')
  }
  const status = (event: Status) => {
    switch (event.type) {
      case 'disconnect':
        return away()
      case 'reconnect':
        return back()
      case 'error': {
        const { error } = event
        if (isRefusal(error)) refusal = error
        if (error.name !== 'PermissionViolationError')
          return log.warn({ nats: described, reason: error.message }, 'NATS reports an error')
        const { operation, subject } = error as Error & { operation: 'publish' | 'subscription'; subject: string }
        return refused(operation, subject)
      }
      case 'ldm':
        return log.info({ nats: described, server: event.server }, 'a NATS server is about to leave')
    }
  }
  const end = (error: TroupeError | null) => {
    if (ended) return
    ended = true
    connected = false
    patience?.cancel()
    requests.close()
    if (error !== null) {
      tell((observer) => observer.closed?.(error))
      options.onClosed?.(error)
    }
    observers.clear()
  }

  void (async () => {
    for await (const event of connection.status()) status(event)
  })()
  void connection.closed().then((error) => {
    if (closing) return end(null)
    end(failure ?? explainNats(error ?? new Error('the connection was closed'), described, place))
  })

  return {
    world,
    connection,
    described,
    servers: endpoint.servers,
    get maxPayload() {
      return connection.info?.max_payload ?? 1024 * 1024
    },
    get connected() {
      return connected
    },
    get closed() {
      return ended
    },
    inbox,
    request: (request) => requests.send(request),
    observe(observer) {
      observers.add(observer)
      return () => observers.delete(observer)
    },
    async close() {
      closing = true
      await connection.close()
      end(null)
    },
  }
}
