/**
 * What pgoutput does not say of a relation, asked from the catalog: the primary key where the replica identity does not
 * show it, and the types that are not built in, with every type that they reach.
 *
 * The catalog is that of now, rows may be older: a primary key that does not fit the announced columns is not used, and
 * a type that is gone is read as text. Answers are kept until the relation is announced anew.
 */
import type pg from 'pg'
import { hashBytes } from '../../event/hash.js'
import { encodeRelation } from '../../event/relation.js'
import { isBuiltIn, type TypeInfo } from '../../event/types.js'
import type { ExplainedRelation } from './pgoutput-reader.js'
import { keyColumns, needsPrimaryKey, type RelationMessage } from './relation.js'

/** Opens a connection to the catalog for one question. */
export type AskCatalog = <Answer>(ask: (client: pg.Client) => Promise<Answer>) => Promise<Answer>

export interface RelationCatalog {
  /** At once where everything is known; else after asking. */
  explain(relation: RelationMessage): ExplainedRelation | Promise<ExplainedRelation>
  /** Learns the tables of a publication beforehand, so that their first rows need not wait. */
  learnPublication(publication: string, client: pg.Client): Promise<void>
}

/** How deep types may hold types; PostgreSQL itself has no limit, and no sane schema comes near. */
const maxDepth = 32

export function createRelationCatalog(ask: AskCatalog): RelationCatalog {
  /** null: nothing to say of it (a base type of an extension, or gone). */
  const types = new Map<number, TypeInfo | null>()
  const primaryKeys = new Map<number, readonly string[]>()
  const explained = new Set<number>()

  function isKnown(relation: RelationMessage): boolean {
    if (needsPrimaryKey(relation) && !primaryKeys.has(relation.oid)) return false
    return relation.columns.every(({ typeOid }) => isBuiltIn(typeOid) || types.has(typeOid))
  }

  function fromKnown(relation: RelationMessage): ExplainedRelation {
    explained.add(relation.oid)
    const key = keyColumns(relation, primaryKeys.get(relation.oid) ?? [])
    const meta = encodeRelation({
      id: relation.oid,
      replicaIdentity: relation.identity,
      columns: relation.columns,
      keyColumns: key,
      types: reachedTypes(relation, types),
    })
    const schemaVersion = hashBytes(meta, 0, meta.length)
    const { namespace, name: entity } = relation
    return { key, table: (index) => ({ index, namespace, entity, schemaVersion, meta }) }
  }

  return {
    explain(relation) {
      // Announced a second time: it has changed, and what it reaches may have.
      const changed = explained.has(relation.oid)
      if (!changed && isKnown(relation)) return fromKnown(relation)
      const custom = relation.columns.map((column) => column.typeOid).filter((type) => !isBuiltIn(type))
      if (custom.length === 0 && !needsPrimaryKey(relation)) return fromKnown(relation)
      return ask(async (client) => {
        await learnTypes(client, custom, types)
        if (needsPrimaryKey(relation)) await learnPrimaryKeys(client, [relation.oid], primaryKeys)
      }).then(() => fromKnown(relation))
    },
    async learnPublication(publication, client) {
      const columns = await client.query<{ relation: number; type: number }>(publishedTypes, [publication])
      const relations = [...new Set(columns.rows.map((row) => row.relation))]
      const custom = [...new Set(columns.rows.map((row) => row.type))].filter((type) => !isBuiltIn(type))
      await learnTypes(client, custom, types)
      await learnPrimaryKeys(client, relations, primaryKeys)
    },
  }
}

/** Every type that the relation's columns reach and of which there is something to say, by ascending OID. */
function reachedTypes(
  relation: RelationMessage,
  types: ReadonlyMap<number, TypeInfo | null>,
): Readonly<Record<number, TypeInfo>> {
  const reached: Record<number, TypeInfo> = {}
  const waiting = relation.columns.map((column) => column.typeOid)
  for (let type = waiting.pop(); type !== undefined; type = waiting.pop()) {
    const info = types.get(type)
    if (info === undefined || info === null || reached[type] !== undefined) continue
    reached[type] = info
    waiting.push(...reachedFrom(info))
  }
  return reached
}

function reachedFrom(info: TypeInfo): readonly number[] {
  switch (info.kind) {
    case 'domain':
      return [info.base]
    case 'array':
      return [info.element]
    case 'range':
    case 'multirange':
      return [info.subtype]
    case 'composite':
      return info.fields.map((field) => field.type)
    case 'enum':
    case 'hstore':
      return []
  }
}

/** Every table of a publication, also the partitions whose rows it may show as their root's. */
const publishedTypes = `
  SELECT c.oid AS relation, a.atttypid AS type
  FROM pg_publication_tables p
  JOIN pg_namespace n ON n.nspname = p.schemaname
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  WHERE p.pubname = $1`

interface TypeRow {
  readonly oid: number
  readonly typtype: string
  readonly base: number
  readonly element: number
  readonly delimiter: string | null
  readonly subtype: number | null
  readonly isArray: boolean
  readonly isHstore: boolean
  readonly fields: readonly { readonly name: string; readonly type: number }[] | null
}

const typeQuestion = `
  SELECT t.oid, t.typtype::text AS typtype, t.typbasetype AS base, t.typelem AS element, e.typdelim::text AS delimiter,
         coalesce(r.rngsubtype, m.rngsubtype) AS subtype,
         t.typcategory = 'A' AND t.typelem <> 0 AS "isArray",
         t.typname = 'hstore' AND EXISTS (
           SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
           WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND x.extname = 'hstore') AS "isHstore",
         (SELECT json_agg(json_build_object('name', a.attname, 'type', a.atttypid::int8) ORDER BY a.attnum)
          FROM pg_attribute a
          WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) AS fields
  FROM pg_type t
  LEFT JOIN pg_type e ON e.oid = t.typelem
  LEFT JOIN pg_range r ON r.rngtypid = t.oid
  LEFT JOIN pg_range m ON m.rngmultitypid = t.oid
  WHERE t.oid = ANY ($1::oid[])`

async function learnTypes(
  client: pg.Client,
  wanted: readonly number[],
  types: Map<number, TypeInfo | null>,
): Promise<void> {
  const asked = new Set<number>()
  let level = wanted
  for (let depth = 0; level.length > 0 && depth < maxDepth; depth++) {
    for (const type of level) asked.add(type)
    const { rows } = await client.query<TypeRow>(typeQuestion, [level])
    for (const type of level) types.set(type, null)
    const next = new Set<number>()
    for (const row of rows) {
      const info = typeInfo(row)
      types.set(row.oid, info)
      if (info === null) continue
      for (const type of reachedFrom(info)) if (!isBuiltIn(type) && !asked.has(type)) next.add(type)
    }
    level = [...next]
  }
}

function typeInfo(row: TypeRow): TypeInfo | null {
  if (row.isHstore) return { kind: 'hstore' }
  if (row.isArray)
    return row.delimiter === null || row.delimiter === ','
      ? { kind: 'array', element: row.element }
      : { kind: 'array', element: row.element, delimiter: row.delimiter }
  switch (row.typtype) {
    case 'e':
      return { kind: 'enum' }
    case 'd':
      return { kind: 'domain', base: row.base }
    case 'c':
      return { kind: 'composite', fields: row.fields ?? [] }
    case 'r':
      return { kind: 'range', subtype: row.subtype ?? 0 }
    case 'm':
      return { kind: 'multirange', subtype: row.subtype ?? 0 }
    default:
      return null
  }
}

async function learnPrimaryKeys(
  client: pg.Client,
  relations: readonly number[],
  primaryKeys: Map<number, readonly string[]>,
): Promise<void> {
  const { rows } = await client.query<{ relation: number; columns: readonly string[] }>(
    `SELECT i.indrelid AS relation, array_agg(a.attname::text ORDER BY a.attnum) AS columns
     FROM pg_index i
     JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
     WHERE i.indisprimary AND i.indrelid = ANY ($1::oid[])
     GROUP BY i.indrelid`,
    [relations],
  )
  for (const relation of relations) primaryKeys.set(relation, [])
  for (const row of rows) primaryKeys.set(row.relation, row.columns)
}
