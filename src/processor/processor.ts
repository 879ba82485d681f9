/**
 * The SDK's side of a processor: what its author writes.
 *
 * A processor is instantiated once per partition, inside its own actor. `open` makes what it needs (clients, caches) and
 * `close` ends it: nothing is shared with another instance. `handle` gets one event at a time of each key; events of
 * other keys may run beside it, up to `concurrency`.
 */
import type { ChangeEvent } from '../event/event.js'
import type { LossWindow } from '../event/marker.js'
import type { SinkItem, SinkRecord } from '../sink/sink.js'
import type { Logger } from '../world/logger.js'
import type { World } from '../world/world.js'

export interface ProcessorContext {
  readonly pipeline: string
  readonly processor: string
  readonly partition: number
  readonly world: World
  readonly log: Logger
  /** Aborted when the instance stops. */
  readonly signal: AbortSignal
}

/** What `handle` gives to the sink: nothing, the event as it is, or records made with `record`. */
export type Emission = void | null | undefined | SinkItem | readonly SinkItem[]

export interface ProcessorSpec<Resources = undefined> {
  /** Opens what this instance needs. Failure restarts the instance with back-off. */
  open?(context: ProcessorContext): Resources | Promise<Resources>
  /**
   * One event. A handler that returns no promise costs no promise. A throw is retried with back-off (its key waits), then
   * dead-lettered or the partition stops, as configured. May be called again for an event after a crash: at least once.
   */
  handle(event: ChangeEvent, resources: Resources, context: ProcessorContext): Emission | Promise<Emission>
  /**
   * A window in which events of a source may have been lost. Called in each partition, at least once. A throw is
   * logged and not retried. Without it windows are counted and logged only.
   */
  lossWindow?(window: LossWindow, resources: Resources, context: ProcessorContext): void | Promise<void>
  close?(resources: Resources): void | Promise<void>
}

export interface ProcessorHandler<Resources = unknown> extends ProcessorSpec<Resources> {
  readonly kind: 'processor'
}

/** Declares a processor: the default export of its module, or a value in `definePipeline`. */
export function defineProcessor<Resources = undefined>(spec: ProcessorSpec<Resources>): ProcessorHandler<Resources> {
  return { ...spec, kind: 'processor' }
}

/** A record for the sink, made from an event. */
export function record(
  event: ChangeEvent,
  fields: Omit<SinkRecord, 'type' | 'event' | 'entity' | 'key'> & { readonly entity?: string; readonly key?: string },
): SinkRecord {
  return {
    type: 'record',
    operation: fields.operation,
    entity: fields.entity ?? event.entity,
    key: fields.key ?? event.keyText,
    value: fields.value,
    event,
  }
}
