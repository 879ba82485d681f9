/**
 * Requests on a NATS connection, and what became of each: a reply, a refusal, or the exact kind of silence.
 *
 * The client's own `request` tells neither whether a message can have left before the connection went, nor that a message
 * which was published before the request was denied (the server says so as an event of the connection, not as a
 * reply). Who commits a batch must know both. One inbox for all requests; at most `MAX_PENDING` wait at a time.
 */
import type { Msg, MsgHdrs, NatsConnection } from '@nats-io/transport-node'
import { messageOf } from '../../world/error.js'
import type { Timer, World } from '../../world/world.js'

export interface OutgoingMessage {
  readonly subject: string
  readonly payload: Uint8Array
  readonly headers?: MsgHdrs
}

export interface NatsRequest extends OutgoingMessage {
  readonly deadlineMs: number
  /** Published before it, in the same turn and so on the same connection, without replies: the first messages of a batch. */
  readonly before?: readonly OutgoingMessage[]
}

/**
 * `reply`: somebody answered. `no-responders`: the server knows nobody who listens to the subject (status 503).
 * `silence`: no answer in time. `lost`: the connection went after the request was handed to it: it may have arrived.
 * `unsent`: there was no connection, nothing left. `denied`: the server refused one of the messages, or our inbox.
 * `invalid`: it cannot be sent as it is.
 */
export type NatsReply =
  | { readonly kind: 'reply'; readonly data: Uint8Array }
  | { readonly kind: 'no-responders' }
  | { readonly kind: 'silence'; readonly ms: number }
  | { readonly kind: 'lost' }
  | { readonly kind: 'unsent'; readonly why: string }
  | { readonly kind: 'denied'; readonly operation: 'publish' | 'subscription'; readonly subject: string }
  | { readonly kind: 'invalid'; readonly why: string }

export interface Requests {
  send(request: NatsRequest): Promise<NatsReply>
  /** The server has refused a publish or a subscription. */
  denied(operation: 'publish' | 'subscription', subject: string): void
  /** The connection is away: nothing that waits will be answered. */
  lost(): void
  close(): void
}

interface Pending {
  readonly subjects: ReadonlySet<string>
  readonly resolve: (reply: NatsReply) => void
  readonly timer: Timer
  /** It ends a row of messages, one of which may have been denied: then the reply says only that it is missing. */
  readonly follows: boolean
}

const MAX_PENDING = 10_000

export function createRequests(init: {
  readonly world: World
  readonly connection: NatsConnection
  /** Of our requests alone. */
  readonly inbox: string
  readonly connected: () => boolean
}): Requests {
  const { world, connection, inbox } = init
  const pending = new Map<string, Pending>()
  let last = 0
  let inboxDenied = false

  const settle = (token: string, reply: NatsReply) => {
    const one = pending.get(token)
    if (one === undefined) return
    pending.delete(token)
    one.timer.cancel()
    one.resolve(reply)
  }
  const settleAll = (reply: NatsReply) => {
    for (const token of [...pending.keys()]) settle(token, reply)
  }
  const subscription = connection.subscribe(`${inbox}.*`, {
    callback: (error, message) => {
      // A refused subscription comes as an event of the connection too, and is dealt with there.
      if (error !== null) return
      const token = message.subject.slice(inbox.length + 1)
      // The refusal of a message before it was received earlier, but the client tells it a few microtasks later.
      if (pending.get(token)?.follows === true) world.defer(() => settle(token, replyOf(message)))
      else settle(token, replyOf(message))
    },
  })

  return {
    send(request) {
      if (inboxDenied)
        return Promise.resolve({ kind: 'denied', operation: 'subscription', subject: `${inbox}.*` } as const)
      if (!init.connected()) return Promise.resolve({ kind: 'unsent', why: 'not connected' } as const)
      if (pending.size >= MAX_PENDING)
        return Promise.resolve({ kind: 'unsent', why: `${MAX_PENDING} requests wait already` } as const)
      return new Promise<NatsReply>((resolve) => {
        const token = (++last).toString(36)
        const { before = [], deadlineMs } = request
        pending.set(token, {
          subjects: new Set([...before.map((one) => one.subject), request.subject]),
          resolve,
          follows: before.length > 0,
          timer: world.setTimer(deadlineMs, () => settle(token, { kind: 'silence', ms: deadlineMs })),
        })
        try {
          for (const one of before) publish(connection, one)
          publish(connection, request, `${inbox}.${token}`)
        } catch (error) {
          // What was published before it is a batch without its end, which the server forgets.
          const closed = connection.isClosed() || connection.isDraining()
          settle(token, closed ? { kind: 'unsent', why: 'closed' } : { kind: 'invalid', why: messageOf(error) })
        }
      })
    },
    denied(operation, subject) {
      if (operation === 'subscription') {
        if (subject !== `${inbox}.*`) return
        inboxDenied = true
        settleAll({ kind: 'denied', operation, subject })
        return
      }
      for (const [token, one] of [...pending])
        if (one.subjects.has(subject)) settle(token, { kind: 'denied', operation, subject })
    },
    lost: () => settleAll({ kind: 'lost' }),
    close() {
      settleAll({ kind: 'lost' })
      if (!connection.isClosed()) subscription.unsubscribe()
    },
  }
}

function publish(connection: NatsConnection, { subject, payload, headers }: OutgoingMessage, reply?: string): void {
  connection.publish(subject, payload, {
    ...(headers === undefined ? {} : { headers }),
    ...(reply === undefined ? {} : { reply }),
  })
}

function replyOf(message: Msg): NatsReply {
  if (message.data.length === 0 && message.headers?.code === 503) return { kind: 'no-responders' }
  return { kind: 'reply', data: message.data }
}
