/**
 * The sink port. A writer belongs to one processor in one partition, holds its own connection, and is created and closed
 * inside that processor's actor.
 *
 * Two kinds: a `SinkWriter` takes batches, several in flight, and knows nothing of progress: at least once. A
 * `FencedWriter` stores the checkpoint with the work, in one atomic step that only the newest writer of a partition can
 * take: exactly-once effect.
 */
import type { LaneVector } from '../checkpoint/checkpoint.js'
import type { ChangeEvent, Value } from '../event/event.js'
import { TroupeError } from '../world/error.js'
import type { Logger } from '../world/logger.js'
import type { World } from '../world/world.js'

/** What a handler may emit instead of the event itself. */
export interface SinkRecord {
  readonly type: 'record'
  /** `upsert` and `delete` are of a row by key; `append` adds to a stream or file. */
  readonly operation: 'upsert' | 'delete' | 'append'
  /** What it belongs to: table, stream; fills `{entity}` in names. */
  readonly entity: string
  readonly key: string
  readonly value: Readonly<Record<string, Value>>
  /** The event that it came from. */
  readonly event: ChangeEvent
}

export type SinkItem = ChangeEvent | SinkRecord

export interface SinkContext {
  readonly world: World
  readonly log: Logger
  readonly pipeline: string
  readonly processor: string
  readonly set: string
  readonly partition: number
  /** Of the set. A stored checkpoint belongs to a number of partitions, and means nothing under another. */
  readonly partitions: number
  /** The writer cannot go on (its connection is gone for good): its actor fails and is restarted. */
  fail(error: Error): void
}

export interface SinkWriter {
  /**
   * Writes the batch in its order. Resolves when the sink has taken all of it; several writes may be in flight, at
   * most `maxInFlight`, and they take effect in the order of the calls. A `SinkRefusal` names the items that the sink
   * refused: every other item of this write took effect, in its place, and so may later writes have: nothing is to be
   * written again. Any other rejection says that the outcome is unknown (later writes in flight are rejected too): the
   * actor fails and the batch comes again, in order, over a new connection, after the old one is certain to be dead.
   */
  write(items: readonly SinkItem[]): Promise<void>
  readonly maxInFlight: number
  /** Best number of items in one write. */
  readonly batchSize: number
  /** Waits for writes in flight, then closes. */
  close(): Promise<void>
}

/** A writer that owns its partition in the sink from the moment it is open until another one opens. */
export interface FencedWriter {
  /** The checkpoint that `open` found: everything up to it took effect, and nothing beyond. Null: none is stored. */
  readonly lanes: LaneVector | null
  /** Number of this ownership in the sink. */
  readonly term: number
  /**
   * Stores what the items do and the checkpoint `lanes`, all or nothing, if this writer still owns the partition. One
   * at a time. Resolves when all of it took effect, but for the items that are named: those the sink refused for a reason
   * that could not be foreseen.
   *
   * A `SinkRefusal` says that nothing took effect, because the named items never can: deal with them, then commit the
   * others. So no checkpoint ever passes an item that is neither written nor dealt with.
   *
   * A TroupeError `sink-fenced` says that a newer writer owns the partition and nothing took effect. Any other rejection
   * says that the outcome is unknown: the actor ends, and the next writer's `lanes` tell.
   */
  commit(items: readonly SinkItem[], lanes: LaneVector): Promise<readonly RefusedItem[]>
  /** Best number of items in one commit. */
  readonly batchSize: number
  /** Most items of one commit; without it there is no such bound. A frame with more is cut where its lane has an order. */
  readonly mostItems?: number
  /** Waits for the commit in flight, then closes. */
  close(): Promise<void>
}

/** One item that a sink refused. */
export interface RefusedItem {
  readonly index: number
  readonly message: string
}

/**
 * Items that the sink refuses and always will (dead letters; never retried). The other items of the same write took
 * effect: pipelined commands are carried out to the end, so a sink cannot promise that those behind the first refused
 * item did not. Order by key holds all the same: what is refused is never written later, behind its successors.
 */
export class SinkRefusal extends Error {
  /** Ascending by index; at least one. */
  readonly refused: readonly RefusedItem[]

  constructor(
    /** The first refused item. */
    readonly index: number,
    message: string,
    options?: { readonly cause?: unknown; readonly refused?: readonly RefusedItem[] },
  ) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'SinkRefusal'
    this.refused = options?.refused ?? [{ index, message }]
  }
}

export interface SinkDriver<Config> {
  readonly kind: string
  /** `at-least-once`, or `exactly-once` where the checkpoint is stored with the work: then `openFenced` is what opens it. */
  guarantee(config: Config): 'at-least-once' | 'exactly-once'
  preflight(config: Config, context: Pick<SinkContext, 'world' | 'log' | 'pipeline' | 'processor'>): Promise<void>
  /** What opens it where it is at least once. */
  open?(config: Config, context: SinkContext): Promise<SinkWriter>
  /** Seals: from now on no older writer of this partition can commit. */
  openFenced?(config: Config, context: SinkContext): Promise<FencedWriter>
  connections(config: Config): readonly { readonly server: string; readonly count: number; readonly purpose: string }[]
}

/** What a fenced writer fails with when a newer one owns its partition. No fault of anybody's: whoever owns the partition goes on. */
export function sinkFenced(place: string, held: string): TroupeError {
  return new TroupeError({
    code: 'sink-fenced',
    message: `another writer has taken over this partition in the sink (${held}); nothing of this batch took effect`,
    place,
    remedy:
      'none is needed where a partition has moved; if it comes again and again, two pipelines of one name share the sink',
  })
}
