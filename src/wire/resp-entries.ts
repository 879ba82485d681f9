/**
 * Walks the replies to XREAD and XREADGROUP (RESP2) and gives the entries as ranges of bytes, decoding nothing.
 *
 *     *streams ( *2 $name *entries ( *2 $id *2n ( $field $value )… )… )…      or  *-1 when there was nothing to read
 *
 * Ranges are collected until the reply is whole, so that the next read can be asked for before the entries of this one
 * are worked on; a reply that is larger than `holdBytes` is handed over in parts. The walk goes on where it stopped:
 * neither a reply in many chunks nor an entry of many fields is walked twice.
 */
import { decimal, MAX_BULK_BYTES, type RespConsumer, RespProtocolError } from './resp-reply.js'

/** Fields of one entry in `EntryBatch.ranges`. All are offsets into `bytes`, but `stream`. */
export const entryFields = {
  /** Index into the walker's `streams`. */
  stream: 0,
  idStart: 1,
  idEnd: 2,
  /** The array of fields and values with its head; -1 for an entry that was deleted. */
  bodyStart: 3,
  bodyEnd: 4,
  /** The value of the key field; -1 where the entry has none. */
  keyStart: 5,
  keyEnd: 6,
} as const
export const ENTRY_STRIDE = 7

/** Valid during the call that it is given to. */
export interface EntryBatch {
  readonly bytes: Uint8Array
  readonly count: number
  readonly ranges: Int32Array
}

export interface EntryHandler {
  /** A reply is whole; `batch` is what of it was not handed over before (count 0 if there was nothing to read). */
  reply(batch: EntryBatch): void
  /** A part of a large reply. */
  part(batch: EntryBatch): void
  /** Redis replied with an error. */
  error(message: string): void
}

export interface EntryWalkerOptions {
  /** Names of the streams that are read. */
  readonly streams: readonly Uint8Array[]
  /** Name of the field whose value is the key; null: none is looked for. The first field of that name counts. */
  readonly keyField: Uint8Array | null
  /** Default 4 MiB. */
  readonly holdBytes?: number
}

enum State {
  Reply,
  Stream,
  Name,
  Entries,
  Entry,
  Id,
  Body,
  Field,
}

export function entryWalker(options: EntryWalkerOptions, handler: EntryHandler): RespConsumer {
  const { streams, keyField } = options
  const keyLength = keyField === null ? -1 : keyField.length
  const holdBytes = options.holdBytes ?? 4 * 1024 * 1024
  let state: State = State.Reply
  /** Offset from `start`: of the walk, of the entry that is being walked, of its key. */
  let walked = 0
  let needed = 0
  let streamsLeft = 0
  let entriesLeft = 0
  let fieldsLeft = 0
  let stream = 0
  /** Ranges of the entries found so far, as offsets from `start`; made absolute when they are handed over. */
  let ranges = new Int32Array(1024 * ENTRY_STRIDE)
  let count = 0
  let idStart = 0
  let idEnd = 0
  let bodyStart = 0
  let keyStart = -1
  let keyEnd = -1

  function push(bodyFrom: number, bodyTo: number): void {
    let slot = count * ENTRY_STRIDE
    if (slot === ranges.length) {
      const larger = new Int32Array(ranges.length * 2)
      larger.set(ranges)
      ranges = larger
    }
    ranges[slot++] = stream
    ranges[slot++] = idStart
    ranges[slot++] = idEnd
    ranges[slot++] = bodyFrom
    ranges[slot++] = bodyTo
    ranges[slot++] = keyStart
    ranges[slot] = keyEnd
    count++
  }

  function batch(bytes: Uint8Array, start: number): EntryBatch {
    if (start !== 0) {
      for (let slot = 0, end = count * ENTRY_STRIDE; slot < end; slot++) {
        if (slot % ENTRY_STRIDE !== 0 && ranges[slot] !== -1) ranges[slot] = ranges[slot]! + start
      }
    }
    const given = { bytes, count, ranges }
    count = 0
    return given
  }

  function streamOf(bytes: Uint8Array, from: number, to: number): number {
    for (let index = 0; index < streams.length; index++) if (equal(streams[index]!, bytes, from, to)) return index
    throw new RespProtocolError('an entry of a stream that was not asked for')
  }

  /** Hands over the entries that are whole; gives the offset of what must stay. */
  function handPart(bytes: Uint8Array, start: number): number {
    const last = (count - 1) * ENTRY_STRIDE
    const done = ranges[last + entryFields.bodyEnd]! < 0 ? ranges[last + entryFields.idEnd]! + 2 : ranges[last + 4]!
    handler.part(batch(bytes, start))
    walked -= done
    idStart -= done
    idEnd -= done
    bodyStart -= done
    if (keyStart >= 0) {
      keyStart -= done
      keyEnd -= done
    }
    if (needed > 0) needed -= done
    return start + done
  }

  function walk(bytes: Uint8Array, start: number, end: number): number {
    let at = start + walked
    let begin = start
    needed = 0
    for (;;) {
      if (state === State.Field) {
        // The hot loop: fields and values are bulk strings.
        while (fieldsLeft > 0) {
          let place = at + 2
          if (place >= end) break
          if (bytes[at] !== 0x24) throw new RespProtocolError('a field that is no string')
          let length = bytes[at + 1]! - 0x30
          for (; place < end; place++) {
            const digit = bytes[place]!
            if (digit === 0x0d) break
            length = length * 10 + digit - 0x30
          }
          const from = place + 2
          if (length < 0 || length > MAX_BULK_BYTES) throw new RespProtocolError('a field of impossible length')
          const next = from + length + 2
          if (next > end) {
            if (from <= end) needed = next - begin
            break
          }
          if (keyStart < 0 && keyLength >= 0) {
            if (keyStart === -2 && (fieldsLeft & 1) === 1) {
              keyStart = from - begin
              keyEnd = keyStart + length
            } else if (length === keyLength && (fieldsLeft & 1) === 0 && equal(keyField!, bytes, from, from + length)) {
              keyStart = -2
            }
          }
          at = next
          fieldsLeft--
        }
        if (fieldsLeft > 0) break
        push(bodyStart, at - begin)
        state = --entriesLeft > 0 ? State.Entry : afterEntries()
      } else {
        if (at >= end) break
        let line = at + 1
        while (line < end && bytes[line] !== 0x0d) line++
        if (line + 2 > end) break
        const type = bytes[at]!
        let next = line + 2
        if (type === 0x2d) {
          if (state !== State.Reply) throw new RespProtocolError('an error inside a reply')
          handler.error(Buffer.from(bytes.buffer, bytes.byteOffset + at + 1, line - at - 1).toString('latin1'))
          at = next
          begin = at
          continue
        }
        if (type !== (state === State.Name || state === State.Id ? 0x24 : 0x2a) && !(state === State.Body))
          throw new RespProtocolError(`byte ${type} where the walk of a stream's reply is in state ${state}`)
        const length = decimal(bytes, at + 1, line)
        switch (state) {
          case State.Reply:
            streamsLeft = length
            if (length > 0) state = State.Stream
            break
          case State.Stream:
            state = State.Name
            break
          case State.Name:
            if (line + 2 + length + 2 > end) {
              needed = line + 2 + length + 2 - begin
              walked = at - begin
              return begin
            }
            stream = streamOf(bytes, line + 2, line + 2 + length)
            next = line + 2 + length + 2
            state = State.Entries
            break
          case State.Entries:
            entriesLeft = length
            state = length > 0 ? State.Entry : afterEntries()
            break
          case State.Entry:
            state = State.Id
            break
          case State.Id:
            next = line + 2 + length + 2
            if (next > end) {
              needed = next - begin
              walked = at - begin
              return begin
            }
            idStart = line + 2 - begin
            idEnd = idStart + length
            state = State.Body
            break
          case State.Body:
            keyStart = -1
            keyEnd = -1
            if (length < 0) {
              push(-1, -1)
              state = --entriesLeft > 0 ? State.Entry : afterEntries()
              break
            }
            bodyStart = at - begin
            fieldsLeft = length
            state = State.Field
            break
        }
        at = next
      }
      if (state === State.Reply) {
        const given = batch(bytes, begin)
        begin = at
        walked = 0
        handler.reply(given)
      }
    }
    walked = at - begin
    if (count > 0 && walked > holdBytes) return handPart(bytes, begin)
    return begin
  }

  function afterEntries(): State {
    return --streamsLeft > 0 ? State.Stream : State.Reply
  }

  return {
    get needed() {
      return needed
    },
    consume: walk,
  }
}

function equal(expected: Uint8Array, bytes: Uint8Array, from: number, to: number): boolean {
  if (to - from !== expected.length) return false
  for (let index = 0; index < expected.length; index++) if (bytes[from + index] !== expected[index]) return false
  return true
}
