/**
 * How values cross nodes: JSON, with tags for what JSON has no word for (bigint, bytes, dates, undefined, numbers that
 * are not finite, −0).
 *
 * JSON because its reader can be trusted with anything: what comes in cannot make it allocate more than a few times its
 * own size. Plain data only; an instance of a class would arrive as something else, so it is refused.
 */
import { TroupeError } from '../../world/error.js'

/** Marks a tagged value; an object of the sender's that has this key is tagged itself. */
const TAG = '$'
export const MAX_DEPTH = 64
/** Digits of a bigint; reading more would take long. */
const MAX_DIGITS = 4_096

/** @throws TroupeError `not-sendable` */
export function encodeValue(value: unknown): string {
  return JSON.stringify(plain(value, 0))
}

function plain(value: unknown, depth: number): unknown {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0)
        ? value
        : { [TAG]: 'f', v: Object.is(value, -0) ? '-0' : `${value}` }
    case 'undefined':
      return { [TAG]: 'u' }
    case 'bigint': {
      const digits = `${value}`
      if (digits.length > MAX_DIGITS) throw notSendable(`a bigint of ${digits.length} digits`)
      return { [TAG]: 'n', v: digits }
    }
    case 'object':
      return value === null ? null : plainObject(value, depth + 1)
    default:
      throw notSendable(`a ${typeof value}`)
  }
}

function plainObject(value: object, depth: number): unknown {
  if (depth > MAX_DEPTH) throw notSendable(`data nested deeper than ${MAX_DEPTH}, or in a ring`)
  if (Array.isArray(value)) return Array.from(value, (item) => plain(item, depth))
  if (value instanceof Date) return { [TAG]: 'd', v: value.getTime() }
  if (value instanceof Uint8Array)
    return { [TAG]: 'b', v: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64') }
  const prototype = Object.getPrototypeOf(value) as object | null
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null)
    throw notSendable(`an instance of ${prototype.constructor?.name ?? 'a class'}`)
  const copy: Record<string, unknown> = {}
  for (const [key, item] of Object.entries(value)) {
    if (key === '__proto__') throw notSendable(`a property '${key}'`)
    if (item !== undefined) copy[key] = plain(item, depth)
  }
  return Object.hasOwn(copy, TAG) ? { [TAG]: 'o', v: copy } : copy
}

/** What `encodeValue` was given. @throws TroupeError `bad-frame` when it cannot have come from there */
export function decodeValue(text: string): unknown {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (cause) {
    throw badFrame('it is no JSON', cause)
  }
  return restored(parsed, 0)
}

function restored(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null) return value
  // A tagged object lies one deeper than what it stands for.
  if (depth > MAX_DEPTH * 2) throw badFrame('it is nested too deeply')
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) value[i] = restored(value[i], depth + 1)
    return value
  }
  const object = value as Record<string, unknown>
  return Object.hasOwn(object, TAG) ? untagged(object, depth) : restoredObject(object, depth)
}

function restoredObject(object: Record<string, unknown>, depth: number): Record<string, unknown> {
  for (const key of Object.keys(object)) {
    if (key === '__proto__') throw badFrame(`it has a property '${key}'`)
    object[key] = restored(object[key], depth + 1)
  }
  return object
}

function untagged(tagged: Record<string, unknown>, depth: number): unknown {
  const { [TAG]: tag, v } = tagged
  if (tag === 'u') return undefined
  if (tag === 'd' && (typeof v === 'number' || v === null)) return new Date(v ?? Number.NaN)
  if (tag === 'o' && typeof v === 'object' && v !== null) return restoredObject(v as Record<string, unknown>, depth + 1)
  if (typeof v !== 'string') throw badFrame(`it has an unknown tag`)
  if (tag === 'b') return new Uint8Array(Buffer.from(v, 'base64'))
  if (tag === 'n' && v.length <= MAX_DIGITS && /^-?\d+$/.test(v)) return BigInt(v)
  if (tag === 'f' && /^(-0|NaN|-?Infinity)$/.test(v)) return Number(v)
  throw badFrame(`it has an unknown tag`)
}

function notSendable(what: string): TroupeError {
  return new TroupeError({
    code: 'not-sendable',
    message: `${what} cannot be sent to another node`,
    remedy: 'send plain data: objects, arrays, text, numbers, bigints, dates, Uint8Arrays',
  })
}

export function badFrame(why: string, cause?: unknown): TroupeError {
  return new TroupeError({
    code: 'bad-frame',
    message: `what came from another node is not understood: ${why}`,
    remedy: 'look for a node of another version, or for another program that publishes to these subjects',
    ...(cause === undefined ? {} : { cause }),
  })
}
