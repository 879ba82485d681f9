/**
 * The cache of programs: one folder per program and version, each with a `program.json`.
 *
 * A folder appears complete or not at all (it is made under another name and renamed), so two processes may fill the
 * shelf at the same time: the second one's work is thrown away.
 */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { compareVersions } from './program.js'
import type { ServerKind } from './server.js'

export interface Shelved {
  readonly version: string
  readonly binary: string
  readonly libraries: readonly string[]
}

const label = 'program.json'

/** The programs of a kind on the shelf, newest first. Paths are absolute. */
export function shelved(cache: string, kind: ServerKind): Shelved[] {
  const folder = join(cache, 'programs')
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter((name) => name.startsWith(`${kind}-`))
    .map((name) => read(join(folder, name)))
    .filter((found) => found !== undefined)
    .sort((a, b) => compareVersions(b.version, a.version))
}

/** The program of that name, or undefined if it is not there. */
export function onShelf(cache: string, name: string): Shelved | undefined {
  return read(join(cache, 'programs', name))
}

/** Runs `make` in an empty folder and puts the folder on the shelf under the name that `make` gives; paths it returns are relative to the folder. */
export async function putOnShelf(
  cache: string,
  make: (folder: string) => Promise<{ readonly name: string; readonly program: Shelved }>,
): Promise<Shelved> {
  const programs = join(cache, 'programs')
  mkdirSync(programs, { recursive: true, mode: 0o755 })
  const folder = mkdtempSync(join(programs, '.new-'))
  chmodSync(folder, 0o755)
  try {
    const { name, program } = await make(folder)
    writeFileSync(join(folder, label), `${JSON.stringify(program, null, 2)}\n`)
    const home = join(programs, name)
    if (read(home) === undefined) {
      rmSync(home, { recursive: true, force: true })
      moveUnlessThere(folder, home)
    }
    const found = read(home)
    if (found === undefined) throw new Error(`${home} is not complete`)
    return found
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function moveUnlessThere(folder: string, home: string): void {
  try {
    renameSync(folder, home)
  } catch (error) {
    if (!existsSync(join(home, label))) throw error
  }
}

function read(folder: string): Shelved | undefined {
  const path = join(folder, label)
  if (!existsSync(path)) return undefined
  const { version, binary, libraries } = JSON.parse(readFileSync(path, 'utf8')) as Shelved
  return { version, binary: join(folder, binary), libraries: libraries.map((library) => join(folder, library)) }
}
