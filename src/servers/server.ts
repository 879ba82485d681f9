/**
 * The port of this room: what every started server offers, whichever program it runs.
 *
 * A server is one process of our own on 127.0.0.1, with its own port and its own directory, or an endpoint that the
 * environment names. It answers a real request before `start…` returns. It dies with the process that started it where
 * the machine has `setpriv`; where not, the next start reaps it. Made for development, tests and benchmarks: one machine,
 * loopback only, no promise for production.
 */
import type { World } from '../world/world.js'
import type { Program } from './program.js'

export type ServerKind = 'postgres' | 'redis' | 'nats'

export const serverKinds: readonly ServerKind[] = ['postgres', 'redis', 'nats']

export interface Server {
  readonly kind: ServerKind
  /** The URL of the server, with its credentials: never log it. */
  readonly url: string
  readonly port: number
  /** Of the running process. It changes with `restart`. Throws `endpoint-not-ours` where the environment gave the endpoint, as all below do. */
  readonly pid: number
  /** Data, configuration and `server.log`. */
  readonly directory: string
  readonly running: boolean
  /** Ends the process (and its children) at once, by default as a crash does; resolves when it is gone. Data and port stay. */
  kill(signal?: 'SIGKILL' | 'SIGTERM' | 'SIGINT' | 'SIGQUIT'): Promise<void>
  /** SIGSTOP to the process and its children: it holds its sockets and answers nobody. */
  pause(): void
  resume(): void
  /** Starts it again on the same port with the same data, whether it ran or not; resolves when it answers. New settings are laid over the old. */
  restart(settings?: Settings): Promise<void>
  /** Ends it for good: the port is free, and the directory is gone unless the caller named it. Twice does nothing. */
  stop(): Promise<void>
}

/** Settings in the server's own words. A list repeats the setting, where the server takes it more than once. */
export type Settings = Readonly<Record<string, string | readonly string[]>>

export interface StartOptions {
  /** Where data live; kept after `stop`. Default: a directory of its own under the temporary directory, removed by `stop`. */
  readonly directory?: string
  /** Default: a free port between 15,000 and 31,999, below the ports that systems give to clients. */
  readonly port?: number
  /** Laid over the defaults of the kind. */
  readonly settings?: Settings
  /** Major version that must serve, for example 15. Default: the first that is new enough. */
  readonly major?: number
  /** The program to run. Default: the one that is found. For tests with one that is refused otherwise. */
  readonly program?: Program
  /** How long it may take until it answers, milliseconds. Default 30,000. */
  readonly deadline?: number
  /** Told what was chosen and why, a line at a time. Default: nobody. */
  readonly report?: (line: string) => void
  readonly world?: World
}
