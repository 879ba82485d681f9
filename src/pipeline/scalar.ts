/**
 * The values that a pipeline is written with: durations, counts, flags, lists, names, addresses.
 *
 * Each is a schema that reads what a person writes (`30s`, `"16"` out of the environment, one name or a list) and gives
 * what the definition holds. Messages name what is allowed and never the value: it may be a secret.
 */
import { z } from 'zod'
import { parseNatsEndpoint } from '../wire/nats/endpoint.js'
import { messageOf } from '../world/error.js'

/** Names of pipelines, sources and processors: they become parts of paths, keys and subjects. */
export const namePattern = /^[A-Za-z0-9_-]{1,64}$/

/** In a file an editor must let `${NAME}` stand where a number does. */
const interpolated = { type: 'string', pattern: '^\\$\\{' } as const

interface Described {
  readonly description: string
}

export interface Bounds {
  readonly min: number
  readonly max: number
  readonly default?: number
}

const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }

/** Milliseconds of `250ms`, `30s`, `1.5m`, `2h` or a number of milliseconds; null for anything else. */
export function parseDuration(value: unknown): number | null {
  if (typeof value === 'number') return Number.isFinite(value) ? value : null
  if (typeof value !== 'string') return null
  const match = /^(\d{1,12}(?:\.\d{1,6})?)\s*(ms|s|m|h)?$/.exec(value.trim())
  if (match === null) return null
  return Math.round(Number(match[1]) * (match[2] === undefined ? 1 : units[match[2]]!))
}

/** The shortest exact way to write milliseconds: `30s`, `1500ms`. */
export function formatDuration(ms: number): string {
  if (ms !== 0 && ms % 3_600_000 === 0) return `${ms / 3_600_000}h`
  if (ms !== 0 && ms % 60_000 === 0) return `${ms / 60_000}m`
  if (ms !== 0 && ms % 1_000 === 0) return `${ms / 1_000}s`
  return `${ms}ms`
}

export function duration(bounds: Bounds, { description }: Described) {
  return z
    .custom<number | string>()
    .transform((value, context) => {
      const ms = parseDuration(value)
      if (ms === null) return refuse(context, 'wrong-type', 'must be a duration such as 500ms, 30s or 5m')
      if (ms < bounds.min || ms > bounds.max) {
        const range = `${formatDuration(bounds.min)} to ${formatDuration(bounds.max)}`
        return refuse(context, 'out-of-range', `must be a duration from ${range}`)
      }
      return ms
    })
    .meta({
      description: `${description} A duration from ${formatDuration(bounds.min)} to ${formatDuration(bounds.max)}${
        bounds.default === undefined ? '' : `; default ${formatDuration(bounds.default)}`
      }.`,
      anyOf: [
        { type: 'number', minimum: bounds.min, maximum: bounds.max },
        { type: 'string', pattern: '^\\s*\\d{1,12}(\\.\\d{1,6})?\\s*(ms|s|m|h)?\\s*$' },
        interpolated,
      ],
      ...(bounds.default === undefined ? {} : { default: formatDuration(bounds.default) }),
    })
}

/** Bytes: a whole number, or with a unit of powers of 1,024. */
export function size(bounds: Bounds, { description }: Described) {
  const range = `${formatSize(bounds.min)} to ${formatSize(bounds.max)}`
  return z
    .custom<number | string>()
    .transform((value, context) => {
      const bytes = parseSize(value)
      if (bytes === null) return refuse(context, 'wrong-type', 'must be a size such as 512MiB or 8GiB')
      if (bytes < bounds.min || bytes > bounds.max)
        return refuse(context, 'out-of-range', `must be a size from ${range}`)
      return bytes
    })
    .meta({
      description: `${description} A size from ${range}${bounds.default === undefined ? '' : `; default ${formatSize(bounds.default)}`}.`,
      anyOf: [
        { type: 'integer', minimum: bounds.min, maximum: bounds.max },
        { type: 'string', pattern: '^\\s*\\d{1,12}\\s*([KMGT]i?B?|B)?\\s*$' },
        interpolated,
      ],
      ...(bounds.default === undefined ? {} : { default: formatSize(bounds.default) }),
    })
}

const sizeUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

function parseSize(value: unknown): number | null {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? value : null
  const match = typeof value === 'string' ? /^\s*(\d{1,12})\s*(?:([KMGT])i?B?|B)?\s*$/i.exec(value) : null
  if (match === null) return null
  const power = match[2] === undefined ? 0 : 'KMGT'.indexOf(match[2].toUpperCase()) + 1
  const bytes = Number(match[1]) * 1024 ** power
  return Number.isSafeInteger(bytes) ? bytes : null
}

export function formatSize(bytes: number): string {
  let power = 0
  let value = bytes
  while (power < sizeUnits.length - 1 && value >= 1024 && value % 1024 === 0) {
    value /= 1024
    power++
  }
  return `${value} ${sizeUnits[power]}`
}

export function integer(bounds: Bounds, { description }: Described) {
  return number(bounds, description, Number.isInteger, 'a whole number')
}

export function share(bounds: Bounds, { description }: Described) {
  return number(bounds, description, Number.isFinite, 'a number')
}

function number(bounds: Bounds, description: string, valid: (value: number) => boolean, noun: string) {
  const range = `${noun} from ${bounds.min.toLocaleString('en')} to ${bounds.max.toLocaleString('en')}`
  return z
    .custom<number>()
    .transform((value, context) => {
      const found = numberOf(value)
      if (found === null || !valid(found)) return refuse(context, 'wrong-type', `must be ${range}`)
      if (found < bounds.min || found > bounds.max) return refuse(context, 'out-of-range', `must be ${range}`)
      return found
    })
    .meta({
      description: `${description} ${range[0]!.toUpperCase()}${range.slice(1)}${
        bounds.default === undefined ? '' : `; default ${bounds.default}`
      }.`,
      anyOf: [
        { type: noun === 'a number' ? 'number' : 'integer', minimum: bounds.min, maximum: bounds.max },
        interpolated,
      ],
      ...(bounds.default === undefined ? {} : { default: bounds.default }),
    })
}

/** Digits out of the environment count as a number. */
function numberOf(value: unknown): number | null {
  if (typeof value === 'number') return value
  if (typeof value === 'string' && /^-?\d{1,15}(\.\d{1,15})?$/.test(value.trim())) return Number(value)
  return null
}

export function flag(preset: boolean, { description }: Described) {
  return z
    .custom<boolean | 'true' | 'false'>()
    .transform((value, context) => {
      if (value === true || value === 'true') return true
      if (value === false || value === 'false') return false
      return refuse(context, 'wrong-type', 'must be true or false')
    })
    .meta({ description, anyOf: [{ type: 'boolean' }, interpolated], default: preset })
}

/** One string, or a list of them without repetition. */
export function strings(
  options: Described & {
    readonly min?: number
    readonly max: number
    readonly pattern?: RegExp
    readonly what: string
  },
) {
  const min = options.min ?? 0
  return z
    .custom<string | readonly string[]>()
    .transform((value, context): readonly string[] => {
      const list = typeof value === 'string' ? [value] : value
      if (!Array.isArray(list)) return refuse(context, 'wrong-type', `must be ${options.what} or a list of them`)
      if (list.length < min || list.length > options.max)
        return refuse(context, 'out-of-range', `must hold ${min} to ${options.max.toLocaleString('en')} entries`)
      const seen = new Set<string>()
      list.forEach((entry: unknown, index) => {
        const path = typeof value === 'string' ? [] : [index]
        if (typeof entry !== 'string' || entry === '' || options.pattern?.test(entry) === false)
          refuse(context, 'wrong-type', `must be ${options.what}`, path)
        else if (seen.has(entry)) refuse(context, 'duplicate', 'is listed twice', path)
        else seen.add(entry)
      })
      return list as readonly string[]
    })
    .meta({
      description: options.description,
      anyOf: [
        { type: 'string', minLength: 1 },
        { type: 'array', items: { type: 'string', minLength: 1 }, minItems: min, maxItems: options.max },
      ],
    })
}

export function text(
  options: Described & { readonly pattern?: RegExp; readonly what: string; readonly default?: string },
) {
  return z
    .custom<string>()
    .transform((value, context) => {
      if (typeof value !== 'string') return refuse(context, 'wrong-type', `must be ${options.what}`)
      if (value === '' || options.pattern?.test(value) === false)
        return refuse(context, 'bad-value', `must be ${options.what}`)
      return value
    })
    .meta({
      type: 'string',
      minLength: 1,
      description: options.description,
      ...(options.default === undefined ? {} : { default: options.default }),
    })
}

/** An address with credentials in it: checked for its scheme, never quoted. */
export function address(schemes: readonly string[], { description }: Described) {
  const example = `${schemes[0]}://user:password@host:port/…`
  return z
    .custom<string>()
    .transform((value, context) => {
      if (typeof value !== 'string') return refuse(context, 'wrong-type', `must be a URL such as ${example}`)
      if (!schemes.some((scheme) => value.startsWith(`${scheme}:`)) || !URL.canParse(value))
        return refuse(context, 'bad-url', `must be a URL such as ${example} (percent-encode special characters)`)
      return value
    })
    .meta({ type: 'string', minLength: 1, description })
}

/** Servers of NATS, as `--cluster` takes them. */
export function natsServers({ description }: Described) {
  return z
    .custom<string>()
    .transform((value, context) => {
      if (typeof value !== 'string')
        return refuse(context, 'wrong-type', 'must be a URL such as nats://user:password@host:port')
      try {
        parseNatsEndpoint(value)
      } catch (error) {
        return refuse(context, 'bad-url', `must be a URL such as nats://user:password@host:port: ${messageOf(error)}`)
      }
      return value
    })
    .meta({ type: 'string', minLength: 1, description })
}

/** A template with `{name}` in it; an unknown name is an error. */
export function template(placeholders: readonly string[], options: Described & { readonly default?: string }) {
  const known = placeholders.map((name) => `{${name}}`).join(' ')
  return z
    .custom<string>()
    .transform((value, context) => {
      if (typeof value !== 'string' || value === '') return refuse(context, 'wrong-type', 'must be a text')
      for (const match of value.matchAll(/\{([^{}]*)\}/g)) {
        if (!placeholders.includes(match[1]!))
          return refuse(context, 'unknown-placeholder', `holds a placeholder that does not exist; there are ${known}`)
      }
      return value
    })
    .meta({
      type: 'string',
      minLength: 1,
      description: `${options.description} Placeholders: ${known}.`,
      ...(options.default === undefined ? {} : { default: options.default }),
    })
}

/** Adds a problem and leaves the transformation. `params.code` becomes the error's code. */
function refuse(
  context: { addIssue(issue: { code: 'custom'; message: string; path?: PropertyKey[]; params: object }): void },
  code: string,
  message: string,
  path?: PropertyKey[],
): never {
  context.addIssue({ code: 'custom', message, params: { code }, ...(path === undefined ? {} : { path }) })
  return z.NEVER
}
