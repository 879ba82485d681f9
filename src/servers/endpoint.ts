/**
 * A server that the environment names (TROUPE_POSTGRES_URL, TROUPE_REDIS_URL, TROUPE_NATS_URL): nothing is started, and
 * whoever tries to kill, pause or restart it is told so. `stop` does nothing: it is not ours to stop.
 */
import { TroupeError } from '../world/error.js'
import { catalogue } from './program.js'
import type { Server, ServerKind } from './server.js'

/** The endpoint that the environment names for this kind. */
export function endpointOf(kind: ServerKind): URL | undefined {
  const { endpointVariable, title } = catalogue[kind]
  const text = process.env[endpointVariable]
  if (text === undefined || text === '') return undefined
  // A cluster of NATS servers is a list; the first stands for it.
  const first = kind === 'nats' ? text.split(',')[0]!.trim() : text
  if (URL.canParse(first) && new URL(first).hostname !== '') return new URL(first)
  throw new TroupeError({
    code: 'bad-endpoint',
    message: `${endpointVariable} is not the URL of a ${title} server`,
    place: endpointVariable,
    remedy: `write it as ${kind}://user:password@host:port, or unset it to let a server be started`,
    exitCode: 2,
  })
}

/** The part of `Server` that an endpoint has. */
export function endpointServer(kind: ServerKind, url: URL, defaultPort: number): Server {
  const { endpointVariable } = catalogue[kind]
  const refuse = (what: string): never => {
    throw new TroupeError({
      code: 'endpoint-not-ours',
      message: `the ${kind} server was given by ${endpointVariable}; ${what} is only for servers that were started here`,
      place: endpointVariable,
      remedy: `unset ${endpointVariable}, and a server is started for the purpose`,
    })
  }
  return {
    kind,
    url: kind === 'nats' ? process.env[endpointVariable]! : url.href,
    port: url.port === '' ? defaultPort : Number(url.port),
    get pid() {
      return refuse('its pid')
    },
    get directory() {
      return refuse('its directory')
    },
    running: true,
    kill: async () => refuse('kill'),
    pause: () => refuse('pause'),
    resume: () => refuse('resume'),
    restart: async () => refuse('restart'),
    stop: async () => {},
  }
}

/** For an endpoint that does not answer. */
export function endpointSilent(kind: ServerKind, cause?: unknown): TroupeError {
  const { endpointVariable } = catalogue[kind]
  return new TroupeError({
    code: 'endpoint-silent',
    message: `the ${kind} server that ${endpointVariable} names does not answer`,
    place: endpointVariable,
    remedy: `start it, correct ${endpointVariable}, or unset it to let a server be started`,
    cause,
  })
}
