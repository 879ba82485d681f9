/**
 * The checkpoint port: what a node must find again after it died.
 *
 * One writer. A commit is atomic and resolves only when it is durable (after the fsync): nothing may be confirmed to a
 * source before that.
 */
import type { Position } from '../event/position.js'

/** Where a processor stands in one lane of its partition. */
export interface LanePosition {
  readonly epoch: bigint
  readonly position: Position
}

/** Keys are `source/lane`. */
export type LaneVector = Readonly<Record<string, LanePosition>>

/** One processor in one partition of one set: everything at or before these positions has been processed. */
export interface ProcessorCheckpoint {
  readonly processor: string
  readonly set: string
  readonly partition: number
  readonly lanes: LaneVector
}

/** A reader's own state, opaque to everyone but its driver: JSON only. */
export type ReaderState = Readonly<Record<string, unknown>>

/** What a source must still be told, under the number of the append that brought it. */
export interface Obligation {
  readonly receipt: number
  readonly bytes: Uint8Array
}

/** What a reader starts from. */
export interface ReaderCheckpoint {
  readonly source: string
  /** State that covers everything confirmable; null before the first confirmation. */
  readonly state: ReaderState | null
  /** For each `set.partition` the last position of each lane: the `previous` of the next frames. */
  readonly previous: Readonly<Record<string, LaneVector>>
  /** Confirmed here, perhaps not yet told to the source: obligations that were never discharged, oldest first. */
  readonly obligations: readonly Obligation[]
  /** Number of this reader's ownership; every start writes the next one. */
  readonly term: number
}

export interface CheckpointBatch {
  readonly processors?: readonly ProcessorCheckpoint[]
  readonly readers?: readonly {
    readonly source: string
    readonly state?: ReaderState
    readonly previous?: Readonly<Record<string, LaneVector>>
    readonly term?: number
    /** Added under these numbers (receipts). */
    readonly oblige?: readonly Obligation[]
    readonly discharge?: readonly number[]
  }[]
}

export interface CheckpointStore {
  /**
   * Partitions of each set that the checkpoints were written under; null for a new store. Another layout makes the
   * processors' positions meaningless: `relayout` drops them, and what was not confirmed comes again.
   */
  layout(): Promise<Readonly<Record<string, number>> | null>
  relayout(layout: Readonly<Record<string, number>>): Promise<void>
  processors(): Promise<readonly ProcessorCheckpoint[]>
  reader(source: string): Promise<ReaderCheckpoint | null>
  /** Atomic; resolves when durable. Calls are applied in order. */
  commit(batch: CheckpointBatch): Promise<void>
  close(): Promise<void>
}
