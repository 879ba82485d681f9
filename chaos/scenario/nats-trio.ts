/** Three NATS servers that form a cluster, each of which syncs what it stores before it answers. */
import { createServer } from 'node:net'
import { streamNames } from '../../src/log/jetstream/names.js'
import { createNatsStream } from '../../src/log/jetstream/nats-stream.js'
import { type NatsServer, startNats } from '../../src/servers/nats.js'
import { connectNats } from '../../src/wire/nats/connect.js'
import type { Logger } from '../../src/world/logger.js'
import { realWorld } from '../../src/world/real.js'

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} }

export interface NatsTrio {
  readonly servers: readonly NatsServer[]
  /** All of them, separated by commas. */
  readonly url: string
  /** Whether the log of this pipeline holds no frame any more: everything was processed, and trimmed. */
  drained(pipeline: string): Promise<boolean>
  stop(): Promise<void>
}

export async function startNatsTrio(): Promise<NatsTrio> {
  const ports = await Promise.all([freePort(), freePort(), freePort()])
  const routes = ports.map((port) => `"nats://127.0.0.1:${port}"`).join(', ')
  const servers = await Promise.all(
    ports.map((port) =>
      startNats({
        syncInterval: 'always',
        settings: { cluster: `{ name: trio, listen: "127.0.0.1:${port}", routes: [${routes}] }` },
      }),
    ),
  )
  const url = servers.map((one) => one.url).join(',')
  return {
    servers,
    url,
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
    async stop() {
      await Promise.all(servers.map((one) => one.stop()))
    },
  }
}

async function freePort(): Promise<number> {
  const socket = createServer()
  await new Promise<void>((done) => socket.listen(0, '127.0.0.1', done))
  const { port } = socket.address() as { port: number }
  await new Promise((done) => socket.close(done))
  return port
}
