/**
 * The log as the owner of one partition sees it: a seal over the checkpoints of its processors, an ordered reading for
 * each of them (one for all that stand at the same place), their checkpoints in one batch, and trimming.
 */
import type { LaneVector } from '../../checkpoint/checkpoint.js'
import type { Logger } from '../../world/logger.js'
import type { World } from '../../world/world.js'
import type { DeliveredFrame } from '../log.js'
import type { StreamNames } from './names.js'
import type { StreamPort } from './port.js'

export interface PartitionLogInit {
  readonly world: World
  readonly log: Logger
  readonly stream: StreamPort
  readonly names: StreamNames
  readonly scope: string
  readonly partition: number
  readonly processors: readonly { readonly name: string; readonly start: 'earliest' | 'latest' }[]
  readonly owner: string
  /** ms between checkpoints. */
  readonly checkpointInterval: number
  /** As of the writer: what is younger is not trimmed, for the checkpoint that allows it may be lost while the trim is not. */
  readonly holdback: number
  /** ms for which processed frames are kept for a replay. */
  readonly retain: number
  /** Bytes that one processor may have unfinished. */
  readonly window: number
  /** Frames for one processor, in order. `sequence` of a frame is that of the stream. */
  readonly deliver: (processor: string, frames: readonly DeliveredFrame[]) => void
  /** This owner is over: fenced, or the log does not hold what it should. Called once. */
  readonly failed: (error: Error) => void
  readonly planted?: readonly string[]
}

export interface PartitionLog {
  /** Seals: from now on no earlier owner can commit. */
  open(): Promise<void>
  /** A processor has started (again): where it stands; from then on everything that it has not finished is delivered. */
  attach(processor: string): { readonly lanes: LaneVector; readonly finished: number }
  /** This processor has finished every frame up to `sequence`. */
  finished(processor: string, sequence: number): void
  /** A processor has stopped for good. */
  halted(processor: string): void
  /** Writes a checkpoint now, if there is something to write. */
  checkpoint(): Promise<void>
  /** Delivers nothing more, writes the last checkpoint within the deadline, ends. */
  close(deadlineMs: number): Promise<void>
  figures(): PartitionLogFigures
}

export interface PartitionLogFigures {
  readonly scope: string
  readonly partition: number
  readonly term: number
  readonly checkpoints: number
  readonly refused: number
  readonly ambiguous: number
  readonly trimmedTo: number
  readonly processors: Readonly<
    Record<
      string,
      { readonly finished: number; readonly checkpoint: number; readonly delivered: number; readonly reading: string }
    >
  >
  /** Checkpoints of processors that the pipeline no longer has: they pin the log until they are retired. */
  readonly departed: readonly string[]
}

export declare function createPartitionLog(init: PartitionLogInit): PartitionLog
