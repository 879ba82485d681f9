/** How values of a record become text: for fields of Redis and for JSON. docs/sinks.md states the rule. */
import type { Value } from '../event/event.js'
import { jsonOf } from '../event/json.js'
import type { SinkItem } from './sink.js'

/** A field's text or bytes; null for NULL. */
export function fieldOf(value: Value): string | Uint8Array | null {
  if (value === null || typeof value === 'string' || value instanceof Uint8Array) return value
  return typeof value === 'object' ? JSON.stringify(jsonOf(value)) : String(value)
}

/** The whole item as one JSON object: an event as `toJSON` gives it, a record with the id of its event. */
export function itemJson(item: SinkItem): string {
  if (item.type === 'change') return JSON.stringify(item)
  return JSON.stringify({
    type: 'record',
    id: item.event.id,
    operation: item.operation,
    entity: item.entity,
    key: item.key,
    value: jsonOf(item.value),
  })
}
