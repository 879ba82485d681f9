/**
 * `troupe servers`: finds, starts, lists and reaps the servers of development.
 *
 * `start` runs in the foreground: it prints one `export` line per server and ends them on SIGINT or SIGTERM (data stay
 * where `--directory` says). The lines hold passwords of throw-away servers on loopback; they go to stdout alone.
 */
import { join } from 'node:path'
import {
  endpointVariableOf,
  reapOrphans,
  resolveProgram,
  runningServers,
  type Server,
  type ServerKind,
  type ServerRecord,
  serverKinds,
  startNats,
  startNatsCluster,
  startPostgres,
  startRedis,
} from '../servers/index.js'
import { TroupeError } from '../world/error.js'
import { realWorld } from '../world/real.js'
import type { Timer } from '../world/world.js'

export interface ServersArguments {
  /** find: which programs would be used and why. list: what runs. reap: end what was left behind. */
  readonly action: 'start' | 'find' | 'list' | 'reap'
  /** Default: all three. */
  readonly kinds?: readonly string[]
  /** Where data are kept between runs, one folder a kind. Default: removed at the end. */
  readonly directory?: string
  /** How many servers of NATS, as one cluster. Default 1. */
  readonly natsServers?: number
  readonly json?: boolean
}

/** Resolves with the exit code. `start` resolves when it was told to end. */
export async function serversCommand(args: ServersArguments): Promise<number> {
  const kinds = (args.kinds?.length ? args.kinds : serverKinds).map(kindOf)
  if (args.action === 'find') await find(kinds, args.json === true)
  else if (args.action === 'list') list(runningServers(), args.json === true)
  else if (args.action === 'reap') list(reapOrphans(), args.json === true)
  else await runServers(kinds, args)
  return 0
}

function kindOf(name: string): ServerKind {
  const kind = serverKinds.find((one) => one === name)
  if (kind !== undefined) return kind
  throw new TroupeError({
    code: 'unknown-server',
    message: `'${name}' is no server that Troupe starts`,
    place: 'troupe servers',
    remedy: `one of: ${serverKinds.join(', ')}`,
    exitCode: 2,
  })
}

async function find(kinds: readonly ServerKind[], json: boolean): Promise<void> {
  for (const kind of kinds) {
    // The last line of a search is the choice and its reason, so it is all that is said.
    const program = await resolveProgram(kind, { report: json ? () => {} : print })
    if (json) print(JSON.stringify(program))
  }
}

function list(records: readonly ServerRecord[], json: boolean): void {
  if (json) print(JSON.stringify(records))
  else if (records.length === 0) print('none')
  else
    for (const { kind, port, server, directory, owner } of records)
      print(`${kind} on 127.0.0.1:${port}, pid ${server?.pid ?? '-'}, of process ${owner.pid}, in ${directory}`)
}

const starters = { postgres: startPostgres, redis: startRedis, nats: startNats } as const

/** A server or a cluster of them: its URL, and its end. */
type Started = Pick<Server, 'url' | 'stop'> & { readonly kind: ServerKind }

async function startOne(kind: ServerKind, { directory, natsServers = 1, json }: ServersArguments): Promise<Started> {
  const options = {
    report: progress(json === true),
    ...(directory === undefined ? {} : { directory: join(directory, kind) }),
  }
  if (kind !== 'nats' || natsServers === 1) return starters[kind](options)
  const { url, stop } = await startNatsCluster({ ...options, size: natsServers })
  return { kind, url, stop }
}

async function runServers(kinds: readonly ServerKind[], args: ServersArguments): Promise<void> {
  const { json } = args
  const told = toldToEnd()
  const servers: Started[] = []
  try {
    for (const kind of kinds) {
      const server = await startOne(kind, args)
      servers.push(server)
      if (json !== true) print(`export ${endpointVariableOf(kind)}='${server.url}'`)
    }
    if (json === true)
      print(JSON.stringify(Object.fromEntries(servers.map(({ kind, url }) => [endpointVariableOf(kind), url]))))
    else process.stderr.write('running until Ctrl-C\n')
    await told
  } finally {
    for (const server of servers.reverse()) await server.stop()
  }
}

function toldToEnd(): Promise<void> {
  return new Promise((done) => {
    // Neither a signal handler nor a server of ours keeps Node alive; a timer does.
    let timer: Timer
    const stayAlive = () => {
      timer = realWorld.setTimer(60_000, stayAlive)
    }
    stayAlive()
    const end = () => {
      timer.cancel()
      done()
    }
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end)
  })
}

/** What was chosen and why is not the command's output, except where it is (`find`). */
function progress(quiet: boolean): (line: string) => void {
  return quiet ? () => {} : (line) => void process.stderr.write(`${line}\n`)
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
