/** Turns what went wrong between us and NATS into an error that a person can act on. Never names a password or a token. */
import { messageOf, TroupeError, type TroupeErrorInit } from '../../world/error.js'

/** How long a subject may be in a message. */
const LONGEST_SUBJECT = 200

/** Of an error that the client gave when it connected, or lost its connection for good. */
export function explainNats(error: unknown, at: string, place?: string): TroupeError {
  if (error instanceof TroupeError) return error
  return new TroupeError({
    ...verdictOf(error, at),
    ...(place === undefined ? {} : { place }),
    cause: error,
  })
}

/** Whether the server has said that these credentials are not good. */
export function isRefusal(error: unknown): error is Error {
  const name = (error as Error | null)?.name
  if (name === 'UserAuthenticationExpiredError') return true
  // Who was too slow to show his own, on a busy machine, is told the same way.
  return name === 'AuthorizationError' && !/timeout/i.test(messageOf(error))
}

/** What Node.js calls a certificate or a handshake that is not good; a connection that went meanwhile is no such thing. */
const tlsCode = /^(ERR_TLS_|ERR_SSL_|ERR_OSSL_|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|HOSTNAME_MISMATCH)/

function isTlsFault(error: unknown): boolean {
  for (let one = error, depth = 0; one instanceof Error && depth < 5; one = one.cause, depth++)
    if (tlsCode.test(codeOf(one)) || /does not support 'tls'/.test(one.message)) return true
  return false
}

function verdictOf(error: unknown, at: string): TroupeErrorInit {
  if (isRefusal(error))
    return {
      code: 'nats-denied',
      message: `NATS at ${at} refused the credentials (${messageOf(error).toLowerCase()})`,
      remedy: 'correct user and password (percent-encoded), token or credentials file of the URL',
      exitCode: 2,
      permanent: true,
    }
  if (isTlsFault(error))
    return {
      code: 'nats-tls',
      message: `NATS at ${at} cannot be talked to over TLS: ${messageOf(error)}`,
      remedy:
        'name the host as its certificate does, and the authority that signed it (?ca=/path/to/ca.pem in the URL, or NODE_EXTRA_CA_CERTS); a server that wants a client certificate needs tls.cert and tls.key',
      exitCode: 2,
      permanent: true,
    }
  return {
    code: 'nats-unreachable',
    message: `NATS at ${at} cannot be reached: ${messageOf(error)}`,
    remedy: 'start it, or correct host and port of the URL; name every server of a cluster, separated by commas',
    exitCode: 2,
  }
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | null | undefined)?.code ?? '')
}

/** The account's permissions do not allow what Troupe must do. */
export function deniedNats(operation: 'publish' | 'subscription', subject: string, at: string): TroupeError {
  const verb = operation === 'publish' ? 'publish to' : 'subscribe to'
  return new TroupeError({
    code: 'nats-denied',
    message: `NATS at ${at} does not allow this user to ${verb} '${subject.slice(0, LONGEST_SUBJECT)}'`,
    remedy: `allow it in the permissions of the user (${operation === 'publish' ? 'publish' : 'subscribe'}.allow)`,
    exitCode: 2,
    permanent: true,
  })
}

/** Nobody answered in time, or the connection was away. */
export function silentNats(what: string, why: string, at: string): TroupeError {
  return new TroupeError({
    code: 'nats-silent',
    message: `NATS at ${at} has not answered ${what}: ${why}`,
    remedy: 'see whether its servers run and have a leader (`nats server report jetstream`); it is tried again',
  })
}
