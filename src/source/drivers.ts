/** Every kind of source that Troupe has; loaded when asked for: a thread that reads Redis never loads PostgreSQL's client. */
import type { PostgresSourceDefinition } from './postgres/definition.js'
import type { RedisStreamsSourceDefinition } from './redis/definition.js'
import type { SourceDriver } from './source.js'

export type SourceDefinition = PostgresSourceDefinition | RedisStreamsSourceDefinition

export async function sourceDriver(kind: SourceDefinition['kind']): Promise<SourceDriver<SourceDefinition>> {
  switch (kind) {
    case 'postgres':
      return (await import('./postgres/driver.js')).postgresSource as SourceDriver<SourceDefinition>
    case 'redis-streams':
      return (await import('./redis/driver.js')).redisStreamsSource as SourceDriver<SourceDefinition>
  }
}
