/**
 * What a running pipeline says of itself: `troupe status`, the progress lines and the operator's socket all show this.
 *
 * JSON only. Counters are cumulative since the process started and never fall (a restarted actor's count is carried on
 * by its pipeline); gauges are as of the moment of asking. There are no rates here: who watches takes two samples and
 * divides by the difference of `upMs`. No secrets, no event contents.
 */

export type PipelineState = 'starting' | 'running' | 'stopping' | 'stopped' | 'failed'

export interface PipelineStatus {
  readonly pipeline: string
  readonly state: PipelineState
  readonly pid: number
  /** UTC, ISO 8601. */
  readonly startedAt: string
  /** ms since the start, on the monotonic clock. */
  readonly upMs: number
  readonly sources: readonly SourceStatus[]
  readonly processors: readonly ProcessorStatus[]
  readonly partitions: readonly PartitionStatus[]
  readonly log: LogStatus
  readonly actors: ActorsStatus
  readonly memory: MemoryStatus
  /** The last failure that a supervisor saw, if any: one line. */
  readonly lastError: string | null
}

export interface SourceStatus {
  readonly name: string
  /** `postgres`, `redis-streams`. */
  readonly kind: string
  /**
   * `blocked`: waits for credits, its socket is not read. `reconnecting`: its actor is being restarted.
   * A reader that finds nothing to read is `streaming`.
   */
  readonly state: 'starting' | 'streaming' | 'blocked' | 'reconnecting' | 'stopped'
  readonly epoch: string | null
  /** Counter: events recorded, before any filter of a processor, after `wants`. */
  readonly eventsIn: number
  /** Counter: bytes appended to the log. */
  readonly bytesIn: number
  /** Counter: appends. */
  readonly flushes: number
  /** In the source's own notation (`0/16B3748`, `1700000000000-0`); null before the first. */
  readonly positionRead: string | null
  readonly positionConfirmed: string | null
  /** Bytes that the source holds beyond the confirmed position (WAL), where it says so. */
  readonly lagBytes: number | null
  /** Entries that the source holds beyond the confirmed position (streams), where it says so. */
  readonly lagEntries: number | null
  /** Age, ms, of the newest event read when it was read; null where events bear no time. */
  readonly lagMs: number | null
  /** Counters. */
  readonly restarts: number
  readonly lossWindows: number
  /** What the driver's `status()` gave, as it is. */
  readonly detail: Readonly<Record<string, unknown>>
}

/** One processor, summed over its partitions. */
export interface ProcessorStatus {
  readonly name: string
  /** Name of the partition set that it reads (`key`, `global`). */
  readonly set: string
  /** Counters. */
  readonly done: number
  /** Dropped by the processor's filter or at or below the checkpoint; never handed to the handler. */
  readonly skipped: number
  /** Items given to the sink and taken by it. */
  readonly emitted: number
  readonly retries: number
  readonly deadLetters: number
  /** Restarts of its actors. */
  readonly restarts: number
  /** Gauges: events handed to handlers or sink and not done; keys that wait for a retry. */
  readonly inFlight: number
  readonly retrying: number
  /** ms between an event's `occurredAt` and its end, of the newest event done; null where unknown. */
  readonly latencyMs: number | null
  /** Partitions in which it has stopped by `onFailure: stop`. */
  readonly stopped: readonly number[]
}

export interface PartitionStatus {
  readonly set: string
  readonly partition: number
  /** Thread of its owner (`main` for inline); null while it has none. */
  readonly thread: string | null
  readonly state: 'starting' | 'running' | 'restarting' | 'stopped'
  /** Gauges: appended and not finished by every processor. */
  readonly outstandingBytes: number
  readonly outstandingFrames: number
  /** Counters. */
  readonly events: number
  readonly restarts: number
}

export interface LogStatus {
  /** Gauges: credits in use, and the pipeline's bound. */
  readonly outstandingBytes: number
  readonly limitBytes: number
  /** Counters. */
  readonly appends: number
  readonly checkpoints: number
  /** ms since the last durable checkpoint; null before the first. */
  readonly checkpointAgeMs: number | null
}

export interface ActorsStatus {
  /** Names of the live worker threads. */
  readonly threads: readonly string[]
  /** Counters of the kernel. */
  readonly restarts: number
  readonly deadLetters: number
  readonly messages: number
}

export interface MemoryStatus {
  readonly rssBytes: number
  readonly heapUsedBytes: number
  readonly externalBytes: number
}
