/** A row whose values are already there: names and values side by side. */
import type { Row, Value } from './event.js'
import { jsonOf, put } from './json.js'

export function valueRow(names: readonly string[], values: readonly Value[]): Row {
  return new ValueRow(names, values)
}

class ValueRow implements Row {
  constructor(
    readonly columns: readonly string[],
    private readonly values: readonly Value[],
  ) {}

  get(column: string): Value | undefined {
    const index = this.columns.indexOf(column)
    return index < 0 ? undefined : this.values[index]
  }

  text(column: string): string | null | undefined {
    const value = this.get(column)
    return value === undefined || value === null ? value : textOf(value)
  }

  has(column: string): boolean {
    return this.columns.includes(column)
  }

  visit(visitor: (name: string, bytes: Uint8Array, start: number, end: number) => void): void {
    for (let index = 0; index < this.columns.length; index++) {
      const value = this.values[index]!
      if (value === null) {
        visitor(this.columns[index]!, nothing, -1, -1)
        continue
      }
      const bytes = value instanceof Uint8Array ? value : Buffer.from(textOf(value), 'utf8')
      visitor(this.columns[index]!, bytes, 0, bytes.length)
    }
  }

  toObject(): Record<string, Value> {
    const object: Record<string, Value> = {}
    this.columns.forEach((name, index) => {
      put(object, name, this.values[index]!)
    })
    return object
  }

  toJSON(): Record<string, unknown> {
    const object: Record<string, unknown> = {}
    this.columns.forEach((name, index) => {
      put(object, name, jsonOf(this.values[index]!))
    })
    return object
  }
}

const nothing = new Uint8Array(0)

/** Strings as they are, bytes as UTF-8, numbers in decimal, lists and objects as JSON. */
function textOf(value: Exclude<Value, null>): string {
  if (typeof value === 'string') return value
  if (value instanceof Uint8Array) return Buffer.from(value).toString('utf8')
  return typeof value === 'object' ? JSON.stringify(jsonOf(value)) : String(value)
}
