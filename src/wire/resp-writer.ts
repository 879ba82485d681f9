/**
 * Writes RESP commands (https://redis.io/docs/latest/develop/reference/protocol-spec/) into a buffer that is used again.
 *
 * Arguments are appended as strings or as ranges of someone else's bytes; their number need not be known before. It
 * knows no command. A taken buffer is the caller's until `release`: give it back only when the socket has let go of it.
 */

/** Buffers kept for reuse; a larger one than this is left to the collector. */
const KEPT_BYTES = 4 * 1024 * 1024
const KEPT_BUFFERS = 8
const STAR = 0x2a
const DOLLAR = 0x24
const CR = 0x0d
const LF = 0x0a
const ZERO = 0x30
const DASH = 0x2d
const SPLIT = 1e8
const SPLIT_DIGITS = 8
/** Below this many bytes a loop is quicker than a native copy. */
const LOOP_BYTES = 40
/** Room for the head of a command that holds commands: `*`, up to eight digits, CR LF. */
const OUTER_HEAD = 11
/** Digits of the number of arguments in front of a command inside a command. */
const COUNT_DIGITS = 4

export interface RespWriter {
  /** Bytes written since the last `take`. */
  readonly size: number
  begin(): void
  /** An argument as UTF-8. */
  text(value: string): void
  slice(bytes: Uint8Array, start: number, end: number): void
  /** A whole number from 0 to 2^53-1, in decimal. */
  integer(value: number): void
  /** Two whole numbers from 0 to 2^53-1 with a dash between them: the id of a stream's entry. */
  pair(first: number, second: number): void
  /** Ends the command: writes how many arguments it has. */
  end(): void
  /** Forgets everything behind `size`, such as a command that could not be finished. */
  rewind(size: number): void
  /**
   * The command that was begun last goes on with whole commands as its arguments, for a script: what `begin` to `end`
   * writes from now on is the number of its arguments (four digits), and then these. Only the first command of a buffer
   * may be nested in; `take` ends it. `end` throws TooManyArguments for a nested command of more than `limit`, at most
   * 9,999.
   */
  nest(limit: number): void
  /** Arguments of the command that is nested in; 0 outside. */
  readonly nested: number
  /** `rewind` for what is nested: `nested` as it was. */
  rewindNested(size: number, nested: number): void
  /** What was written, for one socket write; writing goes on in another buffer. */
  take(): Uint8Array
  release(bytes: Uint8Array): void
}

/** A command inside a command has more arguments than its reader can take. */
export class TooManyArguments extends Error {}

export function respWriter(initialBytes = 64 * 1024): RespWriter {
  let buffer: Buffer = Buffer.allocUnsafeSlow(initialBytes)
  const spare: Buffer[] = []
  let at = 0
  let commandAt = 0
  let bodyAt = 0
  let count = 0
  // The head of a command is written after its arguments, in a gap as wide as the last head was.
  let headWidth = 5
  let nesting = false
  let nested = 0
  let limit = 0

  function grow(bytes: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(buffer.length * 2, at + bytes + 64))
    buffer.copy(larger, 0, 0, at)
    buffer = larger
  }

  function digits(value: number): void {
    if (value < 10) {
      buffer[at++] = ZERO + value
      return
    }
    if (value < 100) {
      const tens = (value / 10) | 0
      buffer[at++] = ZERO + tens
      buffer[at++] = ZERO + value - tens * 10
      return
    }
    if (value >= SPLIT) {
      // Two halves that fit 31 bits: whole-number arithmetic is several times quicker than that on doubles.
      const upper = Math.floor(value / SPLIT)
      digits(upper)
      fill(value - upper * SPLIT, SPLIT_DIGITS)
      return
    }
    let width = 3
    for (let limit = 1000; value >= limit; limit *= 10) width++
    fill(value, width)
  }

  /** The last `width` decimal digits of a number below 2^31, with leading zeros. */
  function fill(value: number, width: number): void {
    let rest = value | 0
    for (let place = at + width - 1; place >= at; place--) {
      const tenth = (rest / 10) | 0
      buffer[place] = ZERO + (rest - tenth * 10)
      rest = tenth
    }
    at += width
  }

  function head(type: number, value: number): void {
    buffer[at++] = type
    digits(value)
    buffer[at++] = CR
    buffer[at++] = LF
  }

  function tail(): void {
    buffer[at++] = CR
    buffer[at++] = LF
    count++
  }

  return {
    get size() {
      return at
    },
    begin() {
      if (at + 64 > buffer.length) grow(64)
      commandAt = at
      if (nesting) {
        head(DOLLAR, COUNT_DIGITS)
        at += COUNT_DIGITS + 2
        count = 0
        return
      }
      at += headWidth
      bodyAt = at
      count = 0
    },
    text(value) {
      const length = value.length
      if (at + length * 3 + 40 > buffer.length) grow(length * 3 + 40)
      if (length <= LOOP_BYTES) {
        const from = at
        head(DOLLAR, length)
        let index = 0
        for (; index < length; index++) {
          const code = value.charCodeAt(index)
          if (code > 0x7f) break
          buffer[at++] = code
        }
        if (index === length) {
          tail()
          return
        }
        at = from
      }
      head(DOLLAR, Buffer.byteLength(value, 'utf8'))
      at += buffer.write(value, at, 'utf8')
      tail()
    },
    slice(bytes, start, end) {
      const length = end - start
      if (at + length + 40 > buffer.length) grow(length + 40)
      head(DOLLAR, length)
      if (length <= LOOP_BYTES) for (let index = start; index < end; index++) buffer[at++] = bytes[index]!
      else {
        buffer.set(bytes.subarray(start, end), at)
        at += length
      }
      tail()
    },
    integer(value) {
      if (at + 64 > buffer.length) grow(64)
      head(DOLLAR, widthOf(value))
      digits(value)
      tail()
    },
    pair(first, second) {
      if (at + 96 > buffer.length) grow(96)
      head(DOLLAR, widthOf(first) + 1 + widthOf(second))
      digits(first)
      buffer[at++] = DASH
      digits(second)
      tail()
    },
    end() {
      if (nesting) {
        if (count > limit) throw new TooManyArguments(`${count} arguments, and a script takes ${limit} for one command`)
        const after = at
        at = commandAt + 4
        fill(count, COUNT_DIGITS)
        buffer[at++] = CR
        buffer[at++] = LF
        at = after
        nested += count + 1
        return
      }
      let width = 4
      for (let limit = 10; count >= limit; limit *= 10) width++
      if (width !== headWidth) {
        if (at + width > buffer.length) grow(width)
        buffer.copyWithin(commandAt + width, bodyAt, at)
        at += width - headWidth
        headWidth = width
      }
      const after = at
      at = commandAt
      head(STAR, count)
      at = after
    },
    rewind(size) {
      at = size
    },
    nest(most) {
      // Its head is written by `take`, flush against its arguments.
      if (commandAt !== 0) throw new RangeError('only the first command of a buffer may hold others')
      if (at + OUTER_HEAD > buffer.length) grow(OUTER_HEAD)
      buffer.copyWithin(OUTER_HEAD, bodyAt, at)
      at += OUTER_HEAD - bodyAt
      nesting = true
      limit = most
      nested = count
    },
    get nested() {
      return nested
    },
    rewindNested(size, before) {
      at = size
      nested = before
    },
    take() {
      let from = 0
      if (nesting) {
        const after = at
        from = OUTER_HEAD - 3 - widthOf(nested)
        at = from
        head(STAR, nested)
        at = after
        nesting = false
        nested = 0
      }
      const taken = buffer.subarray(from, at)
      buffer = spare.pop() ?? Buffer.allocUnsafeSlow(Math.max(initialBytes, Math.min(buffer.length, KEPT_BYTES)))
      at = 0
      return taken
    },
    release(bytes) {
      if (bytes.buffer.byteLength > KEPT_BYTES || spare.length >= KEPT_BUFFERS) return
      spare.push(Buffer.from(bytes.buffer))
    },
  }
}

function widthOf(value: number): number {
  let width = 1
  for (let limit = 10; value >= limit; limit *= 10) width++
  return width
}

/** One command of strings, for what is not hot. */
export function respCommand(args: readonly (string | Uint8Array)[]): Uint8Array {
  const writer = respWriter(1024)
  writer.begin()
  for (const arg of args) {
    if (typeof arg === 'string') writer.text(arg)
    else writer.slice(arg, 0, arg.length)
  }
  writer.end()
  return writer.take()
}
