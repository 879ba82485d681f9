/**
 * The only way in which Troupe sees time, chance and timers.
 *
 * Everything below the drivers takes a `World`, so that a whole node runs under a virtual clock and a seed, and a
 * failing seed is a one-line repro. Nothing else in src/ may call Date.now, setTimeout, Math.random or crypto
 * randomness (`npm run lint` checks it).
 */
export interface World {
  /** Wall clock, milliseconds since the Unix epoch. May jump; use it to label, never to measure. */
  now(): number
  /** Monotonic clock, milliseconds with a fraction. Its origin means nothing. */
  monotonic(): number
  /** A number in [0, 1). */
  random(): number
  /** `length` random bytes (0 to 65,536). */
  randomBytes(length: number): Uint8Array
  /** Calls `run` once after at least `ms` milliseconds (0 to 2^31-1). Never keeps the process alive by itself if `background`. */
  setTimer(ms: number, run: () => void, options?: { readonly background?: boolean }): Timer
  /** Calls `run` after the current turn of the event loop, so that I/O gets its turn first. */
  defer(run: () => void): void
}

/** A timer that can be taken back. Cancelling twice, or after it has fired, does nothing. */
export interface Timer {
  cancel(): void
}
