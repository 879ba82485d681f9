/** The answer to a question as it crosses a thread. */
import type { Outcome } from '../asks.js'
import { decodeError, encodeError } from '../failure.js'
import type { WireOutcome } from './to-thread.js'

export function encodeOutcome(outcome: Outcome): WireOutcome {
  return outcome.ok ? outcome : { ok: false, error: encodeError(outcome.error) }
}

export function decodeOutcome(wire: WireOutcome): Outcome {
  return wire.ok ? wire : { ok: false, error: decodeError(wire.error) }
}
