/**
 * Opens frames: checks them, then gives their records as views.
 *
 * Promises: a frame that opens is whole. Truncated or changed bytes, a foreign magic or a newer version give a TroupeError
 * (`frame-corrupt`, `frame-version`), never an event. The bytes must not change while a view of them lives.
 * Lanes and tables are decoded once per distinct bytes, in a bounded cache of this thread.
 */
import { crc32 } from 'node:zlib'
import { TroupeError } from '../world/error.js'
import { type FrameBytes, frameBytes } from './bytes.js'
import type { Codec, Table } from './codec.js'
import type { StreamItem } from './event.js'
import type { CodecName, Frame, FrameHeader, LaneSpec } from './frame.js'
import { hashBytes } from './hash.js'
import {
  bit,
  codecs,
  dataView,
  firstMarker,
  flag,
  frameError,
  frameMagic,
  frameVersion,
  head,
  header,
  headerBytes,
  noTable,
  operations,
  recordHeadBytes,
} from './layout.js'
import { decodeMarker, markerCodec } from './marker-codec.js'
import { msgpackCodec } from './msgpack.js'
import { pgoutputCodec } from './pgoutput.js'
import type { Position } from './position.js'
import { respEntryCodec } from './resp-entry.js'
import { ChangeView, type LaneContext, markerView, positionAt, tableAt, type ViewRecords } from './view.js'

const codecOf: Readonly<Record<CodecName, Codec>> = {
  pgoutput: pgoutputCodec as Codec,
  'resp-entry': respEntryCodec as Codec,
  msgpack: msgpackCodec as Codec,
  marker: markerCodec,
}

/**
 * `crc` (default) for bytes that left this process's memory, or might have. `structure` leaves the CRC out (0.5 ns a byte) and
 * still checks every length: for frames that this process wrote and nobody else can touch.
 */
export type FrameCheck = 'crc' | 'structure'

/**
 * What can be known without walking the records. Checks magic, version and bounds; not the CRC, for which the whole frame
 * is needed.
 */
export function readFrameHeader(bytes: Uint8Array, offset: number): FrameHeader {
  const room = bytes.length - offset
  const length = checkedLength(bytes, offset, room)
  const frame = frameBytes(bytes, offset, length)
  const view = dataView(frame)
  return headerOf(view, length, laneOf(frame, view).context.spec)
}

/**
 * Opens the frame that begins at `offset`; it must end within `length` bytes.
 * @throws TroupeError `frame-corrupt`, `frame-version`
 */
export function openFrame(bytes: Uint8Array, offset: number, length: number, check: FrameCheck = 'crc'): Frame {
  if (offset < 0 || length < 0 || offset + length > bytes.length)
    throw frameError('frame-corrupt', `a frame of ${length} bytes at ${offset} is not inside ${bytes.length} bytes`)
  const frameLength = checkedLength(bytes, offset, length)
  const frame = frameBytes(bytes, offset, frameLength)
  const view = dataView(frame)
  if (check === 'crc') checkCrc(frame, view)
  return new OpenedFrame(frame, view, frameLength)
}

class OpenedFrame implements Frame, ViewRecords {
  readonly begin = headerBytes
  readonly end: number
  readonly header: FrameHeader
  readonly context: LaneContext
  readonly lane: LaneSpec
  private readonly tables: readonly Table[]
  private comparedWith: Position | null = null
  private majorHigh = 0
  private majorLow = 0
  private minorHigh = 0
  private minorLow = 0

  private closed = false
  private readonly memory: FrameBytes
  private readonly numbers: DataView

  constructor(bytes: FrameBytes, view: DataView, length: number) {
    this.memory = bytes
    this.numbers = view
    const lane = laneOf(bytes, view)
    this.context = lane.context
    this.lane = lane.context.spec
    this.end = view.getUint32(header.footer, true)
    this.tables = tablesOf(bytes, view, lane.end, lane.context)
    this.header = headerOf(view, length, this.lane)
    checkRecords(view, this.end, this.header.count, this.tables.length)
  }

  get bytes(): FrameBytes {
    if (this.closed) throw expired()
    return this.memory
  }

  get view(): DataView {
    if (this.closed) throw expired()
    return this.numbers
  }

  close(): void {
    this.closed = true
  }

  next(at: number): number {
    return at + this.view.getUint32(at, true)
  }

  keyHash(at: number): number {
    return this.view.getUint32(at + head.keyHash, true)
  }

  compare(at: number, position: Position): number {
    if (position !== this.comparedWith) this.compareWith(position)
    const view = this.view
    const difference =
      view.getUint32(at + head.major + 4, true) - this.majorHigh ||
      view.getUint32(at + head.major, true) - this.majorLow ||
      view.getUint32(at + head.minor + 4, true) - this.minorHigh ||
      view.getUint32(at + head.minor, true) - this.minorLow
    return difference !== 0 ? difference : (view.getUint8(at + head.bits) & bit.part) - position.part
  }

  position(at: number): Position {
    return positionAt(this.view, at)
  }

  operation(at: number): number {
    return this.view.getUint8(at + head.operation)
  }

  isMarker(at: number): boolean {
    return this.view.getUint8(at + head.operation) >= firstMarker
  }

  namespace(at: number): string {
    return this.tableOf(at)?.namespace ?? ''
  }

  entity(at: number): string {
    return this.tableOf(at)?.entity ?? ''
  }

  item(at: number): StreamItem {
    if (!this.isMarker(at)) return new ChangeView(this, at)
    const marker = decodeMarker(this.bytes, this.operation(at), this.bodyStart(at), this.bodyEnd(at))
    return markerView(this, at, marker)
  }

  tableOf(at: number): Table | null {
    return tableAt(this.tables, this.view.getUint16(at + head.table, true))
  }

  bodyStart(at: number): number {
    return at + recordHeadBytes
  }

  bodyEnd(at: number): number {
    return at + this.view.getUint32(at, true)
  }

  /** Keeps the position's halves, so that comparing every record of a frame with one position makes no bigint. */
  private compareWith(position: Position): void {
    this.majorHigh = Number(position.major >> 32n)
    this.majorLow = Number(position.major & 0xffffffffn)
    this.minorHigh = Number(position.minor >> 32n)
    this.minorLow = Number(position.minor & 0xffffffffn)
    this.comparedWith = position
  }
}

function expired(): TroupeError {
  return new TroupeError({
    code: 'event-expired',
    message: 'an event was read after its handler had ended: its memory belongs to other events now',
    remedy: 'keep `event.detach()` instead of the event',
  })
}

/** Magic, version and the frame's own length against the room it has. */
function checkedLength(bytes: Uint8Array, offset: number, room: number): number {
  if (room < headerBytes)
    throw frameError('frame-corrupt', `a frame's header needs ${headerBytes} bytes, here are ${room}`)
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, headerBytes)
  if (view.getUint32(header.magic, true) !== frameMagic)
    throw frameError('frame-corrupt', 'these bytes are no frame: the magic is missing')
  const version = view.getUint16(header.version, true)
  if (version !== frameVersion)
    throw frameError('frame-version', `a frame of layout ${version}; this Troupe reads layout ${frameVersion}`)
  const length = view.getUint32(header.length, true)
  if (length > room) throw frameError('frame-corrupt', `a frame of ${length} bytes is cut at ${room}`)
  const footer = view.getUint32(header.footer, true)
  if (footer < headerBytes || footer > length - 6)
    throw frameError('frame-corrupt', `the footer is said to be at ${footer} of ${length}`)
  return length
}

function checkCrc(frame: FrameBytes, view: DataView): void {
  const said = view.getUint32(header.crc, true)
  const is = crc32(frame.subarray(header.version))
  if (said !== is) throw frameError('frame-corrupt', `the CRC of a frame of ${frame.length} bytes does not fit`)
}

/** Walks the heads once: lengths that add up, operations and tables that exist. */
function checkRecords(view: DataView, end: number, count: number, tables: number): void {
  let at: number = headerBytes
  let seen = 0
  while (at < end) {
    if (at + recordHeadBytes > end) throw frameError('frame-corrupt', `a record's head at ${at} is cut`)
    const length = view.getUint32(at, true)
    if (length < recordHeadBytes || length > end - at)
      throw frameError('frame-corrupt', `a record at ${at} is said to be ${length} bytes`)
    const operation = view.getUint8(at + head.operation)
    if (operation >= operations.length && operation < firstMarker)
      throw frameError('frame-corrupt', `a record at ${at} bears the unknown operation ${operation}`)
    const table = view.getUint16(at + head.table, true)
    if (table >= tables && table !== noTable)
      throw frameError('frame-corrupt', `a record at ${at} names table ${table} of ${tables}`)
    at += length
    seen++
  }
  if (seen !== count) throw frameError('frame-corrupt', `a frame says ${count} records and holds ${seen}`)
}

function headerOf(view: DataView, length: number, lane: LaneSpec): FrameHeader {
  const flags = view.getUint8(header.flags)
  const position = (at: number, part: number): Position => ({
    major: view.getBigUint64(at, true),
    minor: view.getBigUint64(at + 8, true),
    part: (flags & part) === 0 ? 0 : 1,
  })
  return {
    lane,
    first: position(header.first, flag.firstPart),
    last: position(header.last, flag.lastPart),
    previous: (flags & flag.previous) === 0 ? null : position(header.previous, flag.previousPart),
    count: view.getUint32(header.count, true),
    length,
  }
}

/** Things decoded from bytes, found again by the bytes. The oldest leaves first. */
class Interned<Thing> {
  private readonly things = new Map<string, { readonly bytes: Uint8Array; readonly thing: Thing }>()

  constructor(private readonly bound: number) {}

  get(key: string, bytes: Uint8Array, make: (bytes: Uint8Array) => Thing): Thing {
    const found = this.things.get(key)
    if (found !== undefined && Buffer.compare(found.bytes, bytes) === 0) return found.thing
    const own = new Uint8Array(bytes)
    const thing = make(own)
    this.things.delete(key)
    if (this.things.size >= this.bound) this.things.delete(this.things.keys().next().value!)
    this.things.set(key, { bytes: own, thing })
    return thing
  }
}

const lanes = new Interned<LaneContext>(256)
const internedTables = new Interned<Table>(1024)

function laneOf(frame: FrameBytes, view: DataView): { readonly context: LaneContext; readonly end: number } {
  const start = view.getUint32(header.footer, true) + 4
  const end = start + view.getUint32(start - 4, true)
  if (end + 2 > frame.length) throw frameError('frame-corrupt', 'the frame ends inside the name of its lane')
  const codec = view.getUint8(header.codec)
  const flags = view.getUint8(header.flags)
  const epoch = view.getBigUint64(header.epoch, true)
  const block = frame.subarray(start, end)
  const key = `${hashBytes(block, 0, block.length)}/${epoch}/${codec}/${flags & (flag.replayable | flag.ordered)}`
  return { context: lanes.get(key, block, (bytes) => makeLane(bytes, codec, flags, epoch)), end }
}

function makeLane(block: Uint8Array, codecNumber: number, flags: number, epoch: bigint): LaneContext {
  const name = codecs[codecNumber]
  if (name === undefined) throw frameError('frame-corrupt', `a frame of the unknown codec ${codecNumber}`)
  const texts = new BlockReader(block, 0)
  const source = texts.text()
  const kind = texts.text()
  const lane = texts.text()
  const replayable = (flags & flag.replayable) !== 0
  const spec: LaneSpec = { source, kind, replayable, epoch, lane, codec: name, ordered: (flags & flag.ordered) !== 0 }
  const shown = Object.freeze({ name: source, kind, epoch, lane, replayable })
  return {
    spec,
    source: shown,
    sourceJSON: Object.freeze({ ...shown, epoch: epoch.toString() }),
    codec: codecOf[name],
    idPrefix: `${source}/${epoch}/${lane}/`,
  }
}

function tablesOf(frame: FrameBytes, view: DataView, start: number, lane: LaneContext): readonly Table[] {
  const count = view.getUint16(start, true)
  const tables: Table[] = []
  let at = start + 2
  for (let index = 0; index < count; index++) {
    if (at + 8 > frame.length) throw frameError('frame-corrupt', `the frame ends inside table ${index} of ${count}`)
    const end = at + 8 + view.getUint32(at + 4, true)
    if (end > frame.length) throw frameError('frame-corrupt', `the frame ends inside table ${index} of ${count}`)
    const key = `${lane.spec.codec}/${view.getUint32(at, true)}`
    tables.push(internedTables.get(key, frame.subarray(at + 8, end), (block) => makeTable(block, lane.codec)))
    at = end
  }
  if (at !== frame.length) throw frameError('frame-corrupt', `${frame.length - at} bytes follow the last table`)
  return tables
}

function makeTable(block: Uint8Array, codec: Codec): Table {
  const reader = new BlockReader(block, 4)
  const namespace = reader.text()
  const entity = reader.text()
  return {
    namespace,
    entity,
    schemaVersion: dataView(block).getUint32(0, true),
    meta: codec.decodeTable(block.subarray(reader.at)),
  }
}

/** Reads texts with their lengths from a block of the footer. */
class BlockReader {
  constructor(
    private readonly block: Uint8Array,
    public at: number,
  ) {}

  text(): string {
    const start = this.at + 4
    if (start > this.block.length) throw frameError('frame-corrupt', 'a name in the footer is cut')
    const end = start + dataView(this.block).getUint32(this.at, true)
    if (end > this.block.length) throw frameError('frame-corrupt', 'a name in the footer is cut')
    this.at = end
    return frameBytes(this.block, start, end - start).toString('utf8')
  }
}
