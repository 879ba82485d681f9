/**
 * What membership needs of a key-value store: CAS, and to be told of changes. Everything kept here only saves effort: it
 * may be late, stale or gone, and no event is lost or done twice by it. The driver is NATS KV (nats-kv.ts); the
 * simulation has a model.
 */

export interface KvEntry {
  readonly key: string
  /** Null: deleted. */
  readonly value: Uint8Array | null
  readonly revision: number
}

export interface KvPort {
  /** Null where the key exists. */
  create(key: string, value: Uint8Array): Promise<number | null>
  /** Null where the revision is not the last one. */
  update(key: string, value: Uint8Array, revision: number): Promise<number | null>
  /** False where the revision is not the last one. */
  remove(key: string, revision: number): Promise<boolean>
  /** May be stale. */
  get(key: string): Promise<KvEntry | null>
  /** Every entry that there is, then every change, in order. `ready` is called once between the two. */
  watch(options: {
    readonly entry: (entry: KvEntry) => void
    readonly ready: () => void
    readonly failed: (error: Error) => void
  }): { stop(): void }
}

/** Something that one node at a time works on: `reader.<source>` or `part.<scope>.<partition>`. */
export type Resource = string

export function readerResource(source: string): Resource {
  return `reader.${source}`
}

export function partitionResource(scope: string, partition: number): Resource {
  return `part.${scope}.${partition}`
}

/** What a node runs of its resources. Implemented over supervisors by units.ts, and by the simulation. */
export interface Units {
  /**
   * Starts it: connects, seals, goes on from the checkpoint. Resolves when it runs; rejects when it cannot. `ended` is
   * called, once, when it ends later without having been asked to.
   */
  start(resource: Resource, ended: (error: Error) => void): Promise<void>
  /**
   * Front to back: stops reading, finishes what it can within `deadlineMs`, writes its last checkpoint, ends. `closed` is
   * called before that where it is known earlier that all it did is stored and it does nothing more: another may then
   * begin while this one is taken down. Never rejects.
   */
  stop(resource: Resource, deadlineMs: number, closed: () => void): Promise<void>
  /** Proof of life: its thread answers. False also where it is restarting. Never rejects. */
  alive(resource: Resource, deadlineMs: number): Promise<boolean>
}
