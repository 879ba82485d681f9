/** Every kind of sink that Troupe has, by the `kind` of its definition. */
import type { SinkDefinition } from './definition.js'
import { jsonlSink } from './jsonl.js'
import { redisSink } from './redis.js'
import type { SinkDriver } from './sink.js'

export function sinkDriver(kind: SinkDefinition['kind']): SinkDriver<SinkDefinition> {
  switch (kind) {
    case 'jsonl':
      return jsonlSink as SinkDriver<SinkDefinition>
    case 'redis':
      return redisSink as SinkDriver<SinkDefinition>
  }
}
