/** How values of a record become text: for fields of Redis and for JSON. docs/sinks.md states the rule. */
import type { Value } from '../event/event.js'
import type { SinkItem } from './sink.js'

/** A field's text or bytes; null for NULL. */
export function fieldOf(value: Value): string | Uint8Array | null {
  if (value === null || typeof value === 'string' || value instanceof Uint8Array) return value
  return typeof value === 'object' ? JSON.stringify(jsonOf(value)) : String(value)
}

/** JSON-safe: bytes as base64; a bigint as a number where it is safe, else as a decimal string. */
export function jsonOf(value: Value): unknown {
  if (typeof value === 'bigint') {
    const number = Number(value)
    return Number.isSafeInteger(number) ? number : value.toString()
  }
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value)
  if (value === null || typeof value !== 'object') return value
  if (value instanceof Uint8Array)
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')
  if (Array.isArray(value)) return value.map(jsonOf)
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, jsonOf(inner)]))
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
