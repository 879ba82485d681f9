/**
 * The text that PostgreSQL sends for a column, as a Value without loss (docs/postgres-types.md).
 *
 * Expects a session with DateStyle ISO, TimeZone UTC, IntervalStyle postgres, bytea_output hex and extra_float_digits 3 (or its
 * modern default). Text that a decoder does not know is given as it is, never dropped and never guessed at.
 */
import type { FrameBytes } from './bytes.js'
import type { Value } from './event.js'
import { utf8Text } from './text.js'

/** Decodes one type: from text (inside arrays, composites, ranges) and, where it pays, straight from the frame's bytes. */
export interface Decoder {
  text(text: string): Value
  bytes(bytes: FrameBytes, start: number, end: number): Value
}

export function decoderOf(text: (text: string) => Value): Decoder {
  return { text, bytes: (bytes, start, end) => text(utf8Text(bytes, start, end)) }
}

/** The same for types whose text is ASCII. */
function asciiDecoder(text: (text: string) => Value): Decoder {
  return { text, bytes: (bytes, start, end) => text(bytes.latin1Slice(start, end)) }
}

export const textDecoder: Decoder = {
  text: (text) => text,
  bytes: utf8Text,
}

export const boolDecoder: Decoder = {
  text: (text) => text === 't' || text === 'true',
  bytes: (bytes, start) => bytes[start] === 0x74,
}

/** int2, int4, oid: always safe as a number. */
export const integerDecoder: Decoder = { text: Number, bytes: (bytes, start, end) => integerAt(bytes, start, end) }

/** int8: bigint, whatever its size, so that the type does not change with the value. */
export const bigintDecoder: Decoder = {
  text: bigintOf,
  bytes: (bytes, start, end) =>
    end - start <= 15 ? BigInt(integerAt(bytes, start, end)) : bigintOf(bytes.latin1Slice(start, end)),
}

/** float4, float8: the shortest text that gives the same number; `NaN`, `Infinity`, `-Infinity`. */
export const floatDecoder: Decoder = asciiDecoder(Number)

export const byteaDecoder: Decoder = asciiDecoder(bytea)

/** `2026-11-22 06:16:57.123456` → `2026-11-22T06:16:57.123456`; infinity as it is; BC kept. */
export const timestampDecoder: Decoder = asciiDecoder((text) => text.replace(' ', 'T'))

/** As timestamp, and the zone of UTC, `+00`, as `Z`. */
export const timestamptzDecoder: Decoder = asciiDecoder(timestamptz)

/** int2vector, oidvector: numbers between blanks. */
export const vectorDecoder: Decoder = asciiDecoder((text) => (text === '' ? [] : text.split(' ').map(Number)))

function integerAt(bytes: FrameBytes, start: number, end: number): number {
  let at = start
  const negative = bytes[at] === 0x2d
  if (negative) at++
  let number = 0
  for (; at < end; at++) number = number * 10 + bytes[at]! - 0x30
  return negative ? -number : number
}

function bigintOf(text: string): Value {
  return /^-?\d+$/.test(text) ? BigInt(text) : text
}

function timestamptz(text: string): string {
  // The common case, which no search is made for: a year of four digits, in UTC.
  if (text.charCodeAt(10) === 0x20 && text.endsWith('+00')) return `${text.slice(0, 10)}T${text.slice(11, -3)}Z`
  const iso = text.replace(' ', 'T')
  if (iso.endsWith('+00')) return `${iso.slice(0, -3)}Z`
  if (iso.endsWith('+00 BC')) return `${iso.slice(0, -6)}Z BC`
  return iso
}

function bytea(text: string): Uint8Array {
  if (text.startsWith('\\x')) return new Uint8Array(Buffer.from(text.slice(2), 'hex'))
  return escapedBytea(text)
}

/** bytea_output escape: `\\` is a backslash, `\ooo` an octet. */
function escapedBytea(text: string): Uint8Array {
  const octets: number[] = []
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== '\\') octets.push(text.charCodeAt(at))
    else if (text[at + 1] === '\\') octets.push(text.charCodeAt(++at))
    else {
      octets.push(Number.parseInt(text.slice(at + 1, at + 4), 8))
      at += 3
    }
  }
  return new Uint8Array(octets)
}
