/**
 * Collects records of one lane for one partition and writes them as a frame (layout.ts).
 *
 * Promises: the body is copied at once; each record is read later with the table it was written under, even if the table is
 * registered anew between two records. Does not promise: any check of the order of positions or of what a body says.
 * The buffer grows by doubling and is kept over `reset`, unless one huge record has blown it up.
 */
import { crc32 } from 'node:zlib'
import { TroupeError } from '../world/error.js'
import type { FrameWriter, LaneSpec, RecordHead, TableSpec } from './frame.js'
import { frameLimits } from './frame.js'
import { hashBytes } from './hash.js'
import {
  bit,
  codecs,
  dataView,
  flag,
  frameMagic,
  frameVersion,
  head,
  header,
  headerBytes,
  maxFrameBytes,
  maxFrameTables,
  noTable,
  recordHeadBytes,
} from './layout.js'
import type { Position } from './position.js'

const initialBytes = 4096
/** Below this many bytes a loop copies faster than a view and a native call. */
const loopBytes = 64
/** A buffer above this is given back at `reset`. */
const keptBytes = 4 * frameLimits.bytes

export interface TableRegistry {
  /** Registers a table, or registers it anew: records from now on are read with this one. */
  table(spec: TableSpec): void
}

export function createFrameWriter(lane: LaneSpec): FrameWriter & TableRegistry {
  return new BufferedFrameWriter(lane)
}

/** A table as the footer will bear it. */
interface EncodedTable {
  readonly index: number
  readonly block: Uint8Array
  readonly fingerprint: number
}

class BufferedFrameWriter implements FrameWriter, TableRegistry {
  private bytes: Uint8Array = new Uint8Array(initialBytes)
  private view = dataView(this.bytes)
  private used = 0
  private lastAt = -1
  private count = 0
  private footerBytes: number
  private readonly laneBlock: Uint8Array
  private readonly laneFlags: number
  private readonly codec: number
  private readonly tables: (EncodedTable | undefined)[] = []
  /** By the reader's index: the table's place in this frame's footer, -1 before its first record. */
  private readonly places: number[] = []
  private readonly footer: EncodedTable[] = []

  constructor(private readonly lane: LaneSpec) {
    this.laneBlock = joinTexts([lane.source, lane.kind, lane.lane])
    this.laneFlags = (lane.replayable ? flag.replayable : 0) | (lane.ordered === false ? 0 : flag.ordered)
    this.codec = codecs.indexOf(lane.codec)
    this.footerBytes = 4 + this.laneBlock.length + 2
  }

  get events(): number {
    return this.count
  }

  get size(): number {
    return headerBytes + this.used + this.footerBytes
  }

  table(spec: TableSpec): void {
    if (!Number.isInteger(spec.index) || spec.index < 0 || spec.index >= noTable)
      throw new TroupeError({ code: 'bad-table', message: `table index ${spec.index} is not in 0 to ${noTable - 1}` })
    const encoded = encodeTable(spec)
    const old = this.tables[spec.index]
    if (old !== undefined && sameBytes(old.block, encoded.block)) return
    this.tables[spec.index] = encoded
    this.places[spec.index] = -1
  }

  record(record: RecordHead, body: Uint8Array, start: number, end: number): void {
    const index = record.table
    const place = index === noTable ? noTable : (this.places[index] ?? -1)
    const at = this.used
    const length = recordHeadBytes + end - start
    if (at + length > this.bytes.length) this.grow(at + length)
    const view = this.view
    view.setUint32(at + head.length, length, true)
    view.setUint32(at + head.keyHash, record.keyHash, true)
    view.setUint32(at + head.major, record.majorLow, true)
    view.setUint32(at + head.major + 4, record.majorHigh, true)
    view.setUint32(at + head.minor, record.minorLow, true)
    view.setUint32(at + head.minor + 4, record.minorHigh, true)
    view.setFloat64(at + head.time, record.timeMicros, true)
    view.setUint32(at + head.transaction, record.transaction, true)
    view.setUint16(at + head.table, place < 0 ? this.placeOf(index) : place, true)
    view.setUint8(at + head.operation, record.operation)
    view.setUint8(at + head.bits, record.part | (record.incomplete ? bit.incomplete : 0) | (record.late ? bit.late : 0))
    copy(body, start, end, this.bytes, at + recordHeadBytes)
    this.lastAt = at
    this.used = at + length
    this.count++
  }

  finishInto(target: Uint8Array, offset: number, previous: Position | null): number {
    if (this.count === 0)
      throw new TroupeError({ code: 'empty-frame', message: 'a frame without records is not written' })
    const length = this.size
    if (offset + length > target.length)
      throw new TroupeError({
        code: 'no-room',
        message: `a frame of ${length} bytes does not fit at ${offset} into ${target.length} bytes`,
      })
    const view = new DataView(target.buffer, target.byteOffset + offset, length)
    target.set(this.bytes.subarray(0, this.used), offset + headerBytes)
    this.writeFooter(target, view, offset)
    this.writeHeader(view, length, previous)
    view.setUint32(header.crc, crc32(target.subarray(offset + header.version, offset + length)), true)
    return offset + length
  }

  last(): Position | null {
    const at = this.lastAt
    if (at < 0) return null
    return {
      major: this.view.getBigUint64(at + head.major, true),
      minor: this.view.getBigUint64(at + head.minor, true),
      part: (this.view.getUint8(at + head.bits) & bit.part) as 0 | 1,
    }
  }

  reset(): void {
    this.used = 0
    this.count = 0
    this.lastAt = -1
    for (const { index } of this.footer) this.places[index] = -1
    this.footer.length = 0
    this.footerBytes = 4 + this.laneBlock.length + 2
    if (this.bytes.length > keptBytes) this.allocate(initialBytes)
  }

  /** The table's first record in this frame: gives it its place in the footer. */
  private placeOf(index: number): number {
    const table = this.tables[index]
    if (table === undefined)
      throw new TroupeError({
        code: 'bad-table',
        message: `table ${index} was never registered in lane ${this.lane.lane}`,
      })
    const place = this.footer.length
    if (place >= maxFrameTables)
      throw new TroupeError({ code: 'bad-table', message: `a frame cannot name more than ${maxFrameTables} tables` })
    this.footer.push(table)
    this.footerBytes += 8 + table.block.length
    this.places[index] = place
    return place
  }

  private grow(needed: number): void {
    if (needed > maxFrameBytes)
      throw new TroupeError({
        code: 'frame-too-large',
        message: `a frame of ${needed} bytes; at most ${maxFrameBytes}`,
      })
    const old = this.bytes.subarray(0, this.used)
    // Doubling a huge record would waste as much again.
    this.allocate(needed > keptBytes ? needed + initialBytes : Math.max(needed, this.bytes.length * 2))
    this.bytes.set(old)
  }

  private allocate(size: number): void {
    this.bytes = new Uint8Array(size)
    this.view = dataView(this.bytes)
  }

  private writeHeader(view: DataView, length: number, previous: Position | null): void {
    let flags = this.laneFlags
    if ((this.bytes[head.bits]! & bit.part) !== 0) flags |= flag.firstPart
    if ((this.bytes[this.lastAt + head.bits]! & bit.part) !== 0) flags |= flag.lastPart
    if (previous !== null) flags |= flag.previous | (previous.part === 1 ? flag.previousPart : 0)
    view.setUint32(header.magic, frameMagic, true)
    view.setUint16(header.version, frameVersion, true)
    view.setUint8(header.codec, this.codec)
    view.setUint8(header.flags, flags)
    view.setUint32(header.length, length, true)
    view.setUint32(header.count, this.count, true)
    view.setUint32(header.footer, headerBytes + this.used, true)
    view.setBigUint64(header.first, this.view.getBigUint64(head.major, true), true)
    view.setBigUint64(header.first + 8, this.view.getBigUint64(head.minor, true), true)
    view.setBigUint64(header.last, this.view.getBigUint64(this.lastAt + head.major, true), true)
    view.setBigUint64(header.last + 8, this.view.getBigUint64(this.lastAt + head.minor, true), true)
    view.setBigUint64(header.previous, previous?.major ?? 0n, true)
    view.setBigUint64(header.previous + 8, previous?.minor ?? 0n, true)
    view.setBigUint64(header.epoch, this.lane.epoch, true)
  }

  private writeFooter(target: Uint8Array, view: DataView, offset: number): void {
    let at = headerBytes + this.used
    view.setUint32(at, this.laneBlock.length, true)
    target.set(this.laneBlock, offset + at + 4)
    at += 4 + this.laneBlock.length
    view.setUint16(at, this.footer.length, true)
    at += 2
    for (const { fingerprint, block } of this.footer) {
      view.setUint32(at, fingerprint, true)
      view.setUint32(at + 4, block.length, true)
      target.set(block, offset + at + 8)
      at += 8 + block.length
    }
  }
}

/** One native call for long bodies; a loop for short ones, where making the view would cost more. */
function copy(from: Uint8Array, start: number, end: number, to: Uint8Array, at: number): void {
  if (end - start > loopBytes) {
    to.set(from.subarray(start, end), at)
    return
  }
  let target = at
  for (let source = start; source < end; source++) to[target++] = from[source]!
}

function encodeTable(spec: TableSpec): EncodedTable {
  const names = joinTexts([spec.namespace, spec.entity])
  const block = new Uint8Array(4 + names.length + spec.meta.length)
  dataView(block).setUint32(0, spec.schemaVersion, true)
  block.set(names, 4)
  block.set(spec.meta, 4 + names.length)
  return { index: spec.index, block, fingerprint: hashBytes(block, 0, block.length) }
}

function joinTexts(texts: readonly string[]): Uint8Array {
  const parts = texts.flatMap((text) => {
    const bytes = Buffer.from(text, 'utf8')
    const length = Buffer.alloc(4)
    length.writeUInt32LE(bytes.length)
    return [length, bytes]
  })
  return new Uint8Array(Buffer.concat(parts))
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0
}
