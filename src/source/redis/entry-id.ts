/**
 * Entry ids, `ms-seq`, as unsigned halves of 32 bits: both numbers go to 2^64-1, and the hot path makes no bigint.
 *
 * The names are those of a record's head, so that an id can be parsed straight into one.
 */
import type { Position } from '../../event/position.js'

export interface EntryId {
  majorHigh: number
  majorLow: number
  minorHigh: number
  minorLow: number
}

const HALF = 2 ** 32
/** Up to this many digits a number is exact. */
const EXACT_DIGITS = 15
/** Milliseconds of an id that we take for a time: 1973 to the year 9999. Ids may be any numbers. */
const FIRST_TIME = 100_000_000_000
const LAST_TIME = 253_402_300_799_999
/** Below 2^51: a number that survives being doubled. */
const PLAIN_HIGH = 2 ** 19

export function zeroId(): EntryId {
  return { majorHigh: 0, majorLow: 0, minorHigh: 0, minorLow: 0 }
}

/** Parses `bytes[start..end)`, as Redis wrote it. */
export function parseId(bytes: Uint8Array, start: number, end: number, into: EntryId): void {
  let at = start
  let major = 0
  for (; at < end; at++) {
    const digit = bytes[at]!
    if (digit === 0x2d) break
    major = major * 10 + digit - 0x30
  }
  if (at - start > EXACT_DIGITS || end - at - 1 > EXACT_DIGITS) {
    copyId(idOfText(Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1')), into)
    return
  }
  let minor = 0
  for (at++; at < end; at++) minor = minor * 10 + bytes[at]! - 0x30
  into.majorHigh = (major / HALF) | 0
  into.majorLow = major >>> 0
  into.minorHigh = (minor / HALF) | 0
  into.minorLow = minor >>> 0
}

/** @throws RangeError where the text is no entry id */
export function idOfText(text: string): EntryId {
  const match = /^(\d{1,20})-(\d{1,20})$/.exec(text)
  if (match === null) throw new RangeError(`not an entry id: ${JSON.stringify(text.slice(0, 64))}`)
  return idOfPosition({ major: BigInt(match[1]!), minor: BigInt(match[2]!) })
}

export function idOfPosition(position: Pick<Position, 'major' | 'minor'>): EntryId {
  return {
    majorHigh: Number(position.major >> 32n),
    majorLow: Number(position.major & 0xffffffffn),
    minorHigh: Number(position.minor >> 32n),
    minorLow: Number(position.minor & 0xffffffffn),
  }
}

export function copyId(from: EntryId, into: EntryId): void {
  into.majorHigh = from.majorHigh
  into.majorLow = from.majorLow
  into.minorHigh = from.minorHigh
  into.minorLow = from.minorLow
}

/** Negative, zero or positive, as `a` stands before, at or after `b`. */
export function compareIds(a: EntryId, b: EntryId): number {
  if (a.majorHigh !== b.majorHigh) return a.majorHigh - b.majorHigh
  if (a.majorLow !== b.majorLow) return a.majorLow - b.majorLow
  if (a.minorHigh !== b.minorHigh) return a.minorHigh - b.minorHigh
  return a.minorLow - b.minorLow
}

export function isZero(id: EntryId): boolean {
  return id.majorHigh === 0 && id.majorLow === 0 && id.minorHigh === 0 && id.minorLow === 0
}

export function idText(id: EntryId): string {
  return `${numberText(id.majorHigh, id.majorLow)}-${numberText(id.minorHigh, id.minorLow)}`
}

function numberText(high: number, low: number): string {
  return high < PLAIN_HIGH ? String(high * HALF + low) : String((BigInt(high) << 32n) | BigInt(low))
}

/** The id right behind this one: where an exclusive range begins on servers that know no `(`. */
export function idAfter(id: EntryId): EntryId {
  const next = { ...id }
  if (next.minorLow !== HALF - 1) next.minorLow++
  else if (next.minorHigh !== HALF - 1) {
    next.minorLow = 0
    next.minorHigh++
  } else {
    next.minorLow = 0
    next.minorHigh = 0
    next.majorHigh += next.majorLow === HALF - 1 ? 1 : 0
    next.majorLow = (next.majorLow + 1) >>> 0
  }
  return next
}

/** True where both numbers lie below 2^51, so that differences can be computed as numbers. */
export function isPlain(id: EntryId): boolean {
  return id.majorHigh < PLAIN_HIGH && id.minorHigh < PLAIN_HIGH
}

export function plainMajor(id: EntryId): number {
  return id.majorHigh * HALF + id.majorLow
}

export function plainMinor(id: EntryId): number {
  return id.minorHigh * HALF + id.minorLow
}

export function setPlain(id: EntryId, major: number, minor: number): void {
  id.majorHigh = (major / HALF) | 0
  id.majorLow = major >>> 0
  id.minorHigh = (minor / HALF) | 0
  id.minorLow = minor >>> 0
}

/** Microseconds since the Unix epoch; NaN where the id's first number is no time. */
export function timeOf(id: EntryId): number {
  const ms = id.majorHigh * HALF + id.majorLow
  return ms >= FIRST_TIME && ms <= LAST_TIME ? ms * 1000 : Number.NaN
}
