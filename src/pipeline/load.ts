/** A pipeline from its file: YAML, or a module that default-exports `definePipeline({…})`. */
import { dirname, extname, resolve as resolvePath } from 'node:path'
import { pathToFileURL } from 'node:url'
import { TroupeError } from '../world/error.js'
import { isPipelineModule } from './define.js'
import type { PipelineDefinition } from './definition.js'
import type { Environment } from './interpolate.js'
import { importModule, readBounded } from './module.js'
import { invalidPipeline, type Origin, type Path } from './problem.js'
import { quoteOf, resolveConfig } from './resolve.js'
import { readYaml } from './yaml.js'

export interface LoadOptions {
  /** What `${NAME}` in a YAML file is filled from; default the process's environment. */
  readonly env?: Environment
  /** Cores to share out by default; default those of the machine. */
  readonly cores?: number
}

/**
 * Reads, checks and completes a pipeline. Starts nothing and connects to nothing; a TypeScript pipeline's module is run.
 * @param path relative to the working directory
 * @throws TroupeError, exit code 2; `problemsOf` gives the single errors
 */
export async function loadPipeline(path: string, options: LoadOptions = {}): Promise<PipelineDefinition> {
  const file = resolvePath(path)
  const kind = extname(file).toLowerCase()
  if (kind === '.yaml' || kind === '.yml' || kind === '.json') return loadYaml(file, path, options)
  if (/^\.[cm]?[jt]s$/.test(kind)) return loadModule(file, path, options)
  throw new TroupeError({
    code: 'unknown-format',
    message: 'the name of a pipeline ends in .yaml, .yml, .json, .ts or .js',
    place: path,
    exitCode: 2,
    permanent: true,
  })
}

function loadYaml(file: string, label: string, options: LoadOptions): PipelineDefinition {
  const text = readBounded(file, label)
  const { value, origin, problems, unfilled } = readYaml(text, label, options.env ?? process.env)
  if (value === undefined) throw invalidPipeline(problems, origin)
  return resolveConfig(value, origin, settings(file, options), { problems, unfilled })
}

async function loadModule(file: string, label: string, options: LoadOptions): Promise<PipelineDefinition> {
  const text = readBounded(file, label)
  const exports = await importModule(pathToFileURL(file).href, 'pipeline-load')
  const pipeline = exports.default
  if (!isPipelineModule(pipeline))
    throw new TroupeError({
      code: 'not-a-pipeline',
      message: 'the module has no default export made with definePipeline',
      place: label,
      remedy: 'export default definePipeline({ … })',
      exitCode: 2,
      permanent: true,
    })
  const origin: Origin = {
    label,
    locate: (path) => locateInSource(text, path),
    quote: (path) => quoteOf(pipeline.config, path),
  }
  return resolveConfig(pipeline.config, origin, settings(file, options))
}

function settings(file: string, options: LoadOptions) {
  return {
    module: pathToFileURL(file).href,
    directory: dirname(file),
    ...(options.cores === undefined ? {} : { cores: options.cores }),
  }
}

/** The line of a key in a module: its path's names one after the other, as far as they are found. A guess, but a near one. */
function locateInSource(text: string, path: Path): string | null {
  const begin = text.indexOf('definePipeline(')
  let at = begin
  for (const part of path) {
    if (typeof part === 'number') continue
    const escaped = part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
    const key = new RegExp(`(?<![\\w$])['"]?${escaped}['"]?\\s*[:,}(]`, 'g')
    key.lastIndex = Math.max(at, 0)
    const found = key.exec(text)
    if (found === null) break
    at = found.index
  }
  if (at < 0) return null
  const before = text.slice(0, at).split('\n')
  return `${before.length}:${before.at(-1)!.length + 1}`
}
