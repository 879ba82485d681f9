/**
 * The source port: what a driver under source/ implements and what it is given.
 *
 * A reader runs inside a reader actor, which creates it and dies with it. It owns its sockets. It reads as fast as
 * `blocked` allows, records what it reads through its output, and tells its source what may be forgotten when
 * `confirm` says so: never before.
 */
import type { ReaderState } from '../checkpoint/checkpoint.js'
import type { Operation } from '../event/event.js'
import type { LaneSpec, RecordHead, TableSpec } from '../event/frame.js'
import type { LossWindow } from '../event/marker.js'
import type { Position } from '../event/position.js'
import type { Logger } from '../world/logger.js'
import type { World } from '../world/world.js'

/** Everything that a driver needs to begin. */
export interface SourceContext {
  readonly world: World
  readonly log: Logger
  readonly pipeline: string
  /** The source's name in the pipeline. */
  readonly name: string
  /** Number of this ownership; higher than every earlier one. */
  readonly term: number
  readonly resume: SourceResume
  readonly out: SourceOutput
  /**
   * Resolves when the log has shown that no later reader of this source exists; rejects where one does. Ask before anything
   * is concluded from a source that is further than our state: a reader that stood still after it took over bears an old one.
   */
  stillOwns(): Promise<void>
  /** The reader cannot go on; its actor fails with this error. Safe to call from any callback, more than once. */
  fail(error: Error): void
}

export interface SourceResume {
  /**
   * The reader's state that everything before it was appended under: the last one appended if the log still lives,
   * else the last one confirmed. Null on the very first start.
   */
  readonly state: ReaderState | null
  /** The state last confirmed and stored: what the source has been, or may be, told. */
  readonly confirmed: ReaderState | null
  /**
   * Per lane the last position appended while the log lived; empty after a restart of the process. The reader skips
   * what is at or below it (ordered lanes).
   */
  readonly appended: Readonly<Record<string, { readonly epoch: bigint; readonly position: Position }>>
  /** Confirmed by us, perhaps unknown to the source: tell it again, and never process it. */
  readonly obligations: readonly Uint8Array[]
  /** Obligation bytes of appends that are still in the log, unfinished, after a restart of the reader alone: do not append them again. */
  readonly outstanding: readonly { readonly receipt: number; readonly bytes: Uint8Array }[]
}

/** Where records go. Made by the partition room; the reader never sees partitions. */
export interface SourceOutput {
  /** Opens a lane (again with the same spec: the same lane). */
  lane(spec: LaneSpec): LaneOutput
  /**
   * True when credits are used up: stop reading the socket now. What was already read may still be recorded.
   * `onUnblocked` is called when there is room again.
   */
  readonly blocked: boolean
  onUnblocked(listener: () => void): void
  /**
   * Call after each chunk, when the socket has nothing more to read: lets small flushes go at once if owners are idle.
   */
  idle(): void
  /** Flushes what is recorded, whatever its size; also appends an empty step when only the mark has changed (an idle slot that advances). */
  flush(): void
  /** True when the log has taken care of all that this reader appended: finished and checkpointed, or stored in a cluster's log. */
  readonly quiet: boolean
  /** Resolves when everything appended until now, by earlier readers too, is processed and durably checkpointed. */
  settled(): Promise<void>
  /**
   * Resolves when everything recorded until now outlives this process: durably checkpointed, or stored in a cluster's log. Waits
   * for no processor there.
   */
  stored(): Promise<void>
  /** Copies a loss window into every partition. */
  lossWindow(lane: LaneOutput, window: LossWindow): void
}

export interface LaneOutput {
  readonly spec: LaneSpec
  /** Registers a table or registers it anew after it changed. Cheap; not per record. */
  table(spec: TableSpec): void
  /** Whether any processor takes this operation of this table: skip the body if not (but count its ordinal). */
  wants(table: number, operation: Operation): boolean
  /**
   * Routes one record by `head.keyHash` and copies `body[start..end)`. `head` is read at once and may be reused. A flush
   * from inside this call carries the record, so the mark must cover it before the call.
   */
  record(head: RecordHead, body: Uint8Array, start: number, end: number): void
  /**
   * A barrier (truncate): resolves when everything appended before has been processed, the record was appended alone
   * to partition 0 and has been processed too. The reader records nothing meanwhile. Rejects when the reader is stopped.
   */
  barrier(head: RecordHead, body: Uint8Array, start: number, end: number): Promise<void>
}

/** A running reader. */
export interface SourceReader {
  /**
   * State that covers exactly what has been recorded so far; asked at each flush. `obligation`: what the source must be
   * told once this append is confirmed (ids to acknowledge), kept durably until `discharge`.
   */
  mark(): { readonly state: ReaderState; readonly obligation: Uint8Array | null }
  /**
   * Everything up to `state` is processed and durably checkpointed: the source may forget it. `receipts` are the appends
   * newly confirmed that carried an obligation, in order, with their bytes.
   */
  confirm(state: ReaderState, receipts: readonly { readonly receipt: number; readonly bytes: Uint8Array }[]): void
  /** Stops reading at once, tells the source the last confirmed position, closes its sockets. Bounded by the actor's shutdown deadline. */
  stop(): Promise<void>
  /** Cheap figures for `status`: lag in bytes and ms where known, state of the connection, counters. */
  status(): Readonly<Record<string, unknown>>
}

/** What the router tells a reader that its obligations were fulfilled at the source. */
export type Discharge = (receipts: readonly number[]) => void

/** One kind of source. `Config` is its validated part of the pipeline file: cloneable, secrets included. */
export interface SourceDriver<Config> {
  readonly kind: string
  /** What the source can promise, for `explain` and refusals. */
  readonly replayable: boolean
  /** Its appends may bear obligations: what it must be told is more than a position. */
  readonly obliges: boolean
  /**
   * Checks the server and the configuration before anything is started, and creates what its policy allows.
   * @throws TroupeError with code, place and remedy
   */
  preflight(config: Config, context: Pick<SourceContext, 'world' | 'log' | 'pipeline' | 'name'>): Promise<void>
  open(config: Config, context: SourceContext & { readonly discharge: Discharge }): Promise<SourceReader>
  /** Connections that one reader holds, for `explain`. */
  connections(config: Config): readonly { readonly server: string; readonly count: number; readonly purpose: string }[]
}
