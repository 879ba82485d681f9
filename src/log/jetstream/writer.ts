/**
 * The log as one reader sees it: what it appends is stored in the stream in atomic batches, each ending with the reader's
 * checkpoint, which is at once progress, ownership and commit.
 */

import type { Logger } from '../../world/logger.js'
import type { World } from '../../world/world.js'
import type { Append, Opened, ReaderMessage } from '../log.js'
import type { StreamNames } from './names.js'
import type { StreamPort } from './port.js'

export interface LogWriterInit {
  readonly world: World
  readonly log: Logger
  readonly stream: StreamPort
  readonly names: StreamNames
  readonly source: string
  /** Tells one incarnation of a writer from every other; in every checkpoint that it writes. */
  readonly owner: string
  /** ms between a commit and the moment at which the source may be told of it: how long the servers may keep it unsynced. 0: they sync before they answer. */
  readonly holdback: number
  /** Most bytes of payload in one message. */
  readonly maxMessage: number
  readonly tell: (message: ReaderMessage) => void
  /** Asks the owners to write their checkpoints now. */
  readonly hurry: () => void
  /** This writer is over: fenced, the log has lost its tail, or it cannot be written at all. Called once. */
  readonly failed: (error: Error) => void
  /** For chaos and simulation: faults planted on purpose. */
  readonly planted?: readonly string[]
}

export interface LogWriter {
  /** Seals: from now on no earlier writer of this source can commit. */
  open(): Promise<Opened>
  append(append: Append): void
  discharge(receipts: readonly number[]): void
  /** Somebody waits for everything appended to be processed: `settled` is told when it is. */
  hurry(): void
  /** Stores what was appended, as far as that is possible within the deadline, and ends. */
  close(deadlineMs: number): Promise<void>
  figures(): LogWriterFigures
}

export interface LogWriterFigures {
  readonly term: number
  readonly sequence: number
  readonly commits: number
  readonly refused: number
  readonly ambiguous: number
  readonly retries: number
  readonly waitingBytes: number
  /** Committed and held back: appends, and ms of the oldest. */
  readonly heldBack: number
  readonly heldBackMs: number
  /** The processor that keeps the log at its mark, as `processor scope.partition`; null while there is room. */
  readonly stoppedBy: string | null
}

export declare function createLogWriter(init: LogWriterInit): LogWriter
