/**
 * Finds whole RESP2 replies in a stream of bytes, and decodes one where its value is wanted.
 *
 * The walk goes on where it stopped, so that a reply that spans many chunks is walked once.
 */

/** Takes what it can of what a socket has read. */
export interface RespConsumer {
  /**
   * Looks at `bytes[start..end)` and gives the offset up to which it is done with them. The rest is given again, with
   * more behind it and perhaps at another place of another buffer, so nothing may be kept but offsets from `start`.
   */
  consume(bytes: Uint8Array, start: number, end: number): number
  /** Bytes from `start` that must be there before calling again can help; 0 where it does not know. */
  readonly needed: number
}

/** An error that Redis replied with. `code` is its first word: `WRONGTYPE`, `NOGROUP`, `ERR`. */
export class RespError extends Error {
  readonly code: string
  constructor(message: string) {
    super(message)
    this.name = 'RespError'
    this.code = /^[A-Z]+/.exec(message)?.[0] ?? 'ERR'
  }
}

/** Bytes that are no RESP, or beyond our bounds: the connection is of no further use. */
export class RespProtocolError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'RespProtocolError'
  }
}

export type RespValue = Buffer | string | number | null | RespError | readonly RespValue[]

/** Largest bulk string that we take: Redis's own default (proto-max-bulk-len) is half of it. */
export const MAX_BULK_BYTES = 1024 * 1024 * 1024

/** Calls `onReply` for each whole reply; `bytes[start]` is its type byte. */
export function replyWalker(onReply: (bytes: Uint8Array, start: number, end: number) => void): RespConsumer {
  // Where the walk stopped inside the reply at `start`, and how many values it still has to pass.
  let walked = 0
  let pending = 1
  let needed = 0

  return {
    get needed() {
      return needed
    },
    consume(bytes, start, end) {
      let begin = start
      let at = start + walked
      needed = 0
      while (at < end) {
        const type = bytes[at]!
        let line = at + 1
        while (line < end && bytes[line] !== 0x0d) line++
        if (line + 2 > end) break
        let next = line + 2
        if (type === 0x24 || type === 0x2a) {
          const length = decimal(bytes, at + 1, line)
          if (type === 0x2a) pending += Math.max(length, 0)
          else if (length >= 0) next += length + 2
          if (length > MAX_BULK_BYTES) throw new RespProtocolError(`a reply of ${length} bytes or items`)
        } else if (type !== 0x2b && type !== 0x2d && type !== 0x3a) {
          throw new RespProtocolError(`a reply that begins with byte ${type}`)
        }
        if (next > end) {
          if (type === 0x2a) pending -= Math.max(decimal(bytes, at + 1, line), 0)
          needed = next - begin
          break
        }
        at = next
        if (--pending > 0) continue
        pending = 1
        const from = begin
        begin = at
        onReply(bytes, from, at)
      }
      walked = at - begin
      return begin
    },
  }
}

export function decodeReply(bytes: Uint8Array, start: number): RespValue {
  return decodeAt(bytes, start).value
}

function decodeAt(bytes: Uint8Array, start: number): { readonly value: RespValue; readonly next: number } {
  let line = start + 1
  while (bytes[line] !== 0x0d) line++
  const next = line + 2
  switch (bytes[start]) {
    case 0x2b:
      return { value: latin(bytes, start + 1, line), next }
    case 0x2d:
      return { value: new RespError(latin(bytes, start + 1, line)), next }
    case 0x3a:
      return { value: decimal(bytes, start + 1, line), next }
    case 0x24: {
      const length = decimal(bytes, start + 1, line)
      if (length < 0) return { value: null, next }
      return { value: Buffer.from(bytes.subarray(next, next + length)), next: next + length + 2 }
    }
    default: {
      const length = decimal(bytes, start + 1, line)
      if (length < 0) return { value: null, next }
      const items: RespValue[] = []
      let at = next
      for (let index = 0; index < length; index++) {
        const item = decodeAt(bytes, at)
        items.push(item.value)
        at = item.next
      }
      return { value: items, next: at }
    }
  }
}

function latin(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1')
}

/** The decimal number in `bytes[start..end)`. @throws RespProtocolError */
export function decimal(bytes: Uint8Array, start: number, end: number): number {
  const negative = bytes[start] === 0x2d
  let value = 0
  for (let at = negative ? start + 1 : start; at < end; at++) {
    const digit = bytes[at]! - 0x30
    if (digit < 0 || digit > 9) throw new RespProtocolError('a length that is no number')
    value = value * 10 + digit
  }
  return negative ? -value : value
}
