/**
 * A NATS server of our own with JetStream, version 2.12 or newer. Its store is in its directory; settings are lines of
 * its configuration file at the top level, `sync_interval` belongs to JetStream and has an option of its own. Or a
 * configuration that somebody wrote is run as it is, with our port and store laid over it.
 */
import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
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
  /**
   * Path of a configuration file that is run instead of ours: `jetstream`, `syncInterval` and `settings` then count for
   * nothing. Its `store_dir` should be `$NATS_STORE`, which we set; other variables are read from our environment. Ready
   * means that it takes clients.
   */
  readonly configuration?: string
}

export async function startNats(options: NatsOptions = {}): Promise<NatsServer> {
  const endpoint = endpointOf('nats')
  if (endpoint !== undefined) return endpointNats(endpoint, options.world ?? realWorld)
  return startOwnNats(options, [])
}

/** @param flags of the command line, which go before what the configuration says */
export async function startOwnNats(options: NatsOptions, flags: readonly string[]): Promise<NatsServer> {
  const instance = await startInstance(recipeFor(options, flags), options)
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

function recipeFor(options: NatsOptions, flags: readonly string[]): Recipe<void> {
  const { jetstream = true, syncInterval, configuration } = options
  return {
    kind: 'nats',
    deathSignal: 'SIGKILL',
    stopSignal: { kept: 'SIGTERM', discarded: 'SIGKILL' },
    prepare: async () => {},
    arguments({ directory, port }, _, settings) {
      if (configuration !== undefined) {
        // Its monitoring, if it has any, on some free port: the one that it names may be taken.
        const ours = ['--addr', '127.0.0.1', '--port', String(port), '--http_port', '-1']
        return ['--config', resolve(configuration), ...ours, ...flags]
      }
      const sync = syncInterval === undefined ? '' : `, sync_interval: ${JSON.stringify(syncInterval)}`
      const lines = [
        `listen: "127.0.0.1:${port}"`,
        `server_name: "troupe-${port}"`,
        ...(jetstream ? [`jetstream { store_dir: ${JSON.stringify(join(directory, 'store'))}${sync} }`] : []),
        ...Object.entries(settings).flatMap(([name, value]) => [value].flat().map((one) => `${name}: ${one}`)),
      ]
      const file = join(directory, 'nats.conf')
      writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 })
      return ['--config', file, ...flags]
    },
    environment: ({ directory }) => ({ NATS_STORE: join(directory, 'store') }),
    // What is in another's configuration, and whether a member of a cluster finds the others, is not for us to wait for.
    answers: ({ world, port }) =>
      answersJetStream(world, '127.0.0.1', port, jetstream && configuration === undefined && flags.length === 0),
  }
}

/**
 * JetStream is up when its API answers, which is later than the first PONG. A server that wants credentials or TLS does
 * answer.
 */
async function answersJetStream(world: World, host: string, port: number, jetstream: boolean): Promise<boolean> {
  const inbox = '_INBOX.troupe.ready'
  const question = jetstream ? `SUB ${inbox} 1\r\nPUB $JS.API.INFO ${inbox} 0\r\n\r\n` : 'PING\r\n'
  const expected = jetstream
    ? /MSG _INBOX\.troupe\.ready 1 .*\r\n.*\r\n|-ERR|HMSG|"tls_required":true/
    : /PONG|-ERR|"tls_required":true/
  const request = `CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":false}\r\n${question}`
  const reply = await ask(world, { host, port, request, expected, deadline: 2_000 })
  return reply !== undefined && !/"error":/.test(reply)
}

async function endpointNats(url: URL, world: World): Promise<NatsServer> {
  const server = endpointServer('nats', url, 4222)
  if (!(await answersJetStream(world, url.hostname, server.port, false))) throw endpointSilent('nats')
  return Object.defineProperties({ kind: 'nats' }, Object.getOwnPropertyDescriptors(server)) as NatsServer
}
