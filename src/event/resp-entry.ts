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
import type { FrameBytes } from './bytes.js'
import { type Codec, noHeaders, noNames, type Records } from './codec.js'
import type { Row, Value } from './event.js'
import { jsonOf, put } from './json.js'
import { keyTextOf } from './key-text.js'
import { frameError } from './layout.js'
import { utf8Text } from './text.js'
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

  keyText: (records, at) => keyTextOf(respEntryCodec.key(records, at)),
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

/** Where the value of the bulk string is whose `$` was read last: `bulkStart` gives its start, here is its end. */
let bulkEnd = 0

/** Reads `$len\r\n` at `at`: gives where the string begins and leaves its end in `bulkEnd`; -1 where no whole bulk string is. */
function bulkStart(bytes: Uint8Array, at: number, end: number): number {
  if (bytes[at] !== 0x24) return -1
  let length = 0
  let cursor = at + 1
  for (; cursor < end; cursor++) {
    const digit = bytes[cursor]! - 0x30
    if (digit < 0 || digit > 9) break
    length = length * 10 + digit
  }
  bulkEnd = cursor + 2 + length
  return bulkEnd + 2 > end ? -1 : cursor + 2
}

/** The first byte after the array's head, `*2n\r\n`. */
function firstField(bytes: Uint8Array, at: number, end: number): number {
  let cursor = at
  while (cursor < end && bytes[cursor] !== 0x0a) cursor++
  return cursor + 1
}

/**
 * Finds the value of the first field of that name in the RESP array of `bytes[at..end)`; false if there is none.
 * @throws TroupeError `record-corrupt` where the bytes are no such array
 */
export function findField(bytes: Uint8Array, at: number, end: number, name: Uint8Array, found: FoundField): boolean {
  let cursor = firstField(bytes, at, end)
  while (cursor < end) {
    const nameStart = bulkStart(bytes, cursor, end)
    const nameEnd = bulkEnd
    if (nameStart < 0) corruptEntry(cursor, end)
    const start = bulkStart(bytes, nameEnd + 2, end)
    if (start < 0) corruptEntry(nameEnd + 2, end)
    if (nameEnd - nameStart === name.length && sameAt(bytes, nameStart, name)) {
      found.start = start
      found.end = bulkEnd
      return true
    }
    cursor = bulkEnd + 2
  }
  return false
}

function corruptEntry(at: number, end: number): never {
  throw frameError('record-corrupt', `no field begins at ${at} of an entry that ends at ${end}`)
}

function sameAt(bytes: Uint8Array, at: number, name: Uint8Array): boolean {
  for (let index = 0; index < name.length; index++) if (bytes[at + index] !== name[index]) return false
  return true
}

class EntryRow implements Row, FoundField {
  /** The value that was found last. */
  start = 0
  end = 0

  constructor(
    private readonly records: Pick<Records, 'bytes'>,
    private readonly bodyStart: number,
    private readonly bodyEnd: number,
  ) {}

  /** Through the frame each time: a row that outlives it says so. */
  private get bytes(): FrameBytes {
    return this.records.bytes
  }

  get columns(): readonly string[] {
    const names: string[] = []
    this.each((name) => names.push(name))
    return names
  }

  get(column: string): Value | undefined {
    return this.getField(fieldBytes(column))
  }

  text(column: string): string | undefined {
    return this.find(fieldBytes(column)) ? utf8Text(this.bytes, this.start, this.end) : undefined
  }

  has(column: string): boolean {
    return this.find(fieldBytes(column))
  }

  visit(visitor: (name: string, bytes: Uint8Array, start: number, end: number) => void): void {
    this.each((name) => visitor(name, this.bytes, this.start, this.end))
  }

  toObject(): Record<string, Value> {
    return this.gather((value) => value)
  }

  toJSON(): Record<string, unknown> {
    return this.gather(jsonOf)
  }

  /** As `get`, by the name's bytes. */
  getField(name: Uint8Array): Value | undefined {
    return this.find(name) ? this.value() : undefined
  }

  private find(name: Uint8Array): boolean {
    return findField(this.bytes, this.bodyStart, this.bodyEnd, name, this)
  }

  private gather<T>(make: (value: Value) => T): Record<string, T> {
    const object: Record<string, T> = {}
    this.each((name) => {
      if (!Object.hasOwn(object, name)) put(object, name, make(this.value()))
    })
    return object
  }

  /** Visits field by field; the value's place is in `start` and `end`. */
  private each(take: (name: string) => void): void {
    const { bytes, bodyEnd } = this
    let cursor = firstField(bytes, this.bodyStart, bodyEnd)
    while (cursor < bodyEnd) {
      const nameStart = bulkStart(bytes, cursor, bodyEnd)
      const nameEnd = bulkEnd
      if (nameStart < 0) corruptEntry(cursor, bodyEnd)
      const start = bulkStart(bytes, nameEnd + 2, bodyEnd)
      const next = bulkEnd + 2
      if (start < 0) corruptEntry(nameEnd + 2, bodyEnd)
      this.start = start
      this.end = next - 2
      take(utf8Text(bytes, nameStart, nameEnd))
      cursor = next
    }
  }

  private value(): Value {
    const { bytes, start, end } = this
    const text = utf8Text(bytes, start, end)
    // What is not UTF-8 leaves this character; so, rarely, does a text that holds it.
    if (!text.includes('\ufffd') || isUtf8(bytes.subarray(start, end))) return text
    return new Uint8Array(bytes.subarray(start, end))
  }
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
