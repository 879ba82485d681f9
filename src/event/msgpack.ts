/**
 * The codec of sources that have no bytes of their own: the body of a record is a msgpack of the change.
 *
 * Every Value comes back as it was, bigint of any size included; only −0 comes back as 0. The body is decoded whole each time that a part of it is read.
 */
import { Packr } from 'msgpackr'
import { type Codec, noHeaders, type Records } from './codec.js'
import type { Row, Value } from './event.js'
import { isList, put } from './json.js'
import { keyTextOf } from './key-text.js'
import { frameError } from './layout.js'
import { valueRow } from './value-row.js'

export type Columns = Readonly<Record<string, Value>>

/** What a change holds besides its record's head and its table. */
export interface Change {
  readonly key?: Columns | null
  readonly before?: Columns | null
  readonly after?: Columns | null
  readonly unchanged?: readonly string[]
  readonly headers?: Readonly<Record<string, string>>
  readonly tenant?: string | null
  readonly traceparent?: string | null
}

/** Names and values side by side: a column may be called anything, `__proto__` too. */
type PackedRow = readonly [names: readonly string[], values: readonly Value[]] | null
type PackedChange = readonly [
  key: PackedRow,
  before: PackedRow,
  after: PackedRow,
  unchanged: readonly string[],
  headers: PackedRow,
  tenant: string | null,
  traceparent: string | null,
]

const packr = new Packr({ useRecords: false, mapsAsObjects: true, useBigIntExtension: true, int64AsType: 'bigint' })

/** The body of a record. The table's meta is empty. */
export function encodeChange(change: Change): Uint8Array {
  const packed: PackedChange = [
    packRow(change.key),
    packRow(change.before),
    packRow(change.after),
    change.unchanged ?? [],
    packRow(change.headers),
    change.tenant ?? null,
    change.traceparent ?? null,
  ]
  return packr.pack(packed)
}

function packRow(row: Columns | null | undefined): PackedRow {
  return row === null || row === undefined ? null : [Object.keys(row), Object.values(row)]
}

function changeAt(records: Records, at: number): PackedChange {
  // A copy: msgpackr gives binary values as views, which would pin the frame.
  const body = new Uint8Array(records.bytes.subarray(records.bodyStart(at), records.bodyEnd(at)))
  try {
    const change: unknown = packr.unpack(body)
    if (!isPackedChange(change)) throw new TypeError('not a change')
    return change
  } catch (cause) {
    throw frameError('record-corrupt', 'a change in msgpack cannot be read', cause)
  }
}

function isPackedChange(change: unknown): change is PackedChange {
  if (!Array.isArray(change) || change.length !== 7) return false
  const [key, before, after, unchanged, headers, tenant, traceparent] = change as unknown[]
  return (
    [key, before, after, headers].every(isPackedRow) &&
    isTexts(unchanged) &&
    [tenant, traceparent].every((text) => text === null || typeof text === 'string')
  )
}

function isPackedRow(row: unknown): row is PackedRow {
  if (row === null) return true
  if (!Array.isArray(row) || row.length !== 2) return false
  const [names, values] = row as unknown[]
  return isTexts(names) && Array.isArray(values) && values.length === names.length
}

function isTexts(texts: unknown): texts is readonly string[] {
  return Array.isArray(texts) && texts.every((text) => typeof text === 'string')
}

function rowFrom(packed: PackedRow): Row | null {
  return packed === null ? null : valueRow(packed[0], packed[1].map(plainBytes))
}

/** msgpackr gives a Buffer for bytes; a Value is a plain Uint8Array. */
function plainBytes(value: Value): Value {
  if (value === null || typeof value !== 'object') return value
  if (value instanceof Uint8Array) return new Uint8Array(value)
  if (isList(value)) return value.map(plainBytes)
  const object: Record<string, Value> = {}
  for (const [name, member] of Object.entries(value)) put(object, name, plainBytes(member))
  return object
}

export const msgpackCodec: Codec<null> = {
  decodeTable: () => null,
  key: (records, at) => rowFrom(changeAt(records, at)[0]),
  keyText: (records, at) => keyTextOf(rowFrom(changeAt(records, at)[0])),
  before: (records, at) => rowFrom(changeAt(records, at)[1]),
  after: (records, at) => rowFrom(changeAt(records, at)[2]),
  unchanged: (records, at) => changeAt(records, at)[3],
  headers(records, at) {
    const packed = changeAt(records, at)[4]
    if (packed === null) return noHeaders
    return Object.fromEntries(packed[0].map((name, index) => [name, String(packed[1][index])]))
  },
  tenant: (records, at) => changeAt(records, at)[5],
  traceparent: (records, at) => changeAt(records, at)[6],
  commitText: null,
}
