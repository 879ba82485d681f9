/**
 * pgoutput's TupleData as bytes: finding a column, hashing a key, comparing two keys, all without decoding.
 *
 * `tuple` is the offset of the column count (Int16), which follows the byte `N`, `O` or `K`. Format: the manual's chapter
 * "Logical Replication Message Formats". The hot path of the reader uses these functions on its socket's chunks; they trust
 * that the whole message is there, and give a RangeError-free answer only then.
 */
import { hashBytes, hashNull } from './hash.js'

/** Kinds of a column. */
export const columnKind = { null: 0x6e, unchanged: 0x75, text: 0x74, binary: 0x62 } as const
/** Kinds of a tuple: the byte before it. */
export const tupleKind = { new: 0x4e, old: 0x4f, key: 0x4b } as const
/** "There is no such tuple." */
export const noTuple = -1

function uint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
}

export function columnCount(bytes: Uint8Array, tuple: number): number {
  return (bytes[tuple]! << 8) | bytes[tuple + 1]!
}

/** Where the column after the one at `at` begins. */
export function nextColumn(bytes: Uint8Array, at: number): number {
  const kind = bytes[at]
  return kind === columnKind.text || kind === columnKind.binary ? at + 5 + uint32(bytes, at + 1) : at + 1
}

/** Where column `number` begins: its kind byte; its length and value follow if it has one. */
export function columnAt(bytes: Uint8Array, tuple: number, number: number): number {
  let at = tuple + 2
  for (let column = 0; column < number; column++) at = nextColumn(bytes, at)
  return at
}

/** The first byte after the tuple. */
export function tupleEnd(bytes: Uint8Array, tuple: number): number {
  return columnAt(bytes, tuple, columnCount(bytes, tuple))
}

/**
 * Hash of the key columns' text, the same for a new and an old tuple, an insert and a delete. A key column that the new
 * tuple does not send (unchanged TOAST) is taken from `old`, if there is one. Without key columns 0.
 */
export function tupleKeyHash(bytes: Uint8Array, tuple: number, old: number, keyColumns: readonly number[]): number {
  let hash = 0
  for (let index = 0; index < keyColumns.length; index++) {
    const number = keyColumns[index]!
    let at = columnAt(bytes, tuple, number)
    if (bytes[at] === columnKind.unchanged && old !== noTuple) at = columnAt(bytes, old, number)
    const kind = bytes[at]
    if (kind !== columnKind.text && kind !== columnKind.binary) hash = hashNull(hash)
    else hash = hashBytes(bytes, at + 5, at + 5 + uint32(bytes, at + 1), hash)
  }
  return hash
}

/** Whether two tuples bear the same key, byte by byte. A key column that the new tuple does not send is the same. */
export function sameTupleKey(bytes: Uint8Array, tuple: number, old: number, keyColumns: readonly number[]): boolean {
  for (let index = 0; index < keyColumns.length; index++) {
    const number = keyColumns[index]!
    const a = columnAt(bytes, tuple, number)
    if (bytes[a] === columnKind.unchanged) continue
    if (!sameColumn(bytes, a, columnAt(bytes, old, number))) return false
  }
  return true
}

function sameColumn(bytes: Uint8Array, a: number, b: number): boolean {
  const length = nextColumn(bytes, a) - a
  if (nextColumn(bytes, b) - b !== length) return false
  for (let at = 0; at < length; at++) if (bytes[a + at] !== bytes[b + at]) return false
  return true
}

/** Whether the new tuple leaves out a column that `old` does not bring: the insert half of a key change is then `incomplete`. */
export function lacksColumns(bytes: Uint8Array, tuple: number): boolean {
  const count = columnCount(bytes, tuple)
  let at = tuple + 2
  for (let column = 0; column < count; column++) {
    if (bytes[at] === columnKind.unchanged) return true
    at = nextColumn(bytes, at)
  }
  return false
}
