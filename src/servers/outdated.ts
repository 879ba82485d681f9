/**
 * A NATS server that is too old for Troupe, to test that it is refused: a real one, for what an old server leaves out in
 * silence no imitation can show.
 *
 * In this order: `TROUPE_OLD_NATS_BIN`, PATH and the usual folders, the cache, the archives of this machine (Debian 12 and 13
 * have old ones). There may be none; a test then skips and says the reason.
 */
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { messageOf } from '../world/error.js'
import { programFromApt } from './apt.js'
import { cacheDirectory } from './places.js'
import { catalogue, compareVersions, type Program, versionOf } from './program.js'
import { type Shelved, shelved } from './shelf.js'

const variable = 'TROUPE_OLD_NATS_BIN'

/** For `startNats({ program })`. A string says why there is none. */
export async function outdatedNats(report: (line: string) => void = () => {}): Promise<Program | string> {
  const { minimum } = catalogue.nats
  const objection = (version: string) =>
    compareVersions(version, minimum) < 0 ? undefined : `it is ${version}, and one older than ${minimum} was asked for`
  const rejected: string[] = []
  const look = async (binary: string, libraries: readonly string[], origin: string): Promise<Program | undefined> => {
    try {
      const version = await versionOf(binary, libraries)
      const reason = objection(version)
      if (reason === undefined)
        return { kind: 'nats', version, binary, libraries, account: undefined, origin, rejected: [...rejected] }
      rejected.push(`${binary}: ${reason}`)
    } catch (error) {
      rejected.push(`${binary}: it does not run: ${messageOf(error).split('\n')[0]}`)
    }
    return undefined
  }

  const named = process.env[variable]
  if (named !== undefined && named !== '') return (await look(named, [], variable)) ?? rejected.join('; ')
  for (const binary of installed()) {
    const program = await look(binary, [], 'PATH')
    if (program !== undefined) return program
  }
  const onShelf = shelved(cacheDirectory(), 'nats').find(({ version }) => objection(version) === undefined)
  const program = onShelf && (await look(onShelf.binary, onShelf.libraries, 'cache'))
  if (program !== undefined) return program
  if (process.env.TROUPE_OFFLINE === '1') return [...rejected, 'TROUPE_OFFLINE=1'].join('; ')
  const taken = await fromArchive(report, objection)
  if (typeof taken === 'string') return [...rejected, `apt download: ${taken}`].join('; ')
  return (await look(taken.binary, taken.libraries, 'apt download')) ?? rejected.join('; ')
}

function installed(): string[] {
  const { executable, usualFolders } = catalogue.nats
  const folders = [...(process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== ''), ...usualFolders]
  return [...new Set(folders.map((folder) => join(folder, executable)))].filter((path) => existsSync(path))
}

async function fromArchive(
  report: (line: string) => void,
  objection: (version: string) => string | undefined,
): Promise<Shelved | string> {
  try {
    return await programFromApt(cacheDirectory(), 'nats', undefined, report, objection)
  } catch (error) {
    return messageOf(error)
  }
}
