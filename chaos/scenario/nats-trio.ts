/** NATS servers, three that form a cluster or one: synced before they answer, or when they like, as is their default. */
import { streamNames } from '../../src/log/jetstream/names.js'
import { createNatsStream } from '../../src/log/jetstream/nats-stream.js'
import { type NatsServer, startNats } from '../../src/servers/nats.js'
import { startNatsCluster } from '../../src/servers/nats-cluster.js'
import { connectNats } from '../../src/wire/nats/connect.js'
import type { Logger } from '../../src/world/logger.js'
import { realWorld } from '../../src/world/real.js'

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} }

export interface NatsTrio {
  readonly servers: readonly NatsServer[]
  /** Of all of them, separated by commas. */
  readonly url: string
  stop(): Promise<void>
  /** Whether the log of this pipeline holds no frame any more: everything was processed, and trimmed. */
  drained(pipeline: string): Promise<boolean>
}

const syncOf = (synced: boolean) => (synced ? { syncInterval: 'always' } : {})

export async function startNatsTrio(synced = true): Promise<NatsTrio> {
  const { servers, url, stop } = await startNatsCluster(syncOf(synced))
  return together(servers, url, stop)
}

/** The same interface, and a log of one replica. */
export async function startNatsOne(synced = true): Promise<NatsTrio> {
  const server = await startNats(syncOf(synced))
  return together([server], server.url, () => server.stop())
}

function together(servers: readonly NatsServer[], url: string, stop: () => Promise<void>): NatsTrio {
  return {
    servers,
    url,
    stop,
    async drained(pipeline) {
      const names = streamNames(pipeline)
      const link = await connectNats({ servers: url, name: 'chaos', world: realWorld, log: silent })
      try {
        const stream = createNatsStream(link, names, { log: silent })
        return (await stream.subjects(`troupe.${pipeline}.evt.>`, 5_000)).length === 0
      } finally {
        await link.close()
      }
    },
  }
}
