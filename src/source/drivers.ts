/** Every kind of source that Troupe has, by the `kind` of its definition. */
import type { PostgresSourceDefinition } from './postgres/definition.js'
import { postgresSource } from './postgres/driver.js'
import type { RedisStreamsSourceDefinition } from './redis/definition.js'
import { redisStreamsSource } from './redis/driver.js'
import type { SourceDriver } from './source.js'

export type SourceDefinition = PostgresSourceDefinition | RedisStreamsSourceDefinition

export function sourceDriver(kind: SourceDefinition['kind']): SourceDriver<SourceDefinition> {
  switch (kind) {
    case 'postgres':
      return postgresSource as SourceDriver<SourceDefinition>
    case 'redis-streams':
      return redisStreamsSource as SourceDriver<SourceDefinition>
  }
}
