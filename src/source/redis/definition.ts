/** The configuration of a Redis Streams source, checked and complete. */
export interface RedisStreamsSourceDefinition {
  readonly kind: 'redis-streams'
  /** `redis://[user:password@]host:port/db`, `rediss://…` */
  readonly url: string
  readonly streams: readonly string[]
  readonly mode: 'read' | 'group'
  /** Name of the consumer group; default `troupe-<pipeline>`. In mode `read` it only follows, and only if named. */
  readonly group: string | null
  /** Field whose value is the ordering key; null: the stream is the key. */
  readonly keyField: string | null
  /** Where a stream without checkpoint begins. */
  readonly start: 'earliest' | 'latest'
  /** COUNT of one read, 1 to 10,000; default 1,000. */
  readonly count: number
  readonly placement: 'inline' | 'thread'
}
