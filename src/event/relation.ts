/**
 * A PostgreSQL relation as a frame carries it: what the bytes of its rows need to be read.
 *
 * The reader makes it from the server's Relation message and the catalog, registers it with `encodeRelation`, and
 * registers it anew under the same table index when the server sends a changed one.
 */
import { frameBytes } from './bytes.js'
import { frameError } from './layout.js'
import { decoderFor, type TypeCatalog, type TypeInfo } from './types.js'
import type { Decoder } from './values.js'

/** pg_class.relreplident: default (primary key), nothing, full, index. */
export type ReplicaIdentity = 'd' | 'n' | 'f' | 'i'

export interface RelationColumn {
  readonly name: string
  readonly typeOid: number
  readonly typeModifier: number
  /** The column's flag in the Relation message: part of the replica identity (every column with `full`). */
  readonly keyFlag: boolean
}

export interface Relation {
  readonly id: number
  readonly replicaIdentity: ReplicaIdentity
  readonly columns: readonly RelationColumn[]
  /** Numbers of the columns that make the event's key, in the key's order; empty: no key. With `full`: those of the primary key. */
  readonly keyColumns: readonly number[]
  /** The types that are not built in, and every type that they reach. */
  readonly types: TypeCatalog
}

/** The columns that a row shows, and where they are in a tuple. */
export interface Selection {
  readonly names: readonly string[]
  /** By position in `names`: the column's number in the tuple. */
  readonly numbers: readonly number[]
  /** By name: the column's number in the tuple. */
  readonly numberOf: ReadonlyMap<string, number>
}

/** A relation, ready to read rows with. */
export interface DecodedRelation {
  readonly relation: Relation
  readonly decoders: readonly Decoder[]
  readonly all: Selection
  /** What an old tuple of kind 'K' holds; the server sends its other columns as NULL, which they may not be. */
  readonly identity: Selection
  readonly key: Selection
}

type ColumnJSON = readonly [name: string, type: number, modifier: number, key: 0 | 1]
type RelationJSON = readonly [
  id: number,
  identity: ReplicaIdentity,
  columns: readonly ColumnJSON[],
  key: readonly number[],
  types: Readonly<Record<string, TypeInfo>>,
]

/** The meta of the relation's `TableSpec`. Deterministic: the same relation gives the same bytes. */
export function encodeRelation(relation: Relation): Uint8Array {
  const json: RelationJSON = [
    relation.id,
    relation.replicaIdentity,
    relation.columns.map((column) => [column.name, column.typeOid, column.typeModifier, column.keyFlag ? 1 : 0]),
    relation.keyColumns,
    relation.types,
  ]
  return new Uint8Array(Buffer.from(JSON.stringify(json), 'utf8'))
}

/** @throws TroupeError `record-corrupt` */
export function decodeRelation(meta: Uint8Array): DecodedRelation {
  try {
    return prepareRelation(relationOf(JSON.parse(frameBytes(meta, 0, meta.length).toString('utf8')) as RelationJSON))
  } catch (cause) {
    throw frameError('record-corrupt', 'the description of a relation cannot be read', cause)
  }
}

function relationOf([id, replicaIdentity, columns, keyColumns, types]: RelationJSON): Relation {
  return {
    id,
    replicaIdentity,
    columns: columns.map(([name, typeOid, typeModifier, key]) => ({ name, typeOid, typeModifier, keyFlag: key === 1 })),
    keyColumns,
    types,
  }
}

function prepareRelation(relation: Relation): DecodedRelation {
  const numbers = relation.columns.map((_, number) => number)
  return {
    relation,
    decoders: relation.columns.map((column) => decoderFor(column.typeOid, relation.types)),
    all: selectionOf(relation, numbers),
    identity: selectionOf(
      relation,
      numbers.filter((number) => relation.columns[number]!.keyFlag),
    ),
    key: selectionOf(relation, relation.keyColumns),
  }
}

function selectionOf(relation: Relation, numbers: readonly number[]): Selection {
  const names = numbers.map((number) => {
    const column = relation.columns[number]
    if (column === undefined) throw new RangeError(`relation ${relation.id} has no column ${number}`)
    return column.name
  })
  return {
    names: Object.freeze(names),
    numbers,
    numberOf: new Map(names.map((name, index) => [name, numbers[index]!])),
  }
}
