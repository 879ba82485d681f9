/**
 * Which entries an append holds, as bytes: the obligation that the log keeps until they are acknowledged.
 *
 * Version 1: u8 version, u16 number of streams; for each u16 length and name, u32 number of ids, u32 length and the ids.
 * An id is a tag and what follows it, numbers as unsigned LEB128: tag 0: both numbers as u64 big-endian; tag t > 0: the
 * first number differs by zigzag⁻¹(t - 1) from that of the id before (0-0 at first), then zigzag of the difference of
 * the second numbers, or, where the first differs, the second itself. Ids of one millisecond take two bytes each.
 */
import { TroupeError } from '../../world/error.js'
import { copyId, type EntryId, isPlain, plainMajor, plainMinor, setPlain, zeroId } from './entry-id.js'

const VERSION = 1

export interface ReceiptBuilder {
  readonly count: number
  add(stream: number, id: EntryId): void
  /** The ids since the last call; null if there are none. */
  take(): Uint8Array | null
  /** Visits the ids that were not taken yet. */
  visit(visitor: (stream: string, id: EntryId) => void): void
  /** How many ids of a stream were not taken yet. */
  countOf(stream: number): number
}

interface StreamPart {
  readonly name: Uint8Array
  readonly previous: EntryId
  bytes: Uint8Array
  length: number
  count: number
}

export function receiptBuilder(streams: readonly string[]): ReceiptBuilder {
  const parts = streams.map<StreamPart>((name) => ({
    name: Buffer.from(name, 'utf8'),
    previous: zeroId(),
    bytes: new Uint8Array(1024),
    length: 0,
    count: 0,
  }))
  let total = 0

  function encode(): Uint8Array {
    const used = parts.filter((part) => part.count > 0)
    const size = used.reduce((sum, part) => sum + 10 + part.name.length + part.length, 3)
    const bytes = Buffer.allocUnsafeSlow(size)
    let at = bytes.writeUInt8(VERSION, 0)
    at = bytes.writeUInt16BE(used.length, at)
    for (const part of used) {
      at = bytes.writeUInt16BE(part.name.length, at)
      bytes.set(part.name, at)
      at = bytes.writeUInt32BE(part.count, at + part.name.length)
      at = bytes.writeUInt32BE(part.length, at)
      bytes.set(part.bytes.subarray(0, part.length), at)
      at += part.length
    }
    return bytes
  }

  return {
    get count() {
      return total
    },
    add(stream, id) {
      const part = parts[stream]!
      total++
      part.count++
      if (part.length + 24 > part.bytes.length) {
        const larger = new Uint8Array(part.bytes.length * 2)
        larger.set(part.bytes)
        part.bytes = larger
      }
      const { bytes, previous } = part
      if (!isPlain(id) || !isPlain(previous)) {
        bytes[part.length] = 0
        const view = new DataView(bytes.buffer)
        view.setUint32(part.length + 1, id.majorHigh)
        view.setUint32(part.length + 5, id.majorLow)
        view.setUint32(part.length + 9, id.minorHigh)
        view.setUint32(part.length + 13, id.minorLow)
        part.length += 17
      } else {
        const major = plainMajor(id) - plainMajor(previous)
        const minor = major === 0 ? zigzag(plainMinor(id) - plainMinor(previous)) : plainMinor(id)
        part.length = writeNumber(bytes, writeNumber(bytes, part.length, zigzag(major) + 1), minor)
      }
      copyId(id, previous)
    },
    take() {
      if (total === 0) return null
      const bytes = encode()
      for (const part of parts) {
        part.length = 0
        part.count = 0
        copyId(zeroId(), part.previous)
      }
      total = 0
      return bytes
    },
    visit(visitor) {
      if (total > 0) visitReceipt(encode(), visitor)
    },
    countOf: (stream) => parts[stream]?.count ?? 0,
  }
}

/** How many ids of each stream an obligation holds. */
export function countReceipt(receipt: Uint8Array, visitor: (stream: string, count: number) => void): void {
  visitStreams(receipt, (name, count) => visitor(name, count))
}

/**
 * Visits the ids of an obligation in the order in which they were appended. The id object is used again.
 * @throws TroupeError `receipt-corrupt`
 */
export function visitReceipt(receipt: Uint8Array, visitor: (stream: string, id: EntryId) => void): void {
  visitStreams(receipt, (name, count, bytes, at) => visitIds(bytes, at, count, (id) => visitor(name, id)))
}

function visitStreams(
  receipt: Uint8Array,
  visitor: (stream: string, count: number, bytes: Buffer, idsAt: number) => void,
): void {
  const bytes = Buffer.from(receipt.buffer, receipt.byteOffset, receipt.byteLength)
  try {
    if (bytes.readUInt8(0) !== VERSION) throw new RangeError(`version ${bytes[0]}`)
    let at = 3
    for (let streams = bytes.readUInt16BE(1); streams > 0; streams--) {
      const nameLength = bytes.readUInt16BE(at)
      const name = bytes.toString('utf8', at + 2, at + 2 + nameLength)
      at += 2 + nameLength
      const count = bytes.readUInt32BE(at)
      const end = at + 8 + bytes.readUInt32BE(at + 4)
      if (end > bytes.length) throw new RangeError('a truncated receipt')
      visitor(name, count, bytes, at + 8)
      at = end
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new TroupeError({
      code: 'receipt-corrupt',
      message: `a stored receipt of entries cannot be read: ${error.message}`,
      remedy: 'the store was written by a newer Troupe or is damaged; use the version that wrote it',
      permanent: true,
      cause: error,
    })
  }
}

function visitIds(bytes: Buffer, start: number, count: number, visit: (id: EntryId) => void): void {
  const id = zeroId()
  let at = start
  // A number that was read and where it ends: two results of one loop, without an object for each.
  let value = 0
  const read = () => {
    value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes.readUInt8(at++)
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
  }
  for (let index = 0; index < count; index++) {
    const tag = read()
    if (tag === 0) {
      id.majorHigh = bytes.readUInt32BE(at)
      id.majorLow = bytes.readUInt32BE(at + 4)
      id.minorHigh = bytes.readUInt32BE(at + 8)
      id.minorLow = bytes.readUInt32BE(at + 12)
      at += 16
    } else {
      const major = unzigzag(tag - 1)
      const minor = read()
      setPlain(id, plainMajor(id) + major, major === 0 ? plainMinor(id) + unzigzag(minor) : minor)
    }
    visit(id)
  }
}

function zigzag(value: number): number {
  return value >= 0 ? value * 2 : -value * 2 - 1
}

function unzigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2
}

function writeNumber(bytes: Uint8Array, start: number, number: number): number {
  let at = start
  let value = number
  while (value >= 0x80) {
    bytes[at++] = (value % 128) | 0x80
    value = Math.floor(value / 128)
  }
  bytes[at++] = value
  return at
}
