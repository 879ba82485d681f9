/**
 * Errors and ends with their texts cut: they tell what happened, and however long that is, they must fit and arrive.
 */
import type { WireError, WireReason } from '../failure.js'
import type { WireOutcome } from '../thread/to-thread.js'

/** Characters of each text. */
export const MAX_TEXT = 16_384

export function shortReason(reason: WireReason): WireReason {
  if (reason.kind === 'error') return { kind: 'error', error: shortError(reason.error) }
  return 'detail' in reason ? { ...reason, detail: cut(reason.detail) } : reason
}

export function shortOutcome(outcome: WireOutcome): WireOutcome {
  return outcome.ok ? outcome : { ok: false, error: shortError(outcome.error) }
}

function shortError(error: WireError): WireError {
  const stack = error.stack === undefined ? undefined : cut(error.stack)
  const cause = error.cause === undefined ? {} : { cause: shortError(error.cause) }
  if (error.kind === 'other') return { ...error, name: cut(error.name), message: cut(error.message), stack, ...cause }
  const { code, message, place, remedy, exitCode, permanent } = error.init
  const init = {
    code: cut(code),
    message: cut(message),
    ...(place === undefined ? {} : { place: cut(place) }),
    ...(remedy === undefined ? {} : { remedy: cut(remedy) }),
    ...(exitCode === undefined ? {} : { exitCode }),
    ...(permanent === undefined ? {} : { permanent }),
  }
  return { kind: 'troupe', init, stack, ...cause }
}

function cut(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text
}
