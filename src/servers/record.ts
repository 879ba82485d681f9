/**
 * Records of running servers, one file a port: who started it, what runs, where its data lie.
 *
 * A record is at once the reservation of the port (its file is made only if there is none) and what the next start needs
 * to find orphans: a record whose owner is gone is reaped; its server is ended only if pid, time of start and program are
 * still those that were written down, and its directory is removed only if it was a temporary one.
 */
import { linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { TroupeError } from '../world/error.js'
import type { World } from '../world/world.js'
import { discardDirectory, runDirectory } from './places.js'
import { descendantsOf, identify, isAlive, type ProcessIdentity, programNameOf, signalProcess } from './processes.js'
import type { ServerKind } from './server.js'

export interface ServerRecord {
  readonly kind: ServerKind
  readonly port: number
  readonly owner: ProcessIdentity
  readonly directory: string
  readonly temporary: boolean
  /** The running server; null before its start and after its end. */
  readonly server: (ProcessIdentity & { readonly program: string }) | null
}

/** Ports for servers lie below those that systems hand to clients, so that no outgoing connection sits on one while its server is down. */
const lowestPort = 15_000
const portCount = 17_000
const portAttempts = 200

export interface Reservation {
  readonly port: number
  write(server: ServerRecord['server']): void
  release(): void
}

/** Takes a port, a given one or a free one, until `release`. */
export async function reservePort(
  world: World,
  wanted: number | undefined,
  entry: Pick<ServerRecord, 'kind' | 'directory' | 'temporary'>,
): Promise<Reservation> {
  const owner = identify(process.pid)!
  const reserve = (port: number): Reservation | undefined => {
    const record = { ...entry, port, owner, server: null } satisfies ServerRecord
    if (!createRecord(record)) return undefined
    return {
      port,
      write: (server) => replaceRecord({ ...record, server }),
      release: () => rmSync(recordPath(port), { force: true }),
    }
  }
  for (let attempt = 0; attempt < portAttempts; attempt++) {
    const port = wanted ?? lowestPort + Math.floor(world.random() * portCount)
    const reservation = (await isFree(port)) ? reserve(port) : undefined
    if (reservation !== undefined) return reservation
    if (wanted !== undefined) break
  }
  throw new TroupeError({
    code: 'port-in-use',
    message:
      wanted === undefined ? `no free port in ${portAttempts} attempts` : `port ${wanted} on 127.0.0.1 is in use`,
    place: 'servers',
    remedy: wanted === undefined ? 'end some servers' : 'end what listens there, or choose another port',
  })
}

/** Refuses a directory in which a living server of ours runs. */
export function refuseSharedDirectory(directory: string): void {
  const holder = records().find(
    (record) => record.directory === directory && record.server !== null && isAlive(record.server),
  )
  if (holder === undefined) return
  throw new TroupeError({
    code: 'directory-in-use',
    message: `${directory} is in use by the ${holder.kind} server with pid ${holder.server!.pid}`,
    place: directory,
    remedy: 'stop that server first, or give another directory',
  })
}

/** Ends the servers whose owner is gone and takes their records and temporary directories away. Returns what was ended. */
export function reapOrphans(): ServerRecord[] {
  const reaped: ServerRecord[] = []
  for (const record of records()) {
    if (isAlive(record.owner)) continue
    if (record.server !== null && isStill(record.server)) {
      const { pid } = record.server
      const family = [pid, ...descendantsOf(pid)]
      for (const member of family) signalProcess(member, 'SIGKILL')
      reaped.push(record)
    }
    if (record.temporary) discardDirectory(record.directory)
    rmSync(recordPath(record.port), { force: true })
  }
  return reaped
}

/** The servers that run now, of every process of this user. */
export function runningServers(): ServerRecord[] {
  return records().filter((record) => record.server !== null && isStill(record.server))
}

function isStill(server: NonNullable<ServerRecord['server']>): boolean {
  // The system cuts program names at 15 bytes.
  return isAlive(server) && programNameOf(server.pid)?.slice(0, 15) === server.program.slice(0, 15)
}

function recordFolder(): string {
  const folder = join(runDirectory(), 'records')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  return folder
}

function recordPath(port: number): string {
  return join(recordFolder(), `${port}.json`)
}

/** False if there is a record for this port already. The file appears with its whole content. */
function createRecord(record: ServerRecord): boolean {
  const draft = writeDraft(record)
  try {
    linkSync(draft, recordPath(record.port))
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    rmSync(draft, { force: true })
  }
}

function replaceRecord(record: ServerRecord): void {
  renameSync(writeDraft(record), recordPath(record.port))
}

function writeDraft(record: ServerRecord): string {
  const draft = `${recordPath(record.port)}.${process.pid}`
  writeFileSync(draft, JSON.stringify(record), { mode: 0o600 })
  return draft
}

function records(): ServerRecord[] {
  const folder = recordFolder()
  return readdirSync(folder)
    .filter((name) => /^\d+\.json$/.test(name))
    .map((name) => readRecord(join(folder, name)))
    .filter((record) => record !== undefined)
}

function readRecord(path: string): ServerRecord | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as ServerRecord
  } catch {
    return undefined // It was released between the listing and the reading.
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((done) => {
    const probe = createServer()
    probe.once('error', () => done(false))
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => done(true)))
  })
}
