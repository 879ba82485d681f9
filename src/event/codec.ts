/**
 * What a codec gives to the view of an event: how the body of a record is read.
 *
 * A codec holds no state. Each call reads the record at `at` of `frame`; nothing is decoded that was not asked for.
 */
import type { FrameBytes } from './bytes.js'
import type { Row } from './event.js'
import type { LaneSpec } from './frame.js'

/** A table as a frame's footer names it, decoded once for all frames that carry the same bytes. */
export interface Table<Meta = unknown> {
  readonly namespace: string
  readonly entity: string
  readonly schemaVersion: number
  /** What the codec made of the table's meta. */
  readonly meta: Meta
}

/** The memory that records are read from: an opened frame, or one detached record. */
export interface Records<Meta = unknown> {
  readonly bytes: FrameBytes
  readonly view: DataView
  readonly lane: LaneSpec
  /** The table of the record; null for a record of none. */
  tableOf(at: number): Table<Meta> | null
  /** Where the record's body begins and ends. */
  bodyStart(at: number): number
  bodyEnd(at: number): number
}

export interface Codec<Meta = unknown> {
  /** @throws TroupeError `record-corrupt` */
  decodeTable(meta: Uint8Array): Meta
  key(records: Records<Meta>, at: number): Row | null
  /** '' without a key (key-text.ts). */
  keyText(records: Records<Meta>, at: number): string
  before(records: Records<Meta>, at: number): Row | null
  after(records: Records<Meta>, at: number): Row | null
  unchanged(records: Records<Meta>, at: number): readonly string[]
  headers(records: Records<Meta>, at: number): Readonly<Record<string, string>>
  tenant(records: Records<Meta>, at: number): string | null
  traceparent(records: Records<Meta>, at: number): string | null
  /** How a position is written as a commit (`0/16B3748`); null where records have no transactions. */
  commitText: ((high: number, low: number) => string) | null
}

export const noNames: readonly string[] = Object.freeze([])
export const noHeaders: Readonly<Record<string, string>> = Object.freeze({})
