/**
 * What became of a commit, read from the reply or from its absence. A pure function: the protocol decides by it alone, so it is
 * tested case by case, and each case that a server can be brought to give is tested against one.
 *
 * The numbers are those of nats-server's errors.json; descriptions are no interface, with one exception: 10077 is any
 * failure to store, and only its words tell a full stream from a broken disk. What is not known here and is a refusal of
 * the request (4xx) is `misconfigured`; whatever else is not known is `ambiguous`, which costs a read and harms nothing.
 */
import type { NatsReply } from '../../wire/nats/requests.js'
import type { Outcome } from './port.js'

const fenced = 10071

/** Nothing was stored, and nothing is wrong with the commit itself. */
const again = new Map([
  [10164, 'another write to the same subject is under way'],
  [10176, 'the batch arrived incomplete'],
  [10210, 'too many batches are under way on the stream'],
  [10004, 'the cluster is incomplete'],
  [10007, 'JetStream is not assigned to this server'],
  [10008, 'JetStream is unavailable for now'],
  [10009, 'this server is not the leader'],
])

/** The account's or the servers' room is taken; like a full stream it may come back. */
const noRoom = new Set([10002, 10023, 10028, 10047])

/** The server gave up half way: whether it is stored is for a read to tell. */
const failed = new Set([10041, 10051])

const storeFailed = 10077
const maximumExceeded = /maximum (bytes|messages).* exceeded/i

const decoder = new TextDecoder()

interface Answer {
  readonly seq?: number
  readonly count?: number
  readonly error?: { readonly code?: number; readonly err_code?: number; readonly description?: string }
}

/** @param messages how many the commit had; a batch whose reply counts otherwise was not taken as a batch */
export function outcomeOf(reply: NatsReply, messages = 1): Outcome {
  switch (reply.kind) {
    case 'reply':
      return ofAnswer(reply.data, messages)
    case 'no-responders':
      return { kind: 'ambiguous', why: 'nobody listens to the subject (503): the stream has no leader, or is gone' }
    case 'silence':
      return { kind: 'ambiguous', why: `no reply within ${Math.round(reply.ms)} ms` }
    case 'lost':
      return { kind: 'ambiguous', why: 'the connection was lost before the reply' }
    case 'unsent':
      return { kind: 'retry', why: reply.why }
    case 'denied':
      return {
        kind: 'misconfigured',
        code: 0,
        why: `the user may not ${reply.operation === 'publish' ? 'publish to' : 'subscribe to'} '${reply.subject}' (nats-denied)`,
      }
    case 'invalid':
      return { kind: 'misconfigured', code: 0, why: reply.why }
  }
}

function ofAnswer(data: Uint8Array, messages: number): Outcome {
  const answer = parse(data)
  if (answer === null) return { kind: 'ambiguous', why: 'the reply cannot be read' }
  if (answer.error !== undefined) return ofError(answer.error)
  const { seq, count } = answer
  if (typeof seq !== 'number' || seq < 1) return { kind: 'ambiguous', why: 'the reply names no sequence' }
  if (messages > 1 && count !== messages)
    return {
      kind: 'misconfigured',
      code: 0,
      why: `${count ?? 'none'} of ${messages} messages were taken as a batch: the server does not know atomic batches`,
    }
  return { kind: 'committed', sequence: seq }
}

function ofError(error: NonNullable<Answer['error']>): Outcome {
  const { err_code: code = 0, description = '' } = error
  const why = `${description} (${code})`
  if (code === fenced) return { kind: 'fenced' }
  if (again.has(code)) return { kind: 'retry', why: `${again.get(code)} (${code})` }
  if (noRoom.has(code)) return { kind: 'retry', why, full: true }
  if (code === storeFailed)
    return maximumExceeded.test(description) ? { kind: 'retry', why, full: true } : { kind: 'ambiguous', why }
  if (failed.has(code)) return { kind: 'ambiguous', why }
  const status = error.code ?? 0
  if ((status >= 400 && status < 500) || refusals.has(code)) return { kind: 'misconfigured', code, why }
  return { kind: 'ambiguous', why }
}

/** Refused for good, although the server counts them among its own failures. */
const refusals = new Set([10111, 10076, 10039])

function parse(data: Uint8Array): Answer | null {
  try {
    const value: unknown = JSON.parse(decoder.decode(data))
    return typeof value === 'object' && value !== null ? (value as Answer) : null
  } catch {
    return null
  }
}
