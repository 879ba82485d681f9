/**
 * How much a reading may ask for: a machine without I/O that counts bytes.
 *
 * `held` is what was delivered and not credited (payload), `open` what the server may still send on the pulls that are out
 * (payload, headers and subjects, as it counts them). Together they stay within the window. A pull goes out when a
 * quarter of the window is free, so that small ones do not pile up. The server ends a pull whose rest is smaller than the next
 * message: then nothing is asked until twice as much is free, at last the whole window, and when that is too small as
 * well, for the one message alone, whatever its size. So each message passes, and no refusal is asked for twice.
 */
export type Pull = { readonly kind: 'bytes'; readonly bytes: number } | { readonly kind: 'one' }

export interface PullWindow {
  /** What to ask for now, counted as asked; null: nothing. */
  next(): Pull | null
  /** A message has come: its payload, and its size as the server counts it. */
  delivered(payload: number, size: number): void
  /** A pull is over, with so many bytes unused; `tooLarge`: because the next message did not fit. */
  ended(unused: number, tooLarge: boolean): void
  credit(payload: number): void
  /** The consumer is another one: nothing is asked for. */
  reset(): void
  /** The server owes a message or a heartbeat. */
  readonly asked: boolean
}

export function createPullWindow(size: number): PullWindow {
  const window = Math.max(1, size)
  const quarter = Math.max(1, Math.floor(window / 4))
  let held = 0
  let open = 0
  let least = quarter
  /** The whole window was too small for the next message. */
  let outgrown = false
  /** It has been asked for alone. */
  let alone = false

  return {
    next() {
      if (alone) return null
      if (outgrown) {
        if (held > 0 || open > 0) return null
        alone = true
        open = window
        return { kind: 'one' }
      }
      const free = window - held - open
      if (free < least) return null
      open += free
      return { kind: 'bytes', bytes: free }
    },
    delivered(payload, counted) {
      open = alone ? 0 : Math.max(0, open - counted)
      held += payload
      alone = false
      outgrown = false
      least = quarter
    },
    ended(unused, tooLarge) {
      open = alone ? 0 : Math.max(0, open - unused)
      alone = false
      if (!tooLarge) return
      if (unused >= window) outgrown = true
      least = Math.min(window, Math.max(least, unused * 2))
    },
    credit(payload) {
      held = Math.max(0, held - payload)
    },
    reset() {
      open = 0
      alone = false
      outgrown = false
      least = quarter
    },
    get asked() {
      return open > 0
    },
  }
}
