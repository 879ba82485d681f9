/**
 * The log's port: frames in, the same frames out to whoever owns their partition, and the position that a source may
 * be told to forget.
 *
 * The log owns a frame until every processor of its partition has finished it, and gives it again to an owner or a
 * processor that was restarted. Appends of one source are in order; so are the frames of one partition.
 */
import type { LanePosition, LaneVector, ReaderCheckpoint, ReaderState } from '../checkpoint/checkpoint.js'
import type { Position } from '../event/position.js'

/** A partition set: one way of cutting events into partitions. `key` has N partitions by hash, `global` has one. */
export interface PartitionSet {
  /** `key` or `global` */
  readonly name: string
  readonly partitions: number
  /** Names of the processors that read it. */
  readonly processors: readonly string[]
}

/** Shared memory that holds the frames of one flush. It goes back to its reader's pool when all of them are finished. */
export interface Slab {
  readonly id: number
  readonly memory: SharedArrayBuffer
}

/** Where a frame lies, and whose it is. */
export interface FramePlace {
  readonly set: string
  readonly partition: number
  readonly offset: number
  readonly length: number
}

/** A flush of one reader. `number` counts the flushes of this reader's ownership from 1. */
export interface Append {
  readonly type: 'append'
  readonly source: string
  readonly term: number
  readonly number: number
  /** Null for a step without frames: only the mark has moved. */
  readonly slab: Slab | null
  readonly frames: readonly FramePlace[]
  readonly state: ReaderState
  readonly obligation: Uint8Array | null
}

/** A frame on its way to an owner: `sequence` counts the frames of its partition, from 1, while the log lives. */
export interface DeliveredFrame {
  readonly sequence: number
  readonly memory: ArrayBufferLike
  readonly offset: number
  readonly length: number
  /**
   * Cluster: the log's own order of the frames of one reader, (term, counter). It says of lanes without an order
   * whether a frame was processed before. The memory log has none.
   */
  readonly mark?: FrameMark
}

/** Never used twice, not even after the log lost its tail. Compared as a position: major is the term, minor the counter. */
export type FrameMark = Position

/** What the log is told. */
export type LogMessage =
  | Append
  /** Ask: seals the source with the next term and says where its reader goes on. The reply is an `Opened`. */
  | {
      readonly type: 'open-reader'
      readonly source: string
      readonly reader: string
      /** As of the source's driver. */
      readonly obliges: boolean
    }
  /** Ask: replies when it is certain that no later reader of this source was opened. Fails the log of a reader where one was. */
  | { readonly type: 'still-owner' }
  /** What an obligation demanded has been done at the source. */
  | {
      readonly type: 'discharge'
      readonly source: string
      readonly term: number
      readonly receipts: readonly number[]
    }
  /** An owner begins: it gets everything unfinished of its partition, as `Attached` and `Delivery`. */
  | {
      readonly type: 'attach'
      readonly set: string
      readonly partition: number
      readonly owner: string
      readonly token: number
      /** The processors that this owner serves. */
      readonly processors: readonly string[]
    }
  /** This processor has finished every frame of the partition up to `sequence`. */
  | {
      readonly type: 'finished'
      readonly set: string
      readonly partition: number
      readonly processor: string
      readonly sequence: number
      /** Of the owner that says so: what a dead owner still had to say must not free memory that its successor reads. */
      readonly session: number
    }
  /** A processor of this partition has stopped for good: what it holds is not waited for when the pipeline drains. */
  | { readonly type: 'halted'; readonly set: string; readonly partition: number; readonly session: number }
  /** Checkpoint now, and again as work is finished, until everything appended is confirmed. */
  | { readonly type: 'hurry' }
  /** Ask: hurries, and replies whether everything that can be finished is finished, checkpointed and confirmed. */
  | { readonly type: 'drain' }
  | { readonly type: 'checkpoint-due' }
  | { readonly type: 'flushed'; readonly number: number }
  | { readonly type: 'flush-failed'; readonly error: Error }

/** The reply to `open-reader`. */
export interface Opened {
  readonly term: number
  readonly checkpoint: ReaderCheckpoint
  /** The state of the last append, where the log has lived on since; else null. */
  readonly tail: ReaderState | null
  /** Last position appended, by lane, where the log has lived on since. */
  readonly appended: Readonly<Record<string, LanePosition>>
  /** `previous` for the next frames, by `set.partition` and then `source/lane`. */
  readonly previous: Readonly<Record<string, LaneVector>>
  readonly outstanding: readonly { readonly receipt: number; readonly bytes: Uint8Array }[]
  /** Bytes of this source still unfinished in the log, by `set.partition`. */
  readonly held: Readonly<Record<string, number>>
}

/** What the log tells a reader. */
export type ReaderMessage =
  /** These bytes are finished: credits come back, and slabs to write on again. */
  | {
      readonly type: 'returned'
      readonly term: number
      readonly bytes: readonly { readonly key: string; readonly bytes: number }[]
      readonly slabs: readonly Slab[]
    }
  /** Cluster: the log has appends up to `number`; they are not lost with this node. */
  | { readonly type: 'stored'; readonly term: number; readonly number: number }
  /** Cluster, after `hurry`: appends up to `number` are processed everywhere and checkpointed. */
  | { readonly type: 'settled'; readonly term: number; readonly number: number }
  /**
   * The source may forget what `state` covers. `number`: appends that are finished and durably checkpointed; 0 in a
   * cluster, where the log itself may be confirmed before they are processed.
   */
  | {
      readonly type: 'confirmed'
      readonly term: number
      readonly number: number
      readonly state: ReaderState
      readonly receipts: readonly { readonly receipt: number; readonly bytes: Uint8Array }[]
    }

/** What the log tells an owner. */
export type OwnerMessage =
  | {
      readonly type: 'attached'
      /** As `attach` bore it: an answer to a dead owner is not for its successor. */
      readonly token: number
      /** Number of this attachment; `finished` bears it. */
      readonly session: number
      /** By processor: where it stands by checkpoint, and the last sequence that it has finished. */
      readonly processors: Readonly<Record<string, { readonly lanes: LaneVector; readonly finished: number }>>
      readonly frames: readonly DeliveredFrame[]
    }
  | { readonly type: 'frames'; readonly frames: readonly DeliveredFrame[] }

export function partitionKey(set: string, partition: number): string {
  return `${set}.${partition}`
}

export function laneKey(source: string, lane: string): string {
  return `${source}/${lane}`
}
