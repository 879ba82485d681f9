/** The PostgreSQL source: what pipeline and reader actor see of this room. */

import type { SourceDriver } from '../source.js'
import { createRelationCatalog } from './catalog.js'
import { serverLabel, withCatalog } from './connection.js'
import type { PostgresSourceDefinition } from './definition.js'
import { readable } from './errors.js'
import { preflight } from './preflight.js'
import { createReader } from './reader.js'
import { connectReader, startStream } from './session.js'
import { createDeadline, decideStart } from './start.js'

export const postgresSource: SourceDriver<PostgresSourceDefinition> = {
  kind: 'postgres',
  replayable: true,
  obliges: false,
  preflight,

  async open(config, context) {
    const place = `source ${context.name}`
    const server = serverLabel(config)
    const translate = (error: unknown) => readable(error, { place, server })
    const catalog = createRelationCatalog((ask) => withCatalog(config, place, ask))
    // Both at once, and one catalog connection for every question: the source stands still meanwhile.
    const connecting = connectReader(config, context, place)
    connecting.catch(() => {})
    try {
      const { connection, start, timeout } = await withCatalog(
        config,
        place,
        async (client) => {
          const connection = await connecting
          const start = await decideStart(config, context, connection, client, place)
          const [timeout] = await Promise.all([
            connection.query("SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'"),
            catalog.learnPublication(config.publication, client),
          ])
          return { connection, start, timeout }
        },
        createDeadline,
      )
      const starting = createReader({
        context,
        start,
        slot: config.slot,
        server,
        catalog,
        senderTimeout: Number(timeout[0]?.setting ?? 0),
        readable: translate,
      })
      const copy = await startStream(config, context, place, connection, start.state.lsn, starting.handlers)
      return starting.begin(copy)
    } catch (error) {
      connecting.then((connection) => connection.end()).catch(() => {})
      throw translate(error)
    }
  },

  connections(config) {
    const server = serverLabel(config)
    return [
      { server, count: 1, purpose: 'replication (walsender)' },
      { server, count: 1, purpose: 'catalog, only while a question is asked' },
    ]
  },
}
