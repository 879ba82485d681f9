/**
 * What JetStream writes into the reply subject of a message that a consumer delivers:
 * `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>[.<token>]`
 * (ADR-15 of NATS).
 */
export interface Delivery {
  readonly streamSequence: number
  readonly consumerSequence: number
  /** ms since the Unix epoch, by the server's clock. */
  readonly storedAt: number
  /** Messages that the consumer had still to deliver. */
  readonly pending: number
}

/** Null: not a delivered message. */
export function deliveryOf(reply: string | undefined): Delivery | null {
  if (reply === undefined || !reply.startsWith('$JS.ACK.')) return null
  const tokens = reply.split('.')
  if (tokens.length !== 9 && tokens.length < 11) return null
  const at = tokens.length === 9 ? 5 : 7
  const streamSequence = Number(tokens[at])
  const consumerSequence = Number(tokens[at + 1])
  // Nanoseconds exceed what a number holds exactly.
  const storedAt = Number(tokens[at + 2]!.slice(0, -6))
  const pending = Number(tokens[at + 3])
  if (!(streamSequence > 0) || !(consumerSequence > 0)) return null
  return { streamSequence, consumerSequence, storedAt, pending }
}
