/** The publication: what it publishes, whether every row that it will publish can be identified, and how it is made. */
import type pg from 'pg'
import { TroupeError } from '../../world/error.js'
import type { Logger } from '../../world/logger.js'
import type { PostgresSourceDefinition } from './definition.js'
import { parseTableName, quoteName, quoteTable, type TableName } from './identifiers.js'

function configurationError(code: string, message: string, place: string, remedy: string): TroupeError {
  return new TroupeError({ code, message, place, remedy, exitCode: 2, permanent: true })
}

/** Checks the tables that the configuration names and the publication; makes the publication where that is allowed. */
export async function openPublication(
  client: pg.Client,
  config: PostgresSourceDefinition,
  log: Logger,
  place: string,
): Promise<void> {
  const names = config.tables.map((name) => parseTableName(name, place))
  const tables = await findTables(client, names, place)
  const { rows } = await client.query('SELECT FROM pg_publication WHERE pubname = $1', [config.publication])
  const made = rows.length === 0 && (await createPublication(client, config, tables, log, place))
  if (!made) await checkMembers(client, config, tables, place)
  await checkIdentities(client, config, log, place)
}

interface FoundTable extends TableName {
  readonly oid: number
}

async function findTables(
  client: pg.Client,
  names: readonly TableName[],
  place: string,
): Promise<readonly FoundTable[]> {
  const tables: FoundTable[] = []
  for (const name of names) {
    const { rows } = await client.query<{ oid: number; kind: string }>(
      `SELECT c.oid, c.relkind::text AS kind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE n.nspname = $1 AND c.relname = $2`,
      [name.schema, name.table],
    )
    const row = rows[0]
    if (row === undefined)
      throw configurationError(
        'table-missing',
        `there is no table ${quoteTable(name)}`,
        place,
        'create the table, or correct its name in tables: names are written as the catalog spells them',
      )
    if (row.kind !== 'r' && row.kind !== 'p')
      throw configurationError(
        'table-not-publishable',
        `${quoteTable(name)} is no table whose changes can be published (it is a view, a foreign table or an index)`,
        place,
        'take it out of tables',
      )
    tables.push({ ...name, oid: row.oid })
  }
  return tables
}

/** duplicate_object, and unique_violation where the other one had not committed yet. */
const madeMeanwhile = new Set(['42710', '23505'])

/** False: another node has made it meanwhile. */
async function createPublication(
  client: pg.Client,
  config: PostgresSourceDefinition,
  tables: readonly TableName[],
  log: Logger,
  place: string,
): Promise<boolean> {
  const list = tables.map(quoteTable).join(', ')
  if (config.createPublication === 'never' || tables.length === 0)
    throw configurationError(
      'publication-missing',
      `there is no publication ${config.publication}`,
      place,
      `create it: CREATE PUBLICATION ${quoteName(config.publication)} FOR TABLE ${list === '' ? '…' : list}; or give tables and createPublication: if-missing`,
    )
  try {
    await client.query(`CREATE PUBLICATION ${quoteName(config.publication)} FOR TABLE ${list}`)
  } catch (error) {
    if (madeMeanwhile.has(String((error as { code?: unknown }).code))) return false
    throw error
  }
  log.info({ publication: config.publication, tables: config.tables }, 'publication created')
  return true
}

/** A partition is published through its root, and a root through its partitions. */
const memberQuestion = `
  WITH published AS (
    SELECT c.oid FROM pg_publication_tables p
    JOIN pg_namespace n ON n.nspname = p.schemaname
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
    WHERE p.pubname = $1)
  SELECT FROM published
  WHERE oid = $2 OR oid IN (SELECT relid::oid FROM pg_partition_tree($2::oid::regclass))
    OR oid IN (SELECT relid::oid FROM pg_partition_ancestors($2::oid::regclass))
  LIMIT 1`

async function checkMembers(
  client: pg.Client,
  config: PostgresSourceDefinition,
  tables: readonly FoundTable[],
  place: string,
): Promise<void> {
  for (const table of tables) {
    const { rows } = await client.query(memberQuestion, [config.publication, table.oid])
    if (rows.length === 0)
      throw configurationError(
        'table-not-published',
        `the publication ${config.publication} does not hold ${quoteTable(table)}`,
        place,
        `add it: ALTER PUBLICATION ${quoteName(config.publication)} ADD TABLE ${quoteTable(table)}; or take it out of tables`,
      )
  }
}

interface IdentityRow {
  readonly schema: string
  readonly table: string
  readonly identity: string
  readonly hasPrimaryKey: boolean
  /** Columns outside of the identity whose values may be stored out of line. */
  readonly toastable: readonly string[] | null
  readonly publishesChanges: boolean
}

const identityQuestion = `
  SELECT p.schemaname AS schema, p.tablename AS table, c.relreplident::text AS identity,
         EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) AS "hasPrimaryKey",
         (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
          WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attstorage IN ('x', 'e', 'm')
            AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey)
                            AND (i.indisprimary OR i.indisreplident))) AS toastable,
         b.pubupdate OR b.pubdelete AS "publishesChanges"
  FROM pg_publication_tables p
  JOIN pg_publication b ON b.pubname = p.pubname
  JOIN pg_namespace n ON n.nspname = p.schemaname
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
  WHERE p.pubname = $1`

/** A published table without an identity makes every UPDATE and DELETE of the application fail: better to say it first. */
async function checkIdentities(
  client: pg.Client,
  config: PostgresSourceDefinition,
  log: Logger,
  place: string,
): Promise<void> {
  const { rows } = await client.query<IdentityRow>(identityQuestion, [config.publication])
  for (const row of rows) {
    const table = quoteTable(row)
    const nameless = row.identity === 'n' || (row.identity === 'd' && !row.hasPrimaryKey)
    if (nameless && row.publishesChanges)
      throw configurationError(
        'no-replica-identity',
        `${table} has no replica identity: the server refuses every UPDATE and DELETE on it while it is published`,
        place,
        `give it a primary key, or ALTER TABLE ${table} REPLICA IDENTITY FULL (or USING INDEX), or publish inserts only`,
      )
    if (!nameless && row.identity !== 'f' && row.toastable !== null && row.publishesChanges)
      log.warn(
        { table: `${row.schema}.${row.table}`, columns: row.toastable },
        'a key change that leaves these columns untouched gives an insert without them (incomplete); REPLICA IDENTITY FULL sends them',
      )
  }
}
