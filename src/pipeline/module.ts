/**
 * Loads modules that users write, TypeScript or JavaScript, on any Node 20.
 *
 * `import … from 'troupe'` in them means this very package, installed or run from a clone.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { createJiti, type Jiti } from 'jiti'
import { messageOf, TroupeError } from '../world/error.js'

let loader: Promise<Jiti> | null = null

/** Sources that run without having been compiled find the compiled SDK, as worker threads do. */
function sdkUrl(): string {
  return new URL('../index.js', import.meta.url).href.replace(/(?<!\/dist)\/src\/index\.js$/, '/dist/src/index.js')
}

async function makeLoader(): Promise<Jiti> {
  const sdk: unknown = await import(sdkUrl())
  return createJiti(import.meta.url, { virtualModules: { troupe: sdk }, interopDefault: false })
}

/**
 * The module's exports.
 * @param code of the error if it cannot be loaded: `handler-load`, `pipeline-load`
 * @throws TroupeError, exit code 2, with the place in the module where that can be told
 */
export async function importModule(url: string, code: string): Promise<Readonly<Record<string, unknown>>> {
  const path = fileURLToPath(url)
  loader ??= makeLoader()
  const jiti = await loader
  try {
    return await jiti.import<Record<string, unknown>>(path)
  } catch (error) {
    throw new TroupeError({
      code,
      message: `the module could not be loaded: ${firstLine(messageOf(error))}`,
      place: placeIn(path, error),
      remedy: 'correct the module; `troupe validate` loads it again and starts nothing',
      exitCode: 2,
      permanent: true,
      cause: error,
    })
  }
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0]!.slice(0, 500)
}

/** `module:line:column` from the stack (a throw) or the message (a syntax error); else the module. */
function placeIn(path: string, error: unknown): string {
  if (!(error instanceof Error)) return path
  const escaped = path.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  const found = new RegExp(`${escaped}:(\\d+):(\\d+)`).exec(`${error.message}\n${error.stack ?? ''}`)
  if (found !== null) return `${path}:${found[1]}:${found[2]}`
  const position = /\((\d+):(\d+)\)/.exec(error.message)
  return position === null ? path : `${path}:${position[1]}:${position[2]}`
}

/** A file's text, bounded; the error says what is wrong with the path. */
export function readBounded(path: string, label: string): string {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    throw new TroupeError({
      code: missing ? 'no-such-file' : 'unreadable-file',
      message: missing ? 'there is no such file' : `the file cannot be read (${(error as NodeJS.ErrnoException).code})`,
      place: label,
      remedy: 'give the path of a pipeline: a .yaml, .yml, .ts or .js file',
      exitCode: 2,
      permanent: true,
    })
  }
  if (text.length <= 4 * 1024 * 1024) return text
  throw new TroupeError({
    code: 'file-too-large',
    message: 'the file is larger than 4 MiB',
    place: label,
    exitCode: 2,
    permanent: true,
  })
}
