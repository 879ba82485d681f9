/** Every kind of sink that Troupe has; loaded when asked for: a thread that writes files never loads Redis's client. */
import type { SinkDefinition } from './definition.js'
import type { SinkDriver } from './sink.js'

export async function sinkDriver(kind: SinkDefinition['kind']): Promise<SinkDriver<SinkDefinition>> {
  switch (kind) {
    case 'jsonl':
      return (await import('./jsonl.js')).jsonlSink as SinkDriver<SinkDefinition>
    case 'nats':
      return (await import('./nats.js')).natsSink as SinkDriver<SinkDefinition>
    case 'redis':
      return (await import('./redis.js')).redisSink as SinkDriver<SinkDefinition>
  }
}
