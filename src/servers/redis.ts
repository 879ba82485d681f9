/**
 * A Redis of our own: append-only file, loopback, no snapshots. `appendfsync` is `everysec` unless the settings say
 * `always`; a SIGKILL loses nothing either way as long as the machine itself stands.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { realWorld } from '../world/real.js'
import type { World } from '../world/world.js'
import { endpointOf, endpointServer, endpointSilent } from './endpoint.js'
import { type Recipe, startInstance } from './instance.js'
import { ask } from './probe.js'
import type { Server, Settings, StartOptions } from './server.js'

export interface RedisServer extends Server {
  readonly kind: 'redis'
}

/** Settings are lines of redis.conf: `{ appendfsync: 'always', user: ['app on >secret ~* +@all'] }`. */
export async function startRedis(options: StartOptions = {}): Promise<RedisServer> {
  const endpoint = endpointOf('redis')
  if (endpoint !== undefined) return endpointRedis(endpoint, options.world ?? realWorld)
  const instance = await startInstance(recipe, options)
  const { kill, pause, resume, restart, stop } = instance
  const { port, directory } = instance.site
  return {
    kind: 'redis',
    port,
    directory,
    get url() {
      const password = passwordIn(instance.settings)
      return `redis://${password === undefined ? '' : `:${encodeURIComponent(password)}@`}127.0.0.1:${port}`
    },
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

const defaults: Settings = {
  bind: '127.0.0.1',
  'protected-mode': 'yes',
  daemonize: 'no',
  appendonly: 'yes',
  appendfsync: 'everysec',
  save: '""',
}

const recipe: Recipe<void> = {
  kind: 'redis',
  deathSignal: 'SIGKILL',
  stopSignal: { kept: 'SIGTERM', discarded: 'SIGKILL' },
  prepare: async () => {},
  arguments({ directory, port }, _, settings) {
    // A file rather than arguments: arguments are for all to read, and settings may hold a password.
    const all: Settings = { ...defaults, ...settings, port: String(port), dir: quote(directory) }
    const lines = Object.entries(all).flatMap(([name, value]) => [value].flat().map((one) => `${name} ${one}`))
    const file = join(directory, 'redis.conf')
    writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 })
    return [file]
  },
  answers: ({ world, port }, _, settings) => answersPing(world, '127.0.0.1', port, undefined, passwordIn(settings)),
}

async function answersPing(
  world: World,
  host: string,
  port: number,
  user: string | undefined,
  password: string | undefined,
): Promise<boolean> {
  const words = user ? ['AUTH', user, password ?? ''] : ['AUTH', password ?? '']
  const login = password === undefined ? '' : command(words)
  const reply = await ask(world, {
    host,
    port,
    request: login + command(['PING']),
    expected: /\+PONG\r\n|-[A-Z]+ .*\r\n/,
    deadline: 2_000,
  })
  // A server that still loads its file answers with -LOADING. One that wants a password we were not given does answer.
  return reply !== undefined && /\+PONG|-NOAUTH|-NOPERM/.test(reply)
}

function command(words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`
}

function passwordIn(settings: Settings): string | undefined {
  const password = settings.requirepass
  return typeof password === 'string' ? password : undefined
}

function quote(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`
}

async function endpointRedis(url: URL, world: World): Promise<RedisServer> {
  const server = endpointServer('redis', url, 6379)
  const password = url.password === '' ? undefined : decodeURIComponent(url.password)
  // Over TLS the reply to a bare PING is an alert, not a PONG: whoever uses the endpoint will see.
  if (
    url.protocol === 'redis:' &&
    !(await answersPing(world, url.hostname, server.port, decodeURIComponent(url.username), password))
  )
    throw endpointSilent('redis')
  return Object.defineProperties({ kind: 'redis' }, Object.getOwnPropertyDescriptors(server)) as RedisServer
}
