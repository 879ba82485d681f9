/**
 * Strings from the bytes of a frame.
 *
 * A native slice costs about 100 ns however short it is, and most keys, names and numbers are short: up to 16 ASCII bytes are made
 * into a string here, in a third to a half of that.
 */
import type { FrameBytes } from './bytes.js'

const shortBytes = 16

/** The UTF-8 of `bytes[start..end)`. */
export function utf8Text(bytes: FrameBytes, start: number, end: number): string {
  if (end - start <= shortBytes && start + shortBytes <= bytes.length) {
    const text = shortText(bytes, start, end - start)
    if (text !== null) return text
  }
  return bytes.utf8Slice(start, end)
}

/**
 * Reads 4, 8 or 16 bytes at once and cuts what is too many. Null where one of them is not ASCII, also one behind the end:
 * then the native slice decides.
 */
function shortText(bytes: FrameBytes, at: number, length: number): string | null {
  const a = bytes[at]!
  const b = bytes[at + 1]!
  const c = bytes[at + 2]!
  const d = bytes[at + 3]!
  if (length <= 4) return (a | b | c | d) > 0x7f ? null : String.fromCharCode(a, b, c, d).slice(0, length)
  const e = bytes[at + 4]!
  const f = bytes[at + 5]!
  const g = bytes[at + 6]!
  const h = bytes[at + 7]!
  const half = a | b | c | d | e | f | g | h
  if (length <= 8) return half > 0x7f ? null : String.fromCharCode(a, b, c, d, e, f, g, h).slice(0, length)
  const i = bytes[at + 8]!
  const j = bytes[at + 9]!
  const k = bytes[at + 10]!
  const l = bytes[at + 11]!
  const m = bytes[at + 12]!
  const n = bytes[at + 13]!
  const o = bytes[at + 14]!
  const p = bytes[at + 15]!
  if ((half | i | j | k | l | m | n | o | p) > 0x7f) return null
  return String.fromCharCode(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p).slice(0, length)
}
