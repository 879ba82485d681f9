/**
 * A PostgreSQL of our own, ready for logical decoding: wal_level=logical, 20 walsenders and slots, password
 * authentication everywhere (so that a wrong one is refused), TCP on loopback and a unix socket.
 *
 * initdb runs once per cache; each server gets a copy of what it made. The password of the superuser `postgres` is random
 * per cache and lies beside the data, so a directory that is given again keeps its own.
 */
import { execFile } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { messageOf, TroupeError } from '../world/error.js'
import type { World } from '../world/world.js'
import { endpointOf, endpointServer, endpointSilent } from './endpoint.js'
import { type Recipe, type Site, startInstance } from './instance.js'
import { cacheDirectoryFor, runDirectory } from './places.js'
import { environmentOf, type Program } from './program.js'
import type { Server, Settings, StartOptions } from './server.js'

export interface PostgresServer extends Server {
  readonly kind: 'postgres'
  /** The URL of a database over TCP; `url` is the one of the database `postgres`. */
  urlFor(database: string): string
  /** The folder of the unix socket. */
  readonly socketDirectory: string
  /** As `url` and `urlFor`, over the unix socket. */
  readonly socketUrl: string
  socketUrlFor(database: string): string
  /** Makes a database and gives its URL over TCP. */
  createDatabase(name: string): Promise<string>
}

/** Settings are those of postgresql.conf, in its words: `{ fsync: 'off', max_wal_senders: '2' }`. */
export async function startPostgres(options: StartOptions = {}): Promise<PostgresServer> {
  const endpoint = endpointOf('postgres')
  if (endpoint !== undefined) return endpointPostgres(endpoint)
  const instance = await startInstance(recipe, options)
  const { kill, pause, resume, restart, stop } = instance
  const { port, directory } = instance.site
  const { password, socketDirectory } = instance.prepared
  const urlFor = (database: string) =>
    `postgres://postgres:${password}@127.0.0.1:${port}/${encodeURIComponent(database)}`
  const socketUrlFor = (database: string) =>
    `postgres://postgres:${password}@/${encodeURIComponent(database)}?host=${encodeURIComponent(socketDirectory)}&port=${port}`
  return {
    kind: 'postgres',
    port,
    directory,
    url: urlFor('postgres'),
    urlFor,
    socketDirectory,
    socketUrl: socketUrlFor('postgres'),
    socketUrlFor,
    get pid() {
      return instance.pid
    },
    get running() {
      return instance.running
    },
    kill,
    pause,
    resume,
    restart,
    stop,
    createDatabase: (name) => createDatabase(urlFor('postgres'), name).then(() => urlFor(name)),
  }
}

interface Cluster {
  readonly data: string
  readonly password: string
  readonly socketDirectory: string
}

const defaults: Settings = {
  wal_level: 'logical',
  max_wal_senders: '20',
  max_replication_slots: '20',
  max_connections: '100',
  log_timezone: 'UTC',
}

const recipe: Recipe<Cluster> = {
  kind: 'postgres',
  deathSignal: 'SIGQUIT',
  stopSignal: { kept: 'SIGINT', discarded: 'SIGQUIT' },
  async prepare(site) {
    const data = join(site.directory, 'data')
    const passwordFile = join(site.directory, 'password')
    if (!existsSync(join(data, 'PG_VERSION'))) await copyTemplate(site, data, passwordFile)
    return { data, password: readFileSync(passwordFile, 'utf8').trim(), socketDirectory: openSocketDirectory(site) }
  },
  arguments({ port }, { data, socketDirectory }, settings) {
    const all: Settings = {
      ...defaults,
      ...settings,
      port: String(port),
      listen_addresses: '127.0.0.1',
      unix_socket_directories: socketDirectory,
    }
    return [
      '-D',
      data,
      ...Object.entries(all).flatMap(([name, value]) => [value].flat().flatMap((one) => ['-c', `${name}=${one}`])),
    ]
  },
  async answers({ port }, { password }) {
    await query({ host: '127.0.0.1', port, user: 'postgres', password, database: 'postgres' }, 'SELECT 1')
    return true
  },
}

/** A socket's path may have 107 bytes, so a long directory has its socket elsewhere. */
function openSocketDirectory({ directory, program, port }: Site): string {
  const beside = join(directory, 'socket')
  const folder = beside.length < 80 ? beside : join(runDirectory(), `socket-${port}`)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  own(program, folder)
  return folder
}

/** Copies a fresh cluster into place, under another name first: half a copy is never taken for a cluster. */
async function copyTemplate({ world, program, directory }: Site, data: string, passwordFile: string): Promise<void> {
  const template = await openTemplate(world, program)
  const draft = join(directory, 'data.new')
  rmSync(draft, { recursive: true, force: true })
  copyFileSync(join(template, 'password'), passwordFile)
  chmodSync(passwordFile, 0o600)
  await run(program, 'cp', ['-Rp', join(template, 'data'), draft])
  renameSync(draft, data)
}

/** The cluster that initdb makes, once per program and cache. */
async function openTemplate(world: World, program: Program): Promise<string> {
  const cache = cacheDirectoryFor(program.account)
  const owner = program.account?.uid ?? process.getuid?.() ?? 0
  const template = join(cache, 'clusters', `${program.version}-${owner}`)
  if (existsSync(template)) return template
  mkdirSync(dirname(template), { recursive: true, mode: 0o755 })
  const draft = mkdtempSync(join(dirname(template), '.new-'))
  try {
    const passwordFile = join(draft, 'password')
    writeFileSync(passwordFile, `${Buffer.from(world.randomBytes(12)).toString('hex')}\n`, { mode: 0o600 })
    for (const path of [draft, passwordFile]) own(program, path)
    const choices = ['--username=postgres', '--auth=scram-sha-256', '--encoding=UTF8', '--no-locale', '--no-sync']
    await run(program, join(dirname(program.binary), 'initdb'), [
      '-D',
      join(draft, 'data'),
      `--pwfile=${passwordFile}`,
      ...choices,
    ])
    renameUnlessThere(draft, template)
    return template
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}

function renameUnlessThere(draft: string, template: string): void {
  try {
    renameSync(draft, template)
  } catch (error) {
    if (!existsSync(template)) throw error
  }
}

async function run(program: Program, command: string, args: readonly string[]): Promise<void> {
  try {
    await promisify(execFile)(command, args, {
      cwd: '/',
      timeout: 120_000,
      env: { ...environmentOf(program.libraries), LC_ALL: 'C' },
      ...(program.account ?? {}),
    })
  } catch (error) {
    throw new TroupeError({
      code: 'server-not-prepared',
      message: `${command} failed: ${messageOf(error).split('\n').slice(0, 6).join(' | ')}`,
      place: 'servers',
      remedy: 'see whether the disk is full, and whether the cache and temporary folders can be written',
      cause: error,
    })
  }
}

function own({ account }: Program, path: string): void {
  if (account !== undefined) chownSync(path, account.uid, account.gid)
}

async function query(connection: string | pg.ClientConfig, sql: string): Promise<void> {
  const config = typeof connection === 'string' ? { connectionString: connection } : connection
  const client = new pg.Client({ ...config, connectionTimeoutMillis: 2_000, application_name: 'troupe-servers' })
  client.on('error', () => {}) // The query rejects with the same error.
  try {
    await client.connect()
    await client.query(sql)
  } finally {
    await client.end()
  }
}

async function createDatabase(url: string, name: string): Promise<void> {
  await query(url, `CREATE DATABASE ${pg.escapeIdentifier(name)}`)
}

async function endpointPostgres(url: URL): Promise<PostgresServer> {
  const server = endpointServer('postgres', url, 5432)
  try {
    await query(url.href, 'SELECT 1')
  } catch (error) {
    throw endpointSilent('postgres', error)
  }
  const urlFor = (database: string) => {
    const other = new URL(url)
    other.pathname = `/${encodeURIComponent(database)}`
    return other.href
  }
  const noSocket = (): never => {
    throw new TroupeError({
      code: 'endpoint-not-ours',
      message: 'the postgres server was given by TROUPE_POSTGRES_URL; its unix socket is not known',
      place: 'TROUPE_POSTGRES_URL',
      remedy: 'unset it, and a server is started for the purpose',
    })
  }
  const own: Omit<PostgresServer, keyof Server> & { readonly kind: 'postgres' } = {
    kind: 'postgres',
    urlFor,
    get socketDirectory() {
      return noSocket()
    },
    get socketUrl() {
      return noSocket()
    },
    socketUrlFor: noSocket,
    createDatabase: (name) => createDatabase(url.href, name).then(() => urlFor(name)),
  }
  return Object.defineProperties(own, Object.getOwnPropertyDescriptors(server)) as PostgresServer
}
