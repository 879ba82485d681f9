/** Three NATS servers that form a cluster, each of which syncs what it stores before it answers. */
import { createServer } from 'node:net'
import { type NatsServer, startNats } from '../../src/servers/nats.js'

export interface NatsTrio {
  readonly servers: readonly NatsServer[]
  /** All of them, separated by commas. */
  readonly url: string
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
  return {
    servers,
    url: servers.map((one) => one.url).join(','),
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
