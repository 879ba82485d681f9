/** The configuration of each sink, checked and complete. */
export interface JsonlSinkDefinition {
  readonly kind: 'jsonl'
  /** A file that is appended to, or `-` for standard output. `{partition}` in it makes a file per partition. */
  readonly path: string
  /** fsync after each batch (default true; never for `-`). */
  readonly sync: boolean
}

export interface RedisSinkDefinition {
  readonly kind: 'redis'
  readonly url: string
  /**
   * `stream`: XADD to the stream `name`; `hash`: HSET/DEL of the row at key `name`; `string`: SET/DEL of the row as JSON.
   */
  readonly write: 'stream' | 'hash' | 'string'
  /** Template of the stream's or key's name: `{source} {namespace} {entity} {key} {operation} {partition}`. */
  readonly name: string
  /** stream: fields of an entry: `columns` (id, operation and each column as a field, default) or `json` (one field `event`). */
  readonly format: 'columns' | 'json'
  /** stream: approximate MAXLEN; null for none. */
  readonly maxLength: number | null
  /** Items in one pipelined batch, or one commit, 1 to 10,000; default 512. */
  readonly batch: number
  /** Stores the checkpoint with the work, in one script: exactly-once effect. Default false. */
  readonly exactlyOnce: boolean
}

export interface NatsSinkDefinition {
  readonly kind: 'nats'
  /** Servers as in docs/nats.md: `nats://user:password@host:port`, several separated by commas. */
  readonly url: string
  /** The JetStream stream that holds the subjects; it exists, and takes atomic batches. */
  readonly stream: string
  /** Template of the subject: `{source} {namespace} {entity} {key} {operation} {partition}`, each filled in as one token. */
  readonly subject: string
  /** Items from which on a commit is full, 1 to 899; default 256. */
  readonly batch: number
}

export type SinkDefinition = JsonlSinkDefinition | RedisSinkDefinition | NatsSinkDefinition
