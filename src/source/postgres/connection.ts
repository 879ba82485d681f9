/**
 * How this room connects: one replication connection that lives with the reader, and a catalog connection that is opened
 * for a question and closed after it. Sessions speak the same dialect of text everywhere (`dialect`), so that the bytes
 * of an event do not depend on the settings of a role or a database.
 */
import pg from 'pg'
import { hashText } from '../../event/hash.js'
import { connectReplication, type ReplicationConnection } from '../../wire/copyboth.js'
import type { World } from '../../world/world.js'
import type { PostgresSourceDefinition } from './definition.js'
import { readable } from './errors.js'

/** ms until an attempt to connect is given up. */
const connectDeadline = 10_000
/** ms that one question to the catalog may take; creating a slot waits for open transactions and has its own. */
const questionDeadline = 30_000

/** ISO dates in UTC, bytea in hex, shortest exact floats: the text that the codec of `event` reads. */
const dialect = [
  'SET datestyle = ISO',
  'SET intervalstyle = postgres',
  "SET timezone = 'UTC'",
  'SET extra_float_digits = 3',
  'SET bytea_output = hex',
  'SET xmlbinary = base64',
].join('; ')

/** `host:port/database`: names a server in messages, never with its credentials. */
export function serverLabel(config: PostgresSourceDefinition): string {
  const client = new pg.Client({ connectionString: config.url })
  const host = client.host ?? 'localhost'
  return `${host}:${client.port}/${client.database ?? ''}`
}

export function clientConfig(config: PostgresSourceDefinition, applicationName: string): pg.ClientConfig {
  return {
    connectionString: config.url,
    application_name: applicationName,
    client_encoding: 'UTF8',
    keepAlive: true,
    connectionTimeoutMillis: connectDeadline,
  }
}

/** Runs `ask` on a connection of its own. Errors are made readable. */
export async function withCatalog<Answer>(
  config: PostgresSourceDefinition,
  place: string,
  ask: (client: pg.Client) => Promise<Answer>,
  deadline = questionDeadline,
): Promise<Answer> {
  const client = new pg.Client({ ...clientConfig(config, 'troupe:catalog'), statement_timeout: deadline })
  // Losing the connection also rejects the query that is in flight, which is where the error is heard.
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query(dialect)
    return await ask(client)
  } catch (error) {
    throw readable(error, { place, server: serverLabel(config) })
  } finally {
    // Nobody waits for the server's goodbye; an error of it is heard above.
    client.end().catch(() => {})
  }
}

export async function openReplication(
  config: PostgresSourceDefinition,
  place: string,
  applicationName: string,
  world: World,
): Promise<ReplicationConnection> {
  try {
    const connection = await connectReplication({ client: clientConfig(config, applicationName), world })
    await connection.query(dialect)
    return connection
  } catch (error) {
    throw readable(error, { place, server: serverLabel(config) })
  }
}

/**
 * The name under which a reader's walsender is seen in pg_stat_activity: `troupe:<pipeline>:<source>:<term>`. PostgreSQL cuts names
 * at 63 bytes, which would take the term away: longer ones are shortened in the middle, by a hash.
 */
export function readerName(pipeline: string, source: string, term: number): string {
  return `${readerNamePrefix(pipeline, source)}${term}`
}

export function readerNamePrefix(pipeline: string, source: string): string {
  const names = `${pipeline}:${source}`
  // 63 less `troupe:`, `:` and the 16 digits of the largest term.
  const room = 39
  const fitting =
    names.length <= room ? names : `${names.slice(0, room - 9)}~${hashText(names).toString(16).padStart(8, '0')}`
  return `troupe:${fitting}:`
}
