/**
 * The JetStream API: JSON in, JSON or a numbered error out (ADR-1, ADR-7 of NATS).
 *
 * A call is made again within its deadline while nobody answers: a stream without a leader says nothing at all, and a
 * server that starts says that it is not ready. The first answer counts, also one to an earlier attempt. So only calls that
 * may be made twice belong here.
 */
import type { Timer, World } from '../../world/world.js'
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
  /** ms after which an unanswered request is sent again; twice as long each time, up to 2,000. Default 250. */
  readonly againMs?: number
}

const AGAIN_MS = { first: 250, most: 2_000 } as const
const PAUSE_MS = 100
/** The cluster has no leader yet; not the leader; JetStream starts. */
const NOT_READY = new Set([10004, 10007, 10008, 10009])
const encoder = new TextEncoder()
const decoder = new TextDecoder()
const empty = new Uint8Array(0)

/**
 * @throws TroupeError `nats-silent` when nobody has answered within the deadline, `nats-denied` where the user may not ask
 */
export function callJetStream<T>(link: ApiCaller, call: ApiCall): Promise<ApiAnswer<T>> {
  const { world } = link
  const end = world.monotonic() + call.deadlineMs
  const subject = `$JS.API.${call.subject}`
  const payload = call.body === undefined ? empty : encoder.encode(JSON.stringify(call.body))
  return new Promise((resolve, reject) => {
    let over = false
    let why = 'no answer'
    let next: Timer | null = null
    let pause = call.againMs ?? AGAIN_MS.first

    const finish = (run: () => void) => {
      if (over) return
      over = true
      next?.cancel()
      run()
    }
    const again = (ms: number) => {
      if (over) return
      next?.cancel()
      next = world.setTimer(ms, attempt)
    }
    const attempt = () => {
      const left = end - world.monotonic()
      if (left <= 0) return finish(() => reject(silentNats(subject, why, link.described)))
      void link.request({ subject, payload, deadlineMs: left }).then((reply) => {
        const answer = answerOf<T>(reply)
        if (typeof answer === 'object') return finish(() => resolve(answer))
        if (reply.kind === 'denied')
          return finish(() => reject(deniedNats(reply.operation, reply.subject, link.described)))
        if (reply.kind === 'invalid') return finish(() => reject(silentNats(subject, answer, link.described)))
        if (reply.kind === 'silence' && why !== 'no answer') return
        why = answer
        if (reply.kind !== 'silence') again(Math.min(PAUSE_MS, Math.max(0, end - world.monotonic())))
      })
      const ms = pause
      pause = Math.min(Math.max(pause, AGAIN_MS.most), pause * 2)
      again(Math.min(ms, left))
    }
    attempt()
  })
}

/** The answer, or why there is none. */
export function answerOf<T>(reply: NatsReply): ApiAnswer<T> | string {
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
