/**
 * Finds the program of a server, in one fixed order: environment variable, npm package (PostgreSQL), PATH and the usual
 * folders, our own cache, an unprivileged download from the machine's apt archive, apt as root, brew.
 *
 * Each candidate is run and its version checked; what did not serve is remembered with its reason. Once a program is
 * found, finding it again touches no network. A variable that names a program which will not do is an error, never
 * passed over in silence. `TROUPE_OFFLINE=1` leaves out every step that downloads.
 */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, realpathSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { messageOf, TroupeError } from '../world/error.js'
import { programFromApt } from './apt.js'
import { postgresFromNpm } from './npm.js'
import { type Account, cacheDirectoryFor, unprivilegedAccount } from './places.js'
import { catalogue, compareVersions, objectionTo, type Program, versionOf } from './program.js'
import type { ServerKind } from './server.js'
import { type Shelved, shelved } from './shelf.js'

export interface ResolveOptions {
  readonly major?: number
  readonly report?: (line: string) => void
}

interface Search {
  readonly kind: ServerKind
  readonly major: number | undefined
  readonly account: Account | undefined
  readonly cache: string
  readonly rejected: string[]
  readonly report: (line: string) => void
}

/** A step gives a program or adds to `rejected` why it has none. */
type Step = (search: Search) => Promise<Program | undefined>

const found = new Map<string, Promise<Program>>()

/** The program for this kind. One search a process: the answer is kept, a failure is not. */
export function resolveProgram(kind: ServerKind, options: ResolveOptions = {}): Promise<Program> {
  const { binaryVariable } = catalogue[kind]
  const key = JSON.stringify([
    kind,
    options.major,
    process.env[binaryVariable],
    process.env.PATH,
    process.env.TROUPE_CACHE,
  ])
  const known = found.get(key)
  if (known !== undefined) return known
  const search = resolve(kind, options)
  found.set(key, search)
  search.catch(() => found.delete(key))
  return search
}

/** The choice and its reason in one line. */
export function describeProgram(program: Program): string {
  const before = program.rejected.length === 0 ? '' : ` (before it: ${program.rejected.join('; ')})`
  return `${catalogue[program.kind].title} ${program.version} from ${program.origin}: ${program.binary}${before}`
}

async function resolve(kind: ServerKind, options: ResolveOptions): Promise<Program> {
  const account = kind === 'postgres' ? unprivilegedAccount() : undefined
  const search: Search = {
    kind,
    major: options.major,
    account,
    cache: cacheDirectoryFor(account),
    rejected: [],
    report: options.report ?? (() => {}),
  }
  const offline = process.env.TROUPE_OFFLINE === '1'
  const local: Step[] = [fromVariable, fromNpm, fromFolders, fromCache]
  const remote: Step[] = [fromArchive, fromSystemApt, fromBrew]
  if (offline) search.report(`${catalogue[kind].title}: TROUPE_OFFLINE=1, nothing will be downloaded`)
  for (const step of offline ? local : [...local, ...remote]) {
    const program = await step(search)
    if (program === undefined) continue
    search.report(describeProgram(program))
    return program
  }
  throw nothingServes(search)
}

function nothingServes({ kind, major, rejected }: Search): TroupeError {
  const { title, minimum, aptPackage, brewPackage, binaryVariable, endpointVariable } = catalogue[kind]
  return new TroupeError({
    code: 'server-not-found',
    message: `no ${title} ${major ?? `${minimum} or newer`} on this machine: ${rejected.join('; ')}`,
    place: 'servers',
    remedy:
      `install it (apt-get install ${aptPackage(major)}, or brew install ${brewPackage(major)}), name its program in ` +
      `${binaryVariable}, or name a running server in ${endpointVariable}`,
  })
}

const fromVariable: Step = async (search) => {
  const { title, binaryVariable, minimum } = catalogue[search.kind]
  const binary = process.env[binaryVariable]
  if (binary === undefined || binary === '') return undefined
  const program = await tryBinary(search, binary, [], binaryVariable)
  if (program !== undefined) return program
  throw new TroupeError({
    code: 'server-unfit',
    message: `the ${title} that ${binaryVariable} names will not do: ${search.rejected.join('; ')}`,
    place: binaryVariable,
    remedy: `let it name the program of ${title} ${search.major ?? `${minimum} or newer`}, or unset it`,
  })
}

const fromNpm: Step = async (search) => {
  if (search.kind !== 'postgres') return undefined
  return tryShelved(search, () => postgresFromNpm(search.cache), 'npm')
}

const fromFolders: Step = async (search) => {
  const { executable, usualFolders } = catalogue[search.kind]
  const onPath = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '')
  const seen = new Set<string>()
  for (const folder of [...onPath, ...usualFolders.flatMap(expand)]) {
    const path = join(folder, executable)
    if (!existsSync(path)) continue
    const real = realpathSync(path)
    if (seen.has(real)) continue
    seen.add(real)
    const origin = onPath.includes(folder) ? 'PATH' : folder
    // PostgreSQL finds its libraries and initdb by its real place; Redis is told what to be by the name it is called by.
    const program = await tryBinary(search, search.kind === 'postgres' ? real : path, [], origin)
    if (program !== undefined) return program
  }
  if (seen.size === 0) search.rejected.push(`no ${executable} on PATH or in the usual folders`)
  return undefined
}

const fromCache: Step = async (search) => {
  for (const { binary, libraries } of shelved(search.cache, search.kind)) {
    const program = await tryBinary(search, binary, libraries, 'cache')
    if (program !== undefined) return program
  }
  return undefined
}

const fromArchive: Step = (search) =>
  tryShelved(search, () => programFromApt(search.cache, search.kind, search.major, search.report), 'apt download')

const fromSystemApt: Step = async (search) => {
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) return undefined
  const name = catalogue[search.kind].aptPackage(search.major)
  search.report(`installing ${name} with apt-get`)
  return install(search, 'apt-get', ['install', '-qy', '--no-install-recommends', name])
}

const fromBrew: Step = async (search) => {
  if (process.platform !== 'darwin') return undefined
  const name = catalogue[search.kind].brewPackage(search.major)
  search.report(`installing ${name} with brew`)
  return install(search, 'brew', ['install', name])
}

async function install(search: Search, installer: string, args: string[]): Promise<Program | undefined> {
  try {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    await promisify(execFile)(installer, args, { timeout: 300_000, maxBuffer: 2 ** 26, env })
  } catch (error) {
    search.rejected.push(`${installer} ${args.join(' ')} failed: ${messageOf(error).split('\n')[0]}`)
    return undefined
  }
  return fromFolders(search)
}

async function tryShelved(
  search: Search,
  take: () => Promise<Shelved | string>,
  origin: string,
): Promise<Program | undefined> {
  try {
    const taken = await take()
    if (typeof taken !== 'string') return await tryBinary(search, taken.binary, taken.libraries, origin)
    search.rejected.push(`${origin}: ${taken}`)
  } catch (error) {
    search.rejected.push(`${origin}: ${messageOf(error)}`)
  }
  return undefined
}

async function tryBinary(
  search: Search,
  binary: string,
  libraries: readonly string[],
  origin: string,
): Promise<Program | undefined> {
  const { kind, major, account, rejected } = search
  const reject = (why: string) => {
    rejected.push(`${binary}: ${why}`)
    return undefined
  }
  if (!existsSync(binary)) return reject('there is no such file')
  if (kind === 'postgres' && !existsSync(join(dirname(binary), 'initdb'))) return reject('it has no initdb beside it')
  try {
    const version = await versionOf(binary, libraries)
    const objection = objectionTo(kind, version, major)
    if (objection !== undefined) return reject(objection)
    return { kind, version, binary, libraries, account, origin, rejected: [...rejected] }
  } catch (error) {
    return reject(`it does not run: ${messageOf(error).split('\n')[0]}`)
  }
}

/** The folders that a path with one `*` stands for, highest version first. */
function expand(pattern: string): string[] {
  const parts = pattern.split('/')
  const star = parts.findIndex((part) => part.includes('*'))
  if (star < 0) return [pattern]
  const parent = parts.slice(0, star).join('/')
  const prefix = parts[star]!.replace('*', '')
  if (!existsSync(parent)) return []
  return readdirSync(parent)
    .filter((name) => name.startsWith(prefix) && name !== prefix)
    .sort((a, b) => compareVersions(b, a))
    .map((name) => [parent, name, ...parts.slice(star + 1)].join('/'))
}
