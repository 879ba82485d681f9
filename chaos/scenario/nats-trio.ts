/** Three NATS servers that form a cluster, each of which syncs what it stores before it answers. */
import { streamNames } from '../../src/log/jetstream/names.js'
import { createNatsStream } from '../../src/log/jetstream/nats-stream.js'
import { type NatsCluster, startNatsCluster } from '../../src/servers/nats-cluster.js'
import { connectNats } from '../../src/wire/nats/connect.js'
import type { Logger } from '../../src/world/logger.js'
import { realWorld } from '../../src/world/real.js'

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} }

export interface NatsTrio extends Pick<NatsCluster, 'servers' | 'url' | 'stop'> {
  /** Whether the log of this pipeline holds no frame any more: everything was processed, and trimmed. */
  drained(pipeline: string): Promise<boolean>
}

export async function startNatsTrio(): Promise<NatsTrio> {
  const { servers, url, stop } = await startNatsCluster({ syncInterval: 'always' })
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
