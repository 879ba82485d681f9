/**
 * The kernel's errors, and how any error or exit reason crosses a thread.
 *
 * A TroupeError arrives as a TroupeError with its code, remedy and cause; every other error keeps its name, message and
 * stack. Structured clone alone would lose the name and the fields.
 */
import { messageOf, TroupeError, type TroupeErrorInit } from '../world/error.js'
import type { ExitReason } from './actor.js'

/** An `ask` was not answered within its deadline. Code `ask-timeout`. */
export function askTimeout(path: string, deadlineMs: number): TroupeError {
  return new TroupeError({
    code: 'ask-timeout',
    message: `no answer within ${deadlineMs} ms`,
    place: path,
    remedy: 'look at the actor in `troupe tree`: a deep mailbox means it is slower than its callers',
  })
}

/** The target of an `ask` (or a spawn) has ended, never existed, or its thread died. Code `actor-gone`. */
export function actorGone(path: string, detail: string): TroupeError {
  return new TroupeError({
    code: 'actor-gone',
    message: detail,
    place: path,
    remedy: 'ask again once its supervisor has restarted it',
  })
}

export function mailboxFull(path: string, capacity: number): TroupeError {
  return new TroupeError({
    code: 'mailbox-full',
    message: `${capacity} messages are waiting already`,
    place: path,
    remedy: "send by credits, or raise the child spec's mailbox.capacity",
  })
}

/** The way to another thread or node holds all it can. Code `link-full`. */
export function linkFull(path: string, kind: 'thread' | 'node', name: string): TroupeError {
  return new TroupeError({
    code: 'link-full',
    message: `${kind} '${name}' has not taken what was sent to it before`,
    place: path,
    remedy: 'send by credits: the receiver is slower than its senders',
  })
}

/** The actor takes no messages from other nodes. Code `not-reachable`. */
export function notReachable(path: string): TroupeError {
  return new TroupeError({
    code: 'not-reachable',
    message: 'this actor takes no messages from other nodes',
    place: path,
    remedy: 'give its defineActor a check for them: { messages: schema }',
    permanent: true,
  })
}

/** A message from another node did not pass the actor's check. Code `bad-message`. */
export function badMessage(path: string, node: string, cause: unknown): TroupeError {
  return new TroupeError({
    code: 'bad-message',
    message: `what node '${node}' sent does not pass the check: ${messageOf(cause).slice(0, MAX_CAUSE_TEXT)}`,
    place: path,
    remedy: 'send what the actor declares; nodes of another version may differ',
  })
}

/** Checks name what they do not like, and so quote what came from outside. */
const MAX_CAUSE_TEXT = 500

/**
 * Known by its shape: an actor's module may have been loaded from the compiled tree while the kernel runs from the
 * sources, so there can be two classes of this name.
 */
export function isTroupeError(error: unknown): error is TroupeError {
  return (
    error instanceof Error &&
    'code' in error &&
    'permanent' in error &&
    'toJSON' in error &&
    error.name === 'TroupeError'
  )
}

/** Whether an actor's asker was told that the actor is gone. */
export function isActorGone(error: unknown): boolean {
  return isTroupeError(error) && error.code === 'actor-gone'
}

/** An error as it crosses a thread. */
export type WireError =
  | {
      readonly kind: 'troupe'
      readonly init: TroupeErrorInit
      readonly stack: string | undefined
      readonly cause?: WireError
    }
  | {
      readonly kind: 'other'
      readonly name: string
      readonly message: string
      readonly stack: string | undefined
      readonly cause?: WireError
    }

/** Causes deeper than this stay behind; a chain can be a ring. */
const MAX_CAUSES = 5

export function encodeError(error: Error, depth = 0): WireError {
  const cause = error.cause instanceof Error && depth < MAX_CAUSES ? { cause: encodeError(error.cause, depth + 1) } : {}
  if (isTroupeError(error)) return { kind: 'troupe', init: error.toJSON(), stack: error.stack, ...cause }
  return { kind: 'other', name: error.name, message: error.message, stack: error.stack, ...cause }
}

export function decodeError(wire: WireError): Error {
  const cause = wire.cause === undefined ? undefined : decodeError(wire.cause)
  const error =
    wire.kind === 'troupe' ? TroupeError.fromJSON({ ...wire.init, cause }) : new Error(wire.message, { cause })
  if (wire.kind === 'other') error.name = wire.name
  if (wire.stack !== undefined) error.stack = wire.stack
  return error
}

/** An exit reason as it crosses a thread. */
export type WireReason =
  | Exclude<ExitReason, { readonly kind: 'error' }>
  | { readonly kind: 'error'; readonly error: WireError }

export function encodeReason(reason: ExitReason): WireReason {
  return reason.kind === 'error' ? { kind: 'error', error: encodeError(reason.error) } : reason
}

export function decodeReason(wire: WireReason): ExitReason {
  return wire.kind === 'error' ? { kind: 'error', error: decodeError(wire.error) } : wire
}

export function describeReason(reason: ExitReason): string {
  switch (reason.kind) {
    case 'error':
      return isTroupeError(reason.error) ? `${reason.error.code}: ${reason.error.message}` : messageOf(reason.error)
    case 'killed':
    case 'lost':
      return `${reason.kind}: ${reason.detail}`
    default:
      return reason.kind
  }
}

/** `normal` and `shutdown` are no failures. */
export function isFailure(reason: ExitReason): boolean {
  return reason.kind !== 'normal' && reason.kind !== 'shutdown'
}
