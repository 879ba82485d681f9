/**
 * Relations as pgoutput announces them, and which columns of a row are its key under each replica identity:
 *
 * | identity | the key |
 * |---|---|
 * | default, index | the columns that the server flags: primary key or index |
 * | full | the primary key if the table has one, else every column |
 * | nothing | the primary key if the table has one (only inserts can be published), else none |
 */
import type { RelationColumn, ReplicaIdentity } from '../../event/relation.js'

export interface RelationMessage {
  readonly oid: number
  readonly namespace: string
  readonly name: string
  readonly identity: ReplicaIdentity
  readonly columns: readonly RelationColumn[]
}

/** Reads a Relation message (manual, "Logical Replication Message Formats"); `start` is its type byte. */
export function readRelation(bytes: Uint8Array, start: number, end: number): RelationMessage {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = start + 5
  const text = (): string => {
    const stop = buffer.indexOf(0, at)
    if (stop < 0 || stop >= end) throw new RangeError('a Relation message ends inside a name')
    const value = buffer.toString('utf8', at, stop)
    at = stop + 1
    return value
  }
  const oid = buffer.readUInt32BE(start + 1)
  const namespace = text()
  const name = text()
  const identity = String.fromCharCode(buffer[at]!) as ReplicaIdentity
  const count = buffer.readUInt16BE(at + 1)
  at += 3
  const columns: RelationColumn[] = []
  for (let index = 0; index < count; index++) {
    const keyFlag = (buffer[at]! & 1) === 1
    at += 1
    const column = text()
    columns.push({
      name: column,
      keyFlag,
      typeOid: buffer.readUInt32BE(at),
      typeModifier: buffer.readInt32BE(at + 4),
    })
    at += 8
  }
  // An empty namespace stands for pg_catalog.
  return { oid, namespace: namespace === '' ? 'pg_catalog' : namespace, name, identity, columns }
}

/** Whether the key must be looked up in the catalog, since the server does not flag it. */
export function needsPrimaryKey(relation: RelationMessage): boolean {
  return relation.identity === 'f' || relation.identity === 'n'
}

/** Numbers of the key columns, ascending; empty where the table has no key. `primaryKey`: names, in the catalog of now. */
export function keyColumns(relation: RelationMessage, primaryKey: readonly string[]): readonly number[] {
  const numbers = relation.columns.map((_, number) => number)
  if (!needsPrimaryKey(relation)) return numbers.filter((number) => relation.columns[number]!.keyFlag)
  const named = numbers.filter((number) => primaryKey.includes(relation.columns[number]!.name))
  // The catalog may be ahead of the WAL: a primary key whose columns these rows do not have is not theirs.
  if (primaryKey.length > 0 && named.length === primaryKey.length) return named
  return relation.identity === 'f' ? numbers : []
}
