/**
 * Cuts the backend messages of the PostgreSQL protocol out of chunks of bytes (manual, "Message Formats").
 *
 * A message that lies whole in a chunk is handed on in place; one that spans chunks is gathered once, in a buffer of
 * its own size, so that a row of hundreds of megabytes costs one copy. `hold` stops between two messages and keeps what
 * is left of the chunk; nothing is lost or reordered. Knows nothing of what the messages mean.
 */
import { TroupeError } from '../world/error.js'

/** `bytes[start..end)` is the body of the message, without type and length. Good until the call returns. */
export type MessageHandler = (type: number, bytes: Uint8Array, start: number, end: number) => void

export interface MessageWalker {
  /** True between `hold` and `release`. */
  readonly held: boolean
  /** Walks `bytes[0..length)`. While held the bytes are kept (copied if an earlier rest is still there). */
  feed(bytes: Uint8Array, length: number): void
  /** No further message is handed on until `release`; may be called inside the handler. */
  hold(): void
  /** Goes on with what was kept. Called inside the handler, it merely takes back the hold. */
  release(): void
}

const HEADER = 5

/** @param limit the largest message accepted, in bytes; the server's own is 1 GiB */
export function createMessageWalker(handle: MessageHandler, limit = 0x4000_0000): MessageWalker {
  let held = false
  let walking = false
  /** What `hold` left of a chunk, in order. */
  const rest: { bytes: Uint8Array; at: number; end: number }[] = []
  /** The first bytes of a message whose length is not known yet. */
  const header = new Uint8Array(HEADER)
  let headerFilled = 0
  /** A message that spans chunks, and how much of it is here. */
  let partial: Uint8Array | null = null
  let partialFilled = 0

  function sizeOf(bytes: Uint8Array, at: number): number {
    const length = ((bytes[at + 1]! << 24) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 8) | bytes[at + 4]!) >>> 0
    if (length < 4 || length > limit)
      throw new TroupeError({
        code: 'wire-broken',
        message: `the server announced a message of ${length} bytes (type ${bytes[at]}); 4 to ${limit} are possible`,
        remedy: 'check that nothing between Troupe and PostgreSQL changes the bytes',
      })
    return length + 1
  }

  function emit(bytes: Uint8Array, at: number, size: number): void {
    handle(bytes[at]!, bytes, at + HEADER, at + size)
  }

  /** Completes the header that the last chunk began; gives the new place in the chunk. */
  function fillHeader(bytes: Uint8Array, at: number, end: number): number {
    const take = Math.min(HEADER - headerFilled, end - at)
    header.set(bytes.subarray(at, at + take), headerFilled)
    headerFilled += take
    if (headerFilled < HEADER) return end
    headerFilled = 0
    const size = sizeOf(header, 0)
    if (size === HEADER) {
      emit(header, 0, HEADER)
      return at + take
    }
    partial = Buffer.allocUnsafe(size)
    partial.set(header, 0)
    partialFilled = HEADER
    return at + take
  }

  function fillPartial(bytes: Uint8Array, at: number, end: number): number {
    const message = partial!
    const take = Math.min(message.length - partialFilled, end - at)
    message.set(bytes.subarray(at, at + take), partialFilled)
    partialFilled += take
    if (partialFilled < message.length) return end
    partial = null
    emit(message, 0, message.length)
    return at + take
  }

  /** Gives the place where it stopped: the end, or earlier when held. */
  function walk(bytes: Uint8Array, from: number, end: number): number {
    let at = from
    while (!held && at < end) {
      if (partial !== null) {
        at = fillPartial(bytes, at, end)
        continue
      }
      if (headerFilled > 0 || end - at < HEADER) {
        at = fillHeader(bytes, at, end)
        continue
      }
      const size = sizeOf(bytes, at)
      if (size > end - at) {
        partial = Buffer.allocUnsafe(size)
        partialFilled = 0
        at = fillPartial(bytes, at, end)
        continue
      }
      const next = at + size
      emit(bytes, at, size)
      at = next
    }
    return at
  }

  function drainRest(): void {
    if (walking) return
    walking = true
    try {
      while (rest.length > 0 && !held) {
        const first = rest[0]!
        first.at = walk(first.bytes, first.at, first.end)
        if (first.at < first.end) return
        rest.shift()
      }
    } finally {
      walking = false
    }
  }

  return {
    get held() {
      return held
    },
    feed(bytes, length) {
      const kept = held || rest.length > 0
      rest.push({ bytes: kept ? bytes.slice(0, length) : bytes, at: 0, end: length })
      drainRest()
    },
    hold() {
      held = true
    },
    release() {
      held = false
      drainRest()
    },
  }
}
