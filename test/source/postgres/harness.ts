// One server a file, and readers that are stopped after each test.
import pg from 'pg'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { type PostgresServer, type Settings, startPostgres } from '../../../src/servers/index.js'
import type { PostgresSourceDefinition } from '../../../src/source/postgres/definition.js'
import { postgresSource } from '../../../src/source/postgres/driver.js'
import type { SourceReader } from '../../../src/source/source.js'
import { realWorld } from '../../../src/world/real.js'
import {
  createRecording,
  loggerOf,
  openReader,
  type Recording,
  type Resume,
  type Started,
  sourceFor,
} from './recording.js'

export interface Harness {
  readonly server: PostgresServer
  readonly db: pg.Client
  /** Makes tables by `ddl`, a publication of them, and a reader on a slot of its own. */
  start(ddl: string, tables: readonly string[], over?: Partial<PostgresSourceDefinition>): Promise<Started>
  /** A new reader of a source that was started. */
  reopen(config: PostgresSourceDefinition, resume: Resume): Promise<Started>
  preflight(config: PostgresSourceDefinition, recording?: Recording): Promise<void>
  /** Connects `db` again, after the server was restarted. */
  reconnect(): Promise<void>
  name(): string
}

/** Call it at the top of a file: it starts the server before the tests and stops it after them. */
export function harness(settings: Settings = {}, major?: number): Harness {
  let server: PostgresServer
  let db: pg.Client
  let number = 0
  const readers: SourceReader[] = []

  async function reconnect(): Promise<void> {
    await db?.end().catch(() => {})
    db = new pg.Client(server.url)
    db.on('error', () => {})
    await db.connect()
  }

  beforeAll(async () => {
    server = await startPostgres({ settings: { fsync: 'off', ...settings }, ...(major === undefined ? {} : { major }) })
    await reconnect()
  })
  afterEach(async () => {
    for (const reader of readers.splice(0)) await reader.stop()
  })
  afterAll(async () => {
    await db?.end().catch(() => {})
    await server?.stop()
  })

  async function preflight(config: PostgresSourceDefinition, recording = createRecording()): Promise<void> {
    await postgresSource.preflight(config, {
      world: realWorld,
      log: loggerOf(recording),
      pipeline: 'test',
      name: 'db',
    })
  }

  async function reopen(config: PostgresSourceDefinition, resume: Resume): Promise<Started> {
    const recording = createRecording()
    const reader = await openReader(config, recording, resume)
    readers.push(reader)
    return { config, recording, reader }
  }

  return {
    get server() {
      return server
    },
    get db() {
      return db
    },
    name: () => `s${++number}`,
    reconnect,
    preflight,
    reopen,
    async start(ddl, tables, over = {}) {
      if (ddl !== '') await db.query(ddl)
      const config = sourceFor(server.url, `s${++number}`, { tables, ...over })
      await preflight(config)
      return reopen(config, {})
    },
  }
}
