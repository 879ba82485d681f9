/**
 * Where programs are kept and where servers run.
 *
 * PostgreSQL refuses to run as root, so root lends it an unprivileged account, and then its files must lie where that
 * account can reach them: a checkout below a home directory of mode 0700 is not such a place.
 */
import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { TroupeError } from '../world/error.js'

/** An unprivileged user to run a server as; only root needs one. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

const userId = process.getuid?.() ?? 0

/** The root of the package: the first folder above this file that has a package.json. */
function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) folder = dirname(folder)
  return folder
}

/** Where downloaded programs are kept: TROUPE_CACHE, else `.cache` in the root of the package. */
export function cacheDirectory(): string {
  const named = process.env.TROUPE_CACHE
  return named === undefined || named === '' ? join(packageRoot(), '.cache') : resolve(named)
}

/** As `cacheDirectory`, but a place that `account` can reach as well. */
export function cacheDirectoryFor(account: Account | undefined): string {
  const cache = cacheDirectory()
  return account === undefined || reachable(cache) ? cache : ownedDirectory(`/var/tmp/troupe-cache-${userId}`)
}

/** The folder of all servers of this user: their directories, and the records by which orphans are found. */
export function runDirectory(): string {
  const temporary = tmpdir()
  // A socket's path may have 107 bytes, and PostgreSQL's account must get here.
  const parent = temporary.length < 40 && reachable(temporary) ? temporary : '/tmp'
  return ownedDirectory(join(parent, `troupe-${userId}`))
}

/** Takes a directory away: its name is free at once, its blocks soon after (a synced cluster takes a second or two to unlink). */
export function discardDirectory(path: string): void {
  if (!existsSync(path)) return
  const gone = `${path}.gone`
  renameSync(path, gone)
  spawn('rm', ['-rf', gone], { detached: true, stdio: 'ignore' }).unref()
}

/** The account that stands in for root: `postgres` if the machine has it, else `nobody`. Undefined where we are not root. */
export function unprivilegedAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined
  const users = readFileSync('/etc/passwd', 'utf8').split('\n')
  for (const name of ['postgres', 'nobody']) {
    const fields = users.find((line) => line.startsWith(`${name}:`))?.split(':')
    if (fields?.[2] !== undefined && fields[3] !== undefined) return { uid: Number(fields[2]), gid: Number(fields[3]) }
  }
  throw new TroupeError({
    code: 'no-account',
    message: 'PostgreSQL does not run as root, and this machine has neither a user postgres nor a user nobody',
    remedy: 'add one (useradd --system postgres), or run as an ordinary user',
  })
}

/** Whether anybody may pass through all folders on the way to `path`. */
function reachable(path: string): boolean {
  for (let folder = path; ; folder = dirname(folder)) {
    if (existsSync(folder) && (statSync(folder).mode & 0o001) === 0) return false
    if (dirname(folder) === folder) return true
  }
}

/** A folder with a name that others could guess: taken only if it is ours. */
function ownedDirectory(path: string): string {
  mkdirSync(path, { recursive: true, mode: 0o755 })
  const { uid } = statSync(path)
  if (uid !== userId)
    throw new TroupeError({
      code: 'foreign-directory',
      message: `${path} belongs to another user (uid ${uid})`,
      remedy: 'remove it, or set TMPDIR and TROUPE_CACHE to folders of your own',
    })
  chmodSync(path, 0o755)
  return path
}
