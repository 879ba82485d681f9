/**
 * Frames: a buffer that holds many events of one lane as the source sent them.
 *
 * The head of every record is the same for all codecs, so that routing, dropping and counting never decode a body.
 * This file is the port; the layout is in layout.ts.
 */
import type { StreamItem } from './event.js'
import type { Position } from './position.js'

export type CodecName = 'pgoutput' | 'resp-entry' | 'msgpack' | 'marker'

/** Limits of one frame (docs/architecture.md, "Bounds"). A single larger event makes a frame of its own. */
export const frameLimits = { bytes: 128 * 1024, events: 512 } as const

/** What a lane's frames have in common. */
export interface LaneSpec {
  readonly source: string
  readonly kind: string
  readonly replayable: boolean
  readonly epoch: bigint
  readonly lane: string
  readonly codec: CodecName
  /** False where entries may arrive after their successors (group mode): position order is then no rule for dropping. Default true. */
  readonly ordered?: boolean
}

/** What the bytes of a record need to be read: the relation of a row, the stream of an entry. Registered once, carried by each frame that uses it. */
export interface TableSpec {
  /** Small integer, unique in its lane, chosen by the reader (0 to 65,535). */
  readonly index: number
  readonly namespace: string
  readonly entity: string
  readonly schemaVersion: number
  /** Codec-specific, opaque here: made by the codec's `encode…Table`. */
  readonly meta: Uint8Array
}

/**
 * The head of a record, filled anew for each one by the reader. 64-bit numbers are given as two unsigned halves:
 * the hot path makes no bigint.
 */
export interface RecordHead {
  keyHash: number
  majorHigh: number
  majorLow: number
  minorHigh: number
  minorLow: number
  part: 0 | 1
  /** Index into `operations` of layout.ts. */
  operation: number
  table: number
  /** Microseconds since the Unix epoch; NaN where unknown. */
  timeMicros: number
  /** PostgreSQL: xid. Else 0. */
  transaction: number
  incomplete: boolean
  late: boolean
}

/** A head to be filled, of no position and no key. */
export function blankHead(): RecordHead {
  return {
    keyHash: 0,
    majorHigh: 0,
    majorLow: 0,
    minorHigh: 0,
    minorLow: 0,
    part: 0,
    operation: 0,
    table: 0,
    timeMicros: Number.NaN,
    transaction: 0,
    incomplete: false,
    late: false,
  }
}

/** Collects the records of one lane for one partition. Reused after `reset`. */
export interface FrameWriter {
  readonly events: number
  /** Bytes that `finishInto` will write now. */
  readonly size: number
  record(head: RecordHead, body: Uint8Array, start: number, end: number): void
  /** Writes the frame at `offset`, which must have `size` bytes of room; gives the end. `previous`: last position of this lane in this partition before this frame. */
  finishInto(target: Uint8Array, offset: number, previous: Position | null): number
  /** Position of the last record since `reset`; null if none. */
  last(): Position | null
  reset(): void
}

/** What can be known of a frame without walking its records. */
export interface FrameHeader {
  readonly lane: LaneSpec
  readonly first: Position
  readonly last: Position
  readonly previous: Position | null
  readonly count: number
  readonly length: number
}

/** An opened, checked frame. Offsets walk its records: `for (let at = frame.begin; at < frame.end; at = frame.next(at))`. */
export interface Frame {
  readonly header: FrameHeader
  readonly begin: number
  readonly end: number
  next(at: number): number
  keyHash(at: number): number
  /** Compares the record's position with `position`, without making one. */
  compare(at: number, position: Position): number
  position(at: number): Position
  operation(at: number): number
  isMarker(at: number): boolean
  namespace(at: number): string
  entity(at: number): string
  item(at: number): StreamItem
  /**
   * The frame is finished and its memory may be written again: from now on its views throw `event-expired` when a field
   * is read. What was detached lives on.
   */
  close(): void
}
