/**
 * Finds a behaviour by module and export.
 *
 * A worker thread cannot load TypeScript, so a module of this package named by its source (`/src/a/b.ts`, as tests do)
 * is loaded there from its compiled twin (`/dist/src/a/b.js`).
 */
import { pathToFileURL } from 'node:url'
import { TroupeError } from '../world/error.js'
import type { Behavior, BehaviorRef } from './actor.js'

const here = import.meta.url
const atSource = here.endsWith('.ts')
/** The package's own folder as a URL that ends in `/`. */
const home = new URL(atSource ? '../../' : '../../../', here).href

/** The compiled twin of a module of this package; any other module as it is. */
export function compiled(module: string): string {
  const url = module.startsWith('/') ? pathToFileURL(module).href : module
  if (!url.startsWith(home) || !url.endsWith('.ts')) return url
  return `${home}dist/${url.slice(home.length, -'.ts'.length)}.js`
}

/** Where a module lies in this package, without `dist/` and without its extension; undefined if it lies elsewhere. */
export function packagePath(module: string): string | undefined {
  const url = module.startsWith('/') ? pathToFileURL(module).href : module
  if (!url.startsWith(home) || url.startsWith(`${home}node_modules/`)) return undefined
  return url
    .slice(home.length)
    .replace(/^dist\//, '')
    .replace(/\.[jt]s$/, '')
}

const loaded = new Map<string, Behavior>()

/** @throws TroupeError `no-behavior` (permanent: a restart cannot help) when module or export cannot be had */
export async function loadBehavior(ref: BehaviorRef): Promise<Behavior> {
  const key = `${ref.module}#${ref.export}`
  const known = loaded.get(key)
  if (known !== undefined) return known
  const url = atSource ? ref.module : compiled(ref.module)
  let module: Record<string, unknown>
  try {
    module = (await import(url)) as Record<string, unknown>
  } catch (cause) {
    throw noBehavior(ref, 'its module cannot be loaded', cause)
  }
  const behavior = module[ref.export] as Behavior | undefined
  if (typeof behavior?.start !== 'function') throw noBehavior(ref, 'its module exports no such behaviour')
  loaded.set(key, behavior)
  return behavior
}

function noBehavior(ref: BehaviorRef, why: string, cause?: unknown): TroupeError {
  return new TroupeError({
    code: 'no-behavior',
    message: `behaviour '${ref.export}' of ${ref.module}: ${why}${cause instanceof Error ? `: ${cause.message}` : ''}`,
    remedy: 'export what defineActor returns, under the name that it was given',
    permanent: true,
    ...(cause === undefined ? {} : { cause }),
  })
}
