/**
 * A NATS server of our own with JetStream, version 2.12 or newer. Its store is in its directory; settings are lines of
 * its configuration file at the top level, `sync_interval` belongs to JetStream and has an option of its own.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { realWorld } from '../world/real.js'
import type { World } from '../world/world.js'
import { endpointOf, endpointServer, endpointSilent } from './endpoint.js'
import { type Recipe, startInstance } from './instance.js'
import { ask } from './probe.js'
import type { Server, StartOptions } from './server.js'

export interface NatsServer extends Server {
  readonly kind: 'nats'
}

export interface NatsOptions extends StartOptions {
  /** Default true. */
  readonly jetstream?: boolean
  /** When JetStream syncs its files: `always`, or a duration in NATS's words. Default: the server's own, two minutes. */
  readonly syncInterval?: string
}

export async function startNats(options: NatsOptions = {}): Promise<NatsServer> {
  const endpoint = endpointOf('nats')
  if (endpoint !== undefined) return endpointNats(endpoint, options.world ?? realWorld)
  const instance = await startInstance(recipeFor(options), options)
  const { kill, pause, resume, restart, stop } = instance
  const { port, directory } = instance.site
  return {
    kind: 'nats',
    port,
    directory,
    url: `nats://127.0.0.1:${port}`,
    get pid() {
      return instance.pid
    },
    get running() {
      return instance.running
    },
    kill,
    pause,
    resume,
    restart,
    stop,
  }
}

function recipeFor({ jetstream = true, syncInterval }: NatsOptions): Recipe<void> {
  return {
    kind: 'nats',
    deathSignal: 'SIGKILL',
    stopSignal: { kept: 'SIGTERM', discarded: 'SIGKILL' },
    prepare: async () => {},
    arguments({ directory, port }, _, settings) {
      const sync = syncInterval === undefined ? '' : `, sync_interval: ${JSON.stringify(syncInterval)}`
      const lines = [
        `listen: "127.0.0.1:${port}"`,
        `server_name: "troupe-${port}"`,
        ...(jetstream ? [`jetstream { store_dir: ${JSON.stringify(join(directory, 'store'))}${sync} }`] : []),
        ...Object.entries(settings).flatMap(([name, value]) => [value].flat().map((one) => `${name}: ${one}`)),
      ]
      const file = join(directory, 'nats.conf')
      writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 })
      return ['--config', file]
    },
    answers: ({ world, port }) => answersJetStream(world, '127.0.0.1', port, jetstream),
  }
}

/** JetStream is up when its API answers, which is later than the first PONG. A server that wants credentials does answer. */
async function answersJetStream(world: World, host: string, port: number, jetstream: boolean): Promise<boolean> {
  const inbox = '_INBOX.troupe.ready'
  const question = jetstream ? `SUB ${inbox} 1\r\nPUB $JS.API.INFO ${inbox} 0\r\n\r\n` : 'PING\r\n'
  const expected = jetstream ? /MSG _INBOX\.troupe\.ready 1 .*\r\n.*\r\n|-ERR|HMSG/ : /PONG|-ERR/
  const request = `CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":false}\r\n${question}`
  const reply = await ask(world, { host, port, request, expected, deadline: 2_000 })
  return reply !== undefined && !/"error":/.test(reply)
}

async function endpointNats(url: URL, world: World): Promise<NatsServer> {
  const server = endpointServer('nats', url, 4222)
  if (!(await answersJetStream(world, url.hostname, server.port, false))) throw endpointSilent('nats')
  return Object.defineProperties({ kind: 'nats' }, Object.getOwnPropertyDescriptors(server)) as NatsServer
}
