/**
 * A pipeline, checked and with every default filled in: what the file or `definePipeline` becomes, and all that the
 * rest of Troupe sees of it. Cloneable, except for handlers given as values.
 */
import type { Operation } from '../event/event.js'
import type { RetryDefinition } from '../processor/definition.js'
import type { ProcessorHandler } from '../processor/processor.js'
import type { SinkDefinition } from '../sink/definition.js'
import type { PostgresSourceDefinition } from '../source/postgres/definition.js'
import type { RedisStreamsSourceDefinition } from '../source/redis/definition.js'

export type Order = 'key' | 'none' | 'global'

export type SourceDefinition = PostgresSourceDefinition | RedisStreamsSourceDefinition

export interface FilterDefinition {
  /** Exact names or globs with `*`; empty means all. */
  readonly namespaces: readonly string[]
  readonly entities: readonly string[]
  readonly operations: readonly Operation[]
}

export interface ProcessorDefinition {
  /** Names of sources; default all. */
  readonly from: readonly string[]
  readonly order: Order
  /** Handlers of different keys that may run at once in one partition, 1 to 10,000; default 16; 1 for `global`. */
  readonly concurrency: number
  readonly filter: FilterDefinition
  /** Module (absolute file URL) whose default export is a handler, a handler that the pipeline's own module holds, or none: the event as it is. */
  readonly handler: { readonly module: string } | { readonly value: ProcessorHandler } | null
  readonly sink: SinkDefinition | null
  /** Where a new name begins in a cluster's log; default `earliest`. */
  readonly start: 'earliest' | 'latest'
  readonly retry: RetryDefinition
  /** After the last retry: the event becomes a dead letter and its key goes on, or the partition stops. */
  readonly onFailure: 'dead-letter' | 'stop'
  /** The least that each path must promise; null: whatever it is. */
  readonly guarantee: 'at-least-once' | 'exactly-once' | null
}

/** How a pipeline runs on a cluster. */
export interface ClusterDefinition {
  /** Replicas of the log; null: by the number of servers. */
  readonly replicas: number | null
  /** Bound of the log in bytes; default 8 GiB. */
  readonly maxBytes: number
  readonly durability: 'lazy' | 'synced'
  /** ms; 0 with `synced`, default 240,000 with `lazy`. */
  readonly holdback: number
  /** ms for which processed events are kept; default 0. */
  readonly retain: number
  /** ms; default 3,000. */
  readonly lease: number
}

export interface PipelineDefinition {
  /** `[A-Za-z0-9_-]{1,64}` */
  readonly name: string
  /** Absolute path. */
  readonly dataDirectory: string
  /** Absolute file URL of the module or file that it came from; null for a value in memory. */
  readonly module: string | null
  /** Partitions by key, 1 to 1,024; default 16. */
  readonly partitions: number
  /** Owner threads; 0: owners run on the main thread. Default: one for every 4 partitions, at most the cores. */
  readonly threads: number
  /** ms between SIGTERM and a forced end; default 30,000. */
  readonly stopDeadline: number
  /** ms between checkpoints; default 1,000. */
  readonly checkpointInterval: number
  readonly cluster: ClusterDefinition
  readonly sources: Readonly<Record<string, SourceDefinition>>
  readonly processors: Readonly<Record<string, ProcessorDefinition>>
}
