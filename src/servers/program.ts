/**
 * What is known of each server's program: its names, the oldest version that will do, where it usually lies,
 * and the packages that bring it.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Account } from './places.js'
import type { ServerKind } from './server.js'

/** A program that was found, ran, and is new enough. */
export interface Program {
  readonly kind: ServerKind
  readonly version: string
  readonly binary: string
  /** Folders for LD_LIBRARY_PATH, where its libraries lie beside it. */
  readonly libraries: readonly string[]
  /** Whom it must run as; only PostgreSQL under root. */
  readonly account: Account | undefined
  /** Where it was found: `TROUPE_REDIS_BIN`, `npm`, `PATH`, `cache`, `apt download`, … */
  readonly origin: string
  /** What was looked at before and why it did not serve. */
  readonly rejected: readonly string[]
}

export interface Catalogue {
  readonly title: string
  readonly executable: string
  /** Oldest version that will do, and why. */
  readonly minimum: string
  readonly reason: string
  readonly binaryVariable: string
  readonly endpointVariable: string
  /** `*` stands for one folder's name; of several the highest version comes first. */
  readonly usualFolders: readonly string[]
  readonly aptPackage: (major: number | undefined) => string
  readonly brewPackage: (major: number | undefined) => string
}

const ordinaryFolders = ['/usr/bin', '/usr/sbin', '/usr/local/bin', '/usr/local/sbin', '/opt/homebrew/bin']

export const catalogue: Readonly<Record<ServerKind, Catalogue>> = {
  postgres: {
    title: 'PostgreSQL',
    executable: 'postgres',
    minimum: '14.0',
    reason: 'pgoutput with streaming is read from 14 on',
    binaryVariable: 'TROUPE_POSTGRES_BIN',
    endpointVariable: 'TROUPE_POSTGRES_URL',
    usualFolders: [
      '/usr/lib/postgresql/*/bin',
      '/usr/pgsql-*/bin',
      '/usr/local/pgsql/bin',
      '/opt/homebrew/opt/postgresql@*/bin',
      '/usr/local/opt/postgresql@*/bin',
      ...ordinaryFolders,
    ],
    aptPackage: (major) => (major === undefined ? 'postgresql' : `postgresql-${major}`),
    brewPackage: (major) => `postgresql@${major ?? 18}`,
  },
  redis: {
    title: 'Redis',
    executable: 'redis-server',
    minimum: '7.0.0',
    reason: 'streams tell their entries-added from 7.0 on',
    binaryVariable: 'TROUPE_REDIS_BIN',
    endpointVariable: 'TROUPE_REDIS_URL',
    usualFolders: ordinaryFolders,
    aptPackage: () => 'redis-server',
    brewPackage: () => 'redis',
  },
  nats: {
    title: 'NATS',
    executable: 'nats-server',
    minimum: '2.12.0',
    reason: 'atomic batch publishing exists from 2.12 on',
    binaryVariable: 'TROUPE_NATS_BIN',
    endpointVariable: 'TROUPE_NATS_URL',
    usualFolders: ordinaryFolders,
    aptPackage: () => 'nats-server',
    brewPackage: () => 'nats-server',
  },
}

/** Negative, zero or positive, by the numbers in them: `2.9.10` is older than `2.12`. */
export function compareVersions(left: string, right: string): number {
  const numbers = (version: string) => (version.match(/\d+/g) ?? []).map(Number)
  const [a, b] = [numbers(left), numbers(right)]
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

/** Why a version will not do, or undefined if it will. */
export function objectionTo(kind: ServerKind, version: string, major: number | undefined): string | undefined {
  const { minimum, reason } = catalogue[kind]
  if (compareVersions(version, minimum) < 0) return `it is ${version}, and ${minimum} or newer is needed (${reason})`
  if (major !== undefined && !version.startsWith(`${major}.`)) return `it is ${version}, and ${major} was asked for`
  return undefined
}

/** What the program says of itself, for example `18.4`. Throws if it does not run. */
export async function versionOf(binary: string, libraries: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(binary, ['--version'], {
    timeout: 20_000,
    env: environmentOf(libraries),
  })
  const version = /(\d+\.\d+(?:\.\d+)?)/.exec(stdout)?.[1]
  if (version === undefined) throw new Error(`it printed no version: ${stdout.slice(0, 80).trim()}`)
  return version
}

/** The environment of a server: ours, and its own libraries first. */
export function environmentOf(libraries: readonly string[]): NodeJS.ProcessEnv {
  if (libraries.length === 0) return process.env
  const inherited = process.env.LD_LIBRARY_PATH
  return { ...process.env, LD_LIBRARY_PATH: [...libraries, ...(inherited ? [inherited] : [])].join(':') }
}

/** The variable that names a running server of this kind; where it is set, none is started. */
export function endpointVariableOf(kind: ServerKind): string {
  return catalogue[kind].endpointVariable
}
