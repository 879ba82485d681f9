/** Turns what went wrong between us and a Redis into an error that a person can act on. Never names a password. */
import { messageOf, TroupeError } from '../world/error.js'
import { describeEndpoint, type RespEndpoint } from './resp-endpoint.js'

const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOENT',
  'ETIMEDOUT',
])

interface Verdict {
  readonly code: string
  readonly what: string
  readonly remedy: string
  /** Wrong configuration: exit code 2. */
  readonly configuration: boolean
}

function verdictOf(message: string, code: string | undefined): Verdict {
  if (code !== undefined && UNREACHABLE.has(code))
    return {
      code: 'redis-unreachable',
      what: `cannot be reached (${code})`,
      remedy: 'start it, or correct host and port in the url',
      configuration: true,
    }
  if (code !== undefined && /CERT|^ERR_(TLS|SSL)|ISSUER/.test(code))
    return {
      code: 'redis-tls',
      what: `cannot be trusted over TLS (${code})`,
      remedy: 'correct the host in the url, or name the authority that signed its certificate in NODE_EXTRA_CA_CERTS',
      configuration: true,
    }
  if (/^WRONGPASS|invalid (username-password|password)|AUTH .*(called|without)/i.test(message))
    return {
      code: 'redis-password',
      what: 'refused the user or password',
      remedy: 'correct user and password in the url (percent-encode special characters)',
      configuration: true,
    }
  if (/^NOAUTH/.test(message))
    return {
      code: 'redis-password',
      what: 'demands a password and the url has none',
      remedy: 'put it in the url: redis://user:password@host:port/db, the password best from the environment',
      configuration: true,
    }
  // Inside a script the denial has another name.
  if (/^NOPERM|user executing the script/.test(message))
    return {
      code: 'redis-denied',
      what: `denies this user something (${message.replace(/^NOPERM /, '')})`,
      remedy: 'allow it with ACL SETUSER; the page on this source or sink lists the commands that are needed',
      configuration: true,
    }
  if (/^WRONGTYPE/.test(message))
    return {
      code: 'redis-wrong-type',
      what: 'holds another type of value at this key',
      remedy: 'name another key, or remove the one that is there',
      configuration: true,
    }
  if (/DB index is out of range|invalid DB index/i.test(message))
    return {
      code: 'redis-database',
      what: 'has no database of this number',
      remedy: 'correct the number at the end of the url',
      configuration: true,
    }
  if (/^(LOADING|BUSY|MASTERDOWN|TRYAGAIN|CLUSTERDOWN)/.test(message))
    return { code: 'redis-busy', what: `is not ready (${message})`, remedy: 'wait for it', configuration: false }
  if (/^READONLY/.test(message))
    return {
      code: 'redis-replica',
      what: 'is a replica that takes no writes',
      remedy: 'name the primary in the url',
      configuration: true,
    }
  if (/^OOM/.test(message))
    return {
      code: 'redis-memory',
      what: 'is at its maxmemory',
      remedy: 'give it more memory, or trim what it holds (maxLength of the sink)',
      configuration: false,
    }
  return { code: 'redis-failed', what: `failed: ${message}`, remedy: 'see the log of the Redis', configuration: false }
}

/** @param permanent false where a restart may help although the configuration is what is wrong (a server that is away for now) */
export function explainRedis(
  error: unknown,
  endpoint: RespEndpoint,
  place: string,
  options?: { readonly subject?: string; readonly permanent?: boolean },
): TroupeError {
  if (error instanceof TroupeError) return error
  const verdict = verdictOf(messageOf(error), (error as NodeJS.ErrnoException | null)?.code)
  const subject = options?.subject === undefined ? '' : ` (${options.subject})`
  return new TroupeError({
    code: verdict.code,
    message: `the Redis at ${describeEndpoint(endpoint)}${subject} ${verdict.what}`,
    place,
    remedy: verdict.remedy,
    exitCode: verdict.configuration ? 2 : 1,
    permanent: options?.permanent ?? false,
    cause: error,
  })
}
