/**
 * Where the sockets of a data directory are.
 *
 * In its `run` folder, unless its path is longer than a socket's may be (104 bytes with the final zero on the
 * strictest system): then in a directory of the user's own under the system's temporary one, named by a hash, and the
 * data directory records it. Two ways to write one directory give one place.
 */
import { createHash } from 'node:crypto'
import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { messageOf, TroupeError } from '../world/error.js'

const longest = 103
const longestName = 24
const record = 'troupe.socket'

/** Makes the data directory if need be, for its user alone, and gives its real path. */
export function makeDataDirectory(directory: string): string {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    return realpathSync(directory)
  } catch (error) {
    throw new TroupeError({
      code: 'data-directory',
      message: `the data directory cannot be made: ${messageOf(error)}`,
      place: directory,
      remedy: 'give a directory that can be written (`data:` in the pipeline)',
      exitCode: 2,
      permanent: true,
    })
  }
}

/** Where a node on this (real) directory makes its socket; made if need be. */
export function socketDirectory(directory: string): string {
  const inside = join(directory, 'run')
  const path = Buffer.byteLength(inside) + longestName <= longest ? inside : join(userDirectory(), digestOf(directory))
  mkdirSync(path, { recursive: true, mode: 0o700 })
  if (path !== inside) writeFileSync(join(directory, record), `${path}\n`, { mode: 0o600 })
  return path
}

/** Sockets of this directory, live or dead, oldest first: also those of a node with another temporary directory. */
export function knownSockets(directory: string): readonly string[] {
  const recorded = readRecord(directory)
  const places = [join(directory, 'run'), ...(recorded === null ? [] : [recorded])]
  return places.flatMap((place) =>
    namesIn(place)
      .filter((name) => name.endsWith('.sock'))
      .sort()
      .map((name) => join(place, name)),
  )
}

function digestOf(directory: string): string {
  return createHash('sha256').update(directory).digest('hex').slice(0, 16)
}

function namesIn(place: string): readonly string[] {
  try {
    return readdirSync(place)
  } catch {
    return []
  }
}

function readRecord(directory: string): string | null {
  try {
    return readFileSync(join(directory, record), 'utf8').trim() || null
  } catch {
    return null
  }
}

/** Nobody else may have made it: the sockets in it are answered by whoever owns it. */
function userDirectory(): string {
  const { uid, username } = userInfo()
  const path = join(tmpdir(), `troupe-${uid >= 0 ? uid : username}`)
  mkdirSync(path, { recursive: true, mode: 0o700 })
  const found = lstatSync(path)
  if (!found.isDirectory() || (uid >= 0 && found.uid !== uid))
    throw new TroupeError({
      code: 'data-directory',
      message:
        'the path of the data directory is too long for a socket, and the directory for such sockets belongs to another user',
      place: path,
      remedy: 'give a data directory with a shorter path',
      exitCode: 2,
      permanent: true,
    })
  if ((found.mode & 0o077) !== 0) chmodSync(path, 0o700)
  return path
}
