/** The drivers by kind, loaded when they are asked for: a thread that writes to Redis never loads PostgreSQL's client. */
import type { SinkDefinition } from '../sink/definition.js'
import type { SinkDriver } from '../sink/sink.js'
import type { SourceDriver } from '../source/source.js'
import type { SourceDefinition } from './definition.js'

export async function sourceDriver(kind: SourceDefinition['kind']): Promise<SourceDriver<SourceDefinition>> {
  return (await import('../source/drivers.js')).sourceDriver(kind)
}

export async function sinkDriver(kind: SinkDefinition['kind']): Promise<SinkDriver<SinkDefinition>> {
  switch (kind) {
    case 'jsonl':
      return (await import('../sink/jsonl.js')).jsonlSink as SinkDriver<SinkDefinition>
    case 'redis':
      return (await import('../sink/redis.js')).redisSink as SinkDriver<SinkDefinition>
  }
}
