/**
 * The sink port. A writer belongs to one processor in one partition, holds its own connection, and is created and closed
 * inside that processor's actor.
 */
import type { ChangeEvent, Value } from '../event/event.js'
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
  /** `at-least-once`, or `exactly-once` where the checkpoint is stored with the work. */
  readonly guarantee: 'at-least-once' | 'exactly-once'
  preflight(config: Config, context: Pick<SinkContext, 'world' | 'log' | 'pipeline' | 'processor'>): Promise<void>
  open(config: Config, context: SinkContext): Promise<SinkWriter>
  connections(config: Config): readonly { readonly server: string; readonly count: number; readonly purpose: string }[]
}
