/**
 * A cluster of NATS servers on this machine: each with a store, a port for routes and one for monitoring of its own.
 *
 * Promises: `startNatsCluster` and `ready` return when the meta group has a leader, every server says that it is healthy, and
 * a stream with a replica on each was created and deleted again. A member's own `restart` returns as soon as it takes
 * clients: in a cluster that lost its quorum there is nothing more to wait for. Does not promise that ports of routes
 * survive somebody else's taking them while a member is down. `TROUPE_NATS_URL` is not looked at: a cluster is always ours.
 */
import { join } from 'node:path'
import { connectNats } from '../wire/nats/connect.js'
import { callJetStream } from '../wire/nats/jetstream-api.js'
import { messageOf, TroupeError } from '../world/error.js'
import type { Logger } from '../world/logger.js'
import { realWorld } from '../world/real.js'
import type { World } from '../world/world.js'
import { until } from './child.js'
import { type NatsOptions, type NatsServer, startOwnNats } from './nats.js'
import { runDirectory } from './places.js'
import { ask } from './probe.js'
import { type Reservation, reservePort } from './record.js'

export interface NatsClusterOptions extends Omit<NatsOptions, 'port' | 'jetstream'> {
  /** How many servers. Default 3. */
  readonly size?: number
  /** The block of that name, in the server's words: `{ TROUPE { jetstream: enabled, users: […] }, SYS { … } }`. */
  readonly accounts?: string
  /** Who `url` and `ready` enter as; must be allowed to create streams. Default: nobody in particular. */
  readonly user?: { readonly name: string; readonly password: string }
  /**
   * Paths of PEM files, for clients and routes; the certificate must name 127.0.0.1 and serve both ends of a route. With a
   * configuration of one's own, `ca` alone counts here.
   */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string }
}

export interface NatsMember extends NatsServer {
  /** `n1`, `n2`, … */
  readonly name: string
  /** `http://127.0.0.1:…`: `/healthz`, `/jsz`, `/varz`. */
  readonly monitor: string
}

export interface NatsCluster {
  readonly servers: readonly NatsMember[]
  /** Of all servers, separated by commas. With the user's password: never log it. */
  readonly url: string
  /** Waits until all servers run as one again, at most `deadline` ms (default 30,000). @throws TroupeError `server-not-ready` */
  ready(deadline?: number): Promise<void>
  /** The member that leads the meta group; undefined while there is none. */
  leader(): Promise<NatsMember | undefined>
  stop(): Promise<void>
}

/** What a member needs beside its client port, which `startInstance` reserves. */
interface Seat {
  readonly name: string
  readonly routes: Reservation
  readonly monitor: Reservation
}

const defaultDeadline = 30_000
const attempts = 3
const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} }

export async function startNatsCluster(options: NatsClusterOptions = {}): Promise<NatsCluster> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce(options)
    } catch (error) {
      const taken = error instanceof TroupeError && error.code === 'server-port-taken'
      if (!taken || attempt === attempts) throw error
    }
  }
}

async function startOnce(options: NatsClusterOptions): Promise<NatsCluster> {
  const world = options.world ?? realWorld
  const seats: Seat[] = []
  const servers: NatsMember[] = []
  const stop = async () => {
    await Promise.all(servers.map((server) => server.stop()))
    for (const { routes, monitor } of seats) {
      routes.release()
      monitor.release()
    }
  }
  try {
    for (let n = 1; n <= (options.size ?? 3); n++) seats.push(await takeSeat(world, `n${n}`))
    const started = await Promise.allSettled(seats.map((seat) => startMember(options, seat, seats)))
    for (const one of started) if (one.status === 'fulfilled') servers.push(one.value)
    const failed = started.find((one) => one.status === 'rejected')
    if (failed !== undefined) throw failed.reason
    const cluster = makeCluster(world, options, servers, stop)
    await cluster.ready(options.deadline)
    return cluster
  } catch (error) {
    await stop()
    throw error
  }
}

async function takeSeat(world: World, name: string): Promise<Seat> {
  const entry = { kind: 'nats', directory: runDirectory(), temporary: false } as const
  const routes = await reservePort(world, undefined, entry)
  try {
    return { name, routes, monitor: await reservePort(world, undefined, entry) }
  } catch (error) {
    routes.release()
    throw error
  }
}

async function startMember(
  options: NatsClusterOptions,
  { name, routes, monitor }: Seat,
  seats: readonly Seat[],
): Promise<NatsMember> {
  const { size: _size, accounts, user, tls, ...own } = options
  const flags = [
    ...['--server_name', name, '--cluster_name', 'troupe', '--http_port', String(monitor.port)],
    ...['--cluster', `nats://127.0.0.1:${routes.port}`],
    ...['--routes', seats.map((seat) => `nats://127.0.0.1:${seat.routes.port}`).join(',')],
  ]
  const server = await startOwnNats(
    {
      ...own,
      ...(own.directory === undefined ? {} : { directory: join(own.directory, name) }),
      settings: {
        http: '"127.0.0.1:0"',
        ...(accounts === undefined ? {} : { accounts }),
        ...(tls === undefined
          ? {}
          : { tls: tlsBlock(tls, ''), cluster: `{ tls: ${tlsBlock(tls, ', verify: true')} }` }),
        ...own.settings,
      },
    },
    flags,
  )
  const scheme = tls === undefined ? 'nats' : 'tls'
  const login = user === undefined ? '' : `${encodeURIComponent(user.name)}:${encodeURIComponent(user.password)}@`
  const url = `${scheme}://${login}127.0.0.1:${server.port}`
  const added = { name, url, monitor: `http://127.0.0.1:${monitor.port}` }
  return Object.defineProperties(server, Object.getOwnPropertyDescriptors(added)) as NatsMember
}

function tlsBlock({ ca, cert, key }: NonNullable<NatsClusterOptions['tls']>, more: string): string {
  const [caFile, certFile, keyFile] = [ca, cert, key].map((path) => JSON.stringify(path))
  return `{ ca_file: ${caFile}, cert_file: ${certFile}, key_file: ${keyFile}${more} }`
}

function makeCluster(
  world: World,
  options: NatsClusterOptions,
  servers: readonly NatsMember[],
  stop: () => Promise<void>,
): NatsCluster {
  const url = servers.map((server) => server.url).join(',')
  let stopped = false
  const leader = async () => {
    for (const server of servers) {
      const name = server.running ? await leaderSeenBy(world, server) : undefined
      if (name !== undefined) return servers.find((one) => one.name === name)
    }
    return undefined
  }
  return {
    servers,
    url,
    leader,
    async ready(deadline = defaultDeadline) {
      let missing = 'nothing was asked yet'
      const isReady = async () => {
        missing =
          (await whatIsMissing(world, servers, leader)) ?? (await replicate(world, url, servers.length, options))
        return missing === ''
      }
      if (await until(world, isReady, deadline)) return
      throw new TroupeError({
        code: 'server-not-ready',
        message: `the cluster of ${servers.length} NATS servers is not ready after ${deadline} ms: ${missing}`,
        place: servers.map((server) => server.directory).join(', '),
        remedy: 'see server.log in these directories',
      })
    },
    async stop() {
      if (stopped) return
      stopped = true
      await stop()
    },
  }
}

async function whatIsMissing(
  world: World,
  servers: readonly NatsMember[],
  leader: NatsCluster['leader'],
): Promise<string | undefined> {
  for (const server of servers) {
    if (!server.running) return `${server.name} does not run`
    const health = await look(world, server, '/healthz')
    if (health?.status !== 'ok') return `${server.name} says ${JSON.stringify(health ?? 'nothing')}`
  }
  return (await leader()) === undefined ? 'the meta group has no leader' : undefined
}

/** Empty: a stream with `replicas` was made and taken away again. Else why not. */
async function replicate(world: World, url: string, replicas: number, { tls }: NatsClusterOptions): Promise<string> {
  const stream = `TROUPE-READY-${Buffer.from(world.randomBytes(6)).toString('hex')}`
  try {
    const link = await connectNats({
      servers: url,
      name: 'troupe.servers',
      world,
      log: silent,
      ...(tls === undefined ? {} : { tls: { ca: tls.ca } }),
    })
    try {
      const body = { name: stream, subjects: [`${stream}.>`], storage: 'file', num_replicas: replicas, max_bytes: 1024 }
      const made = await callJetStream(link, { subject: `STREAM.CREATE.${stream}`, body, deadlineMs: 5_000 })
      const gone = await callJetStream(link, { subject: `STREAM.DELETE.${stream}`, deadlineMs: 5_000 })
      return !made.ok ? made.error.description : gone.ok ? '' : gone.error.description
    } finally {
      await link.close()
    }
  } catch (error) {
    return messageOf(error)
  }
}

async function leaderSeenBy(world: World, server: NatsMember): Promise<string | undefined> {
  const seen = await look(world, server, '/jsz')
  const name = (seen?.meta_cluster as { leader?: string } | undefined)?.leader
  return name === '' ? undefined : name
}

/** A page of the server's monitoring; undefined where it does not answer. */
async function look(world: World, server: NatsMember, page: string): Promise<Record<string, unknown> | undefined> {
  const request = `GET ${page} HTTP/1.0\r\n\r\n`
  const { port, hostname } = new URL(server.monitor)
  // HTTP/1.0: the body ends with the connection, and a JSON document with a brace on a line of its own or at the end.
  const reply = await ask(world, {
    host: hostname,
    port: Number(port),
    request,
    expected: /\r\n\r\n[\s\S]*\}\s*$/,
    deadline: 2_000,
  })
  if (reply === undefined) return undefined
  try {
    return JSON.parse(reply.slice(reply.indexOf('\r\n\r\n') + 4)) as Record<string, unknown>
  } catch {
    return undefined
  }
}
