/**
 * The JetStream API: JSON in, JSON or a numbered error out (ADR-1, ADR-7 of NATS).
 *
 * A call is tried again within its deadline while nobody answers: a stream without a leader says nothing at all, and a
 * server that starts says that it is not ready. So only calls that may be made twice belong here.
 */
import type { World } from '../../world/world.js'
import { deniedNats, silentNats } from './errors.js'
import type { NatsReply, NatsRequest } from './requests.js'

export interface ApiError {
  /** As in HTTP. */
  readonly code: number
  readonly errCode: number
  readonly description: string
}

export type ApiAnswer<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: ApiError }

/** What a call needs of a link. */
export interface ApiCaller {
  readonly world: World
  readonly described: string
  request(request: NatsRequest): Promise<NatsReply>
}

export interface ApiCall {
  /** Below `$JS.API.`. */
  readonly subject: string
  readonly body?: object
  readonly deadlineMs: number
  /** ms after which an unanswered request is sent again. Default 2,000. */
  readonly attemptMs?: number
}

const ATTEMPT_MS = 2_000
const PAUSE_MS = 100
/** The cluster has no leader yet; not the leader; JetStream starts. */
const NOT_READY = new Set([10004, 10007, 10008, 10009])
const encoder = new TextEncoder()
const decoder = new TextDecoder()
const empty = new Uint8Array(0)

/**
 * @throws TroupeError `nats-silent` when nobody has answered within the deadline, `nats-denied` where the user may not ask
 */
export async function callJetStream<T>(link: ApiCaller, call: ApiCall): Promise<ApiAnswer<T>> {
  const { world } = link
  const end = world.monotonic() + call.deadlineMs
  const subject = `$JS.API.${call.subject}`
  const payload = call.body === undefined ? empty : encoder.encode(JSON.stringify(call.body))
  for (;;) {
    const left = end - world.monotonic()
    const deadlineMs = Math.max(1, Math.min(call.attemptMs ?? ATTEMPT_MS, left))
    const reply = await link.request({ subject, payload, deadlineMs })
    const answer = answerOf<T>(reply)
    if (typeof answer === 'object') return answer
    if (reply.kind === 'denied') throw deniedNats(reply.operation, reply.subject, link.described)
    const rest = end - world.monotonic()
    if (reply.kind === 'invalid' || rest <= PAUSE_MS) throw silentNats(subject, answer, link.described)
    if (reply.kind !== 'silence') await new Promise<void>((done) => world.setTimer(PAUSE_MS, done))
  }
}

/** The answer, or why there is none. */
function answerOf<T>(reply: NatsReply): ApiAnswer<T> | string {
  switch (reply.kind) {
    case 'reply': {
      const body = parse(reply.data)
      if (body === null) return 'the answer is no JSON'
      const { error } = body as { error?: { code?: number; err_code?: number; description?: string } }
      if (error === undefined) return { ok: true, value: body as T }
      const { code = 0, err_code: errCode = 0, description = '' } = error
      if (NOT_READY.has(errCode)) return `${description} (${errCode})`
      return { ok: false, error: { code, errCode, description } }
    }
    case 'no-responders':
      return 'JetStream is not there (503)'
    case 'silence':
      return `nothing within ${Math.round(reply.ms)} ms`
    case 'lost':
      return 'the connection was lost'
    case 'unsent':
    case 'invalid':
      return reply.why
    case 'denied':
      return 'denied'
  }
}

function parse(data: Uint8Array): object | null {
  try {
    const body: unknown = JSON.parse(decoder.decode(data))
    return typeof body === 'object' ? body : null
  } catch {
    return null
  }
}
