/**
 * The codec of PostgreSQL's rows: the body of a record is a slice of pgoutput's message as the server sent it.
 *
 * | message | slice that the reader records | records |
 * |---|---|---|
 * | Insert | from the byte `N` to the end | one: insert |
 * | Update, same key | from `K`, `O` or `N` to the end | one: update |
 * | Update, other key | the same slice twice | delete (part 0, hash of the old key), insert (part 1, hash of the new key) |
 * | Delete | from `K` or `O` to the end | one: delete |
 * | Truncate | its option byte | one barrier for each relation, each with an ordinal of its own, keyHash 0 |
 * | Message | from its flags byte to the end | one: message, of the table that `messageTable` gives |
 * | snapshot row | `N` and a tuple | one: read |
 *
 * So the slice begins after the relation's OID, wherever that stands (protocol v1, or v2 and later with the xid before it).
 *
 * A column that the new tuple leaves out (unchanged TOAST) is taken from the old tuple where that brings it; otherwise it is
 * absent and named in `unchanged`. The reader sets `incomplete` on the insert half of a key change for which `lacksColumns`
 * is true and no `O` tuple was sent.
 */
import { isUtf8 } from 'node:buffer'
import { type Codec, noHeaders, noNames, type Records } from './codec.js'
import type { Row, Value } from './event.js'
import type { TableSpec } from './frame.js'
import { keyTextOf } from './key-text.js'
import { frameError, head, operationOf } from './layout.js'
import { type DecodedRelation, decodeRelation, type Selection } from './relation.js'
import { columnCount, noTuple, tupleKind } from './tuple.js'
import { TupleRow } from './tuple-row.js'
import { valueRow } from './value-row.js'

type RelationRecords = Records<DecodedRelation | null>

/** The table of logical decoding messages: they belong to no relation. */
export function messageTable(index: number): TableSpec {
  return { index, namespace: '', entity: 'message', schemaVersion: 0, meta: new Uint8Array(0) }
}

/** `0/16B3748`, from the two halves of an LSN. */
export function lsnText(high: number, low: number): string {
  return `${high.toString(16).toUpperCase()}/${low.toString(16).toUpperCase()}`
}

export const pgoutputCodec: Codec<DecodedRelation | null> = {
  decodeTable: (meta) => (meta.length === 0 ? null : decodeRelation(meta)),

  key(records, at) {
    const relation = relationOf(records, at)
    return relation === null ? null : keyRow(records, at, relation)
  },

  keyText(records, at) {
    const relation = relationOf(records, at)
    if (relation === null) return ''
    const row = keyRow(records, at, relation)
    if (row === null) return ''
    const { numbers } = relation.key
    return numbers.length === 1 ? (row.textOf(numbers[0]!) ?? '') : keyTextOf(row, relation.key.names)
  },

  before(records, at) {
    const operation = operationAt(records, at)
    if (operation !== operationOf.update && operation !== operationOf.delete) return null
    const relation = relationOf(records, at)
    return relation === null ? null : oldRow(records, at, relation, null)
  },

  after(records, at) {
    const operation = operationAt(records, at)
    if (operation === operationOf.message) return messageRow(records, at)
    if (operation === operationOf.delete) return null
    const relation = relationOf(records, at)
    return relation === null ? null : newRow(records, at, relation, relation.all)
  },

  unchanged(records, at) {
    if (operationAt(records, at) === operationOf.delete) return noNames
    const relation = relationOf(records, at)
    return relation === null ? noNames : (newRow(records, at, relation, relation.all)?.unchanged() ?? noNames)
  },

  headers(records, at) {
    const operation = operationAt(records, at)
    if (operation === operationOf.truncate) return truncateHeaders(records, at)
    return operation === operationOf.message ? messageHeaders(records, at) : noHeaders
  },

  tenant: () => null,
  traceparent: () => null,
  commitText: lsnText,
}

function operationAt(records: RelationRecords, at: number): number {
  return records.view.getUint8(at + head.operation)
}

/** The relation of a record that holds a row; null for truncates and messages. */
function relationOf(records: RelationRecords, at: number): DecodedRelation | null {
  const operation = operationAt(records, at)
  if (operation === operationOf.truncate || operation === operationOf.message) return null
  const relation = records.tableOf(at)?.meta
  if (relation == null) throw frameError('record-corrupt', 'a row without the description of its relation')
  return relation
}

function keyRow(records: RelationRecords, at: number, relation: DecodedRelation): TupleRow | null {
  if (relation.relation.keyColumns.length === 0) return null
  const isDelete = operationAt(records, at) === operationOf.delete
  return isDelete ? oldRow(records, at, relation, relation.key) : newRow(records, at, relation, relation.key)
}

/** The old tuple as a row: with a selection the columns of it, else all that it holds. Null where none was sent. */
function oldRow(
  records: RelationRecords,
  at: number,
  relation: DecodedRelation,
  selection: Selection | null,
): TupleRow | null {
  const start = records.bodyStart(at)
  const kind = records.bytes[start]
  if (kind !== tupleKind.old && kind !== tupleKind.key) return null
  const holds = kind === tupleKind.old ? relation.all : relation.identity
  return new TupleRow(records, relation, selection ?? holds, start + 1, noTuple, records.bodyEnd(at))
}

/** The new tuple as a row, helped by the old one. */
function newRow(
  records: RelationRecords,
  at: number,
  relation: DecodedRelation,
  selection: Selection,
): TupleRow | null {
  const start = records.bodyStart(at)
  const end = records.bodyEnd(at)
  const kind = records.bytes[start]
  if (kind === tupleKind.new) return new TupleRow(records, relation, selection, start + 1, noTuple, end)
  if (kind !== tupleKind.old && kind !== tupleKind.key)
    throw frameError('record-corrupt', `a row begins with byte ${kind}, not with N, O or K`)
  const fresh = endOfTuple(records, start + 1, end)
  if (records.bytes[fresh] !== tupleKind.new) throw frameError('record-corrupt', 'an old row without a new one')
  return new TupleRow(records, relation, selection, fresh + 1, start + 1, end)
}

/** Like `tupleEnd`, for bytes that are not trusted. */
function endOfTuple(records: RelationRecords, tuple: number, end: number): number {
  const { bytes, view } = records
  const count = columnCount(bytes, tuple)
  let at = tuple + 2
  for (let column = 0; column < count; column++) {
    const kind = bytes[at]
    if (kind === 0x74 || kind === 0x62) {
      if (at + 5 > end) throw frameError('record-corrupt', 'an old row is cut')
      at += 5 + view.getUint32(at + 1)
    } else at++
    if (at >= end) throw frameError('record-corrupt', 'an old row is cut')
  }
  return at
}

function truncateHeaders(records: RelationRecords, at: number): Readonly<Record<string, string>> {
  const options = records.bytes[records.bodyStart(at)] ?? 0
  return { cascade: String((options & 1) !== 0), restartIdentity: String((options & 2) !== 0) }
}

/** Message: Int8 flags, Int64 LSN, String prefix, Int32 length, content. */
function messageParts(records: RelationRecords, at: number) {
  const start = records.bodyStart(at)
  const end = records.bodyEnd(at)
  const prefixEnd = records.bytes.indexOf(0, start + 9)
  if (prefixEnd < 0 || prefixEnd + 5 > end) throw frameError('record-corrupt', 'a message is cut')
  const content = prefixEnd + 5
  const contentEnd = content + records.view.getUint32(prefixEnd + 1)
  if (contentEnd !== end) throw frameError('record-corrupt', 'a message is not as long as it says')
  return { start, prefix: records.bytes.utf8Slice(start + 9, prefixEnd), content, contentEnd }
}

function messageHeaders(records: RelationRecords, at: number): Readonly<Record<string, string>> {
  const { start, prefix } = messageParts(records, at)
  const { bytes, view } = records
  return {
    prefix,
    transactional: String((bytes[start]! & 1) !== 0),
    lsn: lsnText(view.getUint32(start + 1), view.getUint32(start + 5)),
  }
}

function messageRow(records: RelationRecords, at: number): Row {
  const { prefix, content, contentEnd } = messageParts(records, at)
  const bytes = records.bytes.subarray(content, contentEnd)
  const value: Value = isUtf8(bytes) ? records.bytes.utf8Slice(content, contentEnd) : new Uint8Array(bytes)
  return valueRow(messageColumns, [prefix, value])
}

const messageColumns: readonly string[] = Object.freeze(['prefix', 'content'])
