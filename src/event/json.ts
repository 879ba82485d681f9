/** How values become JSON: one rule for every codec. */
import type { Value } from './event.js'

/**
 * Bytes as base64; bigint as a number where it is safe, else as a decimal string; NaN and the infinities as their names;
 * everything else as it is.
 */
export function jsonOf(value: Value): unknown {
  switch (typeof value) {
    case 'bigint':
      return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value.toString()
    case 'number':
      return Number.isFinite(value) ? value : String(value)
    case 'object':
      return value === null ? null : jsonOfObject(value)
    default:
      return value
  }
}

function jsonOfObject(value: Exclude<Value, null | boolean | number | bigint | string>): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64')
  if (isList(value)) return value.map(jsonOf)
  const object: Record<string, unknown> = {}
  for (const [name, member] of Object.entries(value)) put(object, name, jsonOf(member))
  return object
}

/** `Array.isArray` does not narrow readonly arrays. */
export function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value)
}

/** Sets a property of any name, `__proto__` too, which a source may well call a column. */
export function put<T>(object: Record<string, T>, name: string, value: T): void {
  if (name !== '__proto__') object[name] = value
  else Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true })
}
