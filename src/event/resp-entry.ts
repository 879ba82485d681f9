/**
 * The codec of Redis stream entries: the body of a record is the RESP array of the entry's fields as the server sent it,
 * `*2n\r\n$len\r\nfield\r\n$len\r\nvalue\r\n…`.
 *
 * The event's namespace is the database's number, its entity the stream. Its key is the field that the user named
 * as ordering key; without one, or where an entry lacks it, a single column `stream` with the stream's name. Of fields that
 * come twice, `get` gives the first; `visit` and `columns` give each.
 *
 * A value that is valid UTF-8 is a string, else a Uint8Array; `text()` always decodes as UTF-8 and then loses what is not.
 * Names are decoded as UTF-8. An entry's field `traceparent` is the event's.
 */
import { isUtf8 } from 'node:buffer'
import { type Codec, noHeaders, noNames, type Records } from './codec.js'
import type { Row, Value } from './event.js'
import { jsonOf, put } from './json.js'
import { frameError } from './layout.js'
import { valueRow } from './value-row.js'

export interface EntryTable {
  /** Field whose value is the ordering key; null: the stream is the key. */
  readonly keyField: string | null
}

interface DecodedEntryTable extends EntryTable {
  readonly keyFieldBytes: Uint8Array | null
}

/** The meta of a stream's `TableSpec`: the key field's name, or nothing. */
export function encodeEntryTable(table: EntryTable): Uint8Array {
  return new Uint8Array(Buffer.from(JSON.stringify([table.keyField]), 'utf8'))
}

function decodeEntryTable(meta: Uint8Array): DecodedEntryTable {
  try {
    const [keyField] = JSON.parse(Buffer.from(meta).toString('utf8')) as [string | null]
    return { keyField, keyFieldBytes: keyField === null ? null : Buffer.from(keyField, 'utf8') }
  } catch (cause) {
    throw frameError('record-corrupt', 'the description of a stream cannot be read', cause)
  }
}

type EntryRecords = Records<DecodedEntryTable>

export const respEntryCodec: Codec<DecodedEntryTable> = {
  decodeTable: decodeEntryTable,

  key(records, at) {
    const table = records.tableOf(at)
    if (table === null) return null
    const { keyField, keyFieldBytes } = table.meta
    if (keyField !== null && keyFieldBytes !== null) {
      const row = rowOf(records, at)
      const value = row.getField(keyFieldBytes)
      if (value !== undefined) return valueRow([keyField], [value])
    }
    return valueRow(streamColumns, [table.entity])
  },

  before: () => null,
  after: rowOf,
  unchanged: () => noNames,
  headers: () => noHeaders,
  tenant: () => null,

  traceparent(records, at) {
    const value = rowOf(records, at).getField(traceparentField)
    return typeof value === 'string' ? value : null
  },

  commitText: null,
}

const streamColumns: readonly string[] = Object.freeze(['stream'])
const traceparentField = Buffer.from('traceparent')

function rowOf(records: EntryRecords, at: number): EntryRow {
  return new EntryRow(records, records.bodyStart(at), records.bodyEnd(at))
}

/** Where the value of a field is in the bytes of an entry's array. Reused by the reader for each entry. */
export interface FoundField {
  start: number
  end: number
}

/**
 * For the reader's hot path: finds the value of the first field of that name in the RESP array that begins at `at`; false if
 * there is none. Trusts that the whole array is there.
 */
export function findField(bytes: Uint8Array, at: number, end: number, name: Uint8Array, found: FoundField): boolean {
  let cursor = afterLine(bytes, at, end)
  while (cursor < end) {
    const nameLength = lengthAt(bytes, cursor)
    const nameStart = afterLine(bytes, cursor, end)
    const value = nameStart + nameLength + 2
    const valueLength = lengthAt(bytes, value)
    const start = afterLine(bytes, value, end)
    if (nameLength === name.length && sameAt(bytes, nameStart, name)) {
      found.start = start
      found.end = start + valueLength
      return true
    }
    cursor = start + valueLength + 2
  }
  return false
}

/** The number after the type byte of a RESP line. */
function lengthAt(bytes: Uint8Array, at: number): number {
  let length = 0
  for (let digit = at + 1; bytes[digit]! >= 0x30; digit++) length = length * 10 + bytes[digit]! - 0x30
  return length
}

function afterLine(bytes: Uint8Array, at: number, end: number): number {
  let cursor = at + 1
  while (cursor < end && bytes[cursor] !== 0x0a) cursor++
  return cursor + 1
}

function sameAt(bytes: Uint8Array, at: number, name: Uint8Array): boolean {
  for (let index = 0; index < name.length; index++) if (bytes[at + index] !== name[index]) return false
  return true
}

class EntryRow implements Row {
  constructor(
    private readonly records: EntryRecords,
    private readonly start: number,
    private readonly end: number,
  ) {}

  get columns(): readonly string[] {
    const names: string[] = []
    this.visit((name) => {
      names.push(name)
    })
    return names
  }

  get(column: string): Value | undefined {
    return this.getField(fieldBytes(column))
  }

  text(column: string): string | undefined {
    const at = this.find(fieldBytes(column))
    return at < 0 ? undefined : this.records.bytes.utf8Slice(this.valueStart, this.valueEnd)
  }

  has(column: string): boolean {
    return this.find(fieldBytes(column)) >= 0
  }

  visit(visitor: (name: string, bytes: Uint8Array, start: number, end: number) => void): void {
    this.walk((nameStart, nameEnd) => {
      visitor(this.records.bytes.utf8Slice(nameStart, nameEnd), this.records.bytes, this.valueStart, this.valueEnd)
      return false
    })
  }

  toObject(): Record<string, Value> {
    return this.gather((value) => value)
  }

  toJSON(): Record<string, unknown> {
    return this.gather(jsonOf)
  }

  getField(name: Uint8Array): Value | undefined {
    return this.find(name) < 0 ? undefined : this.value()
  }

  private valueStart = 0
  private valueEnd = 0

  private gather<T>(make: (value: Value) => T): Record<string, T> {
    const object: Record<string, T> = {}
    this.walk((nameStart, nameEnd) => {
      const name = this.records.bytes.utf8Slice(nameStart, nameEnd)
      if (!Object.hasOwn(object, name)) put(object, name, make(this.value()))
      return false
    })
    return object
  }

  private value(): Value {
    const { bytes } = this.records
    // isUtf8 needs a view; most values are short and ASCII, which a loop sees sooner.
    if (isAscii(bytes, this.valueStart, this.valueEnd)) return bytes.latin1Slice(this.valueStart, this.valueEnd)
    const view = bytes.subarray(this.valueStart, this.valueEnd)
    return isUtf8(view) ? bytes.utf8Slice(this.valueStart, this.valueEnd) : new Uint8Array(view)
  }

  private find(name: Uint8Array): number {
    const { bytes } = this.records
    return this.walk((start, end) => end - start === name.length && sameAt(bytes, start, name))
  }

  /** Visits name by name, the value's place in `valueStart` and `valueEnd`, until one is taken: gives its place, or -1. */
  private walk(take: (nameStart: number, nameEnd: number) => boolean): number {
    const { bytes } = this.records
    let cursor = afterLine(bytes, this.start, this.end)
    while (cursor < this.end) {
      const nameStart = afterLine(bytes, cursor, this.end)
      const nameEnd = nameStart + this.bulkLength(cursor)
      const value = nameEnd + 2
      this.valueStart = afterLine(bytes, value, this.end)
      this.valueEnd = this.valueStart + this.bulkLength(value)
      if (this.valueEnd + 2 > this.end) this.corrupt(cursor)
      if (take(nameStart, nameEnd)) return nameStart
      cursor = this.valueEnd + 2
    }
    return -1
  }

  private bulkLength(at: number): number {
    if (at >= this.end || this.records.bytes[at] !== 0x24) this.corrupt(at)
    return lengthAt(this.records.bytes, at)
  }

  private corrupt(at: number): never {
    throw frameError('record-corrupt', `no field begins at ${at} of an entry that ends at ${this.end}`)
  }
}

function isAscii(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start > 64) return false
  for (let at = start; at < end; at++) if (bytes[at]! > 0x7f) return false
  return true
}

/** The bytes of a column's name: handlers ask for the same few names again and again. */
const knownNames = new Map<string, Uint8Array>()
const maxKnownNames = 1024

function fieldBytes(name: string): Uint8Array {
  const known = knownNames.get(name)
  if (known !== undefined) return known
  if (knownNames.size >= maxKnownNames) knownNames.clear()
  const bytes = new Uint8Array(Buffer.from(name, 'utf8'))
  knownNames.set(name, bytes)
  return bytes
}
