/**
 * A row of a PostgreSQL relation: a view on one tuple, and on the old tuple for the columns that the new one leaves out.
 *
 * Columns are found by skipping from the last one found, so reading in the table's order scans once.
 */
import type { Records } from './codec.js'
import type { Row, Value } from './event.js'
import { jsonOf, put } from './json.js'
import { frameError } from './layout.js'
import type { DecodedRelation, Selection } from './relation.js'
import { columnCount, columnKind, noTuple, tupleKind } from './tuple.js'

export class TupleRow implements Row {
  private scannedNumber = 0
  private scannedAt: number

  constructor(
    private readonly records: Records,
    private readonly relation: DecodedRelation,
    private readonly selection: Selection,
    private readonly tuple: number,
    /** The old tuple that unchanged columns are taken from, or `noTuple`. */
    private readonly old: number,
    private readonly end: number,
  ) {
    this.scannedAt = tuple + 2
    const columns = columnCount(records.bytes, tuple)
    if (columns !== relation.decoders.length)
      throw frameError('record-corrupt', `a row of ${columns} columns in a relation of ${relation.decoders.length}`)
  }

  get columns(): readonly string[] {
    const { names, numbers } = this.selection
    if (numbers.every((number) => this.find(number) >= 0)) return names
    return names.filter((_, index) => this.find(numbers[index]!) >= 0)
  }

  get(column: string): Value | undefined {
    const number = this.selection.numberOf.get(column)
    return number === undefined ? undefined : this.valueOf(number)
  }

  text(column: string): string | null | undefined {
    const number = this.selection.numberOf.get(column)
    if (number === undefined) return undefined
    const at = this.find(number)
    if (at < 0) return undefined
    const bytes = this.records.bytes
    return bytes[at] === columnKind.null ? null : bytes.utf8Slice(at + 5, this.valueEnd(at))
  }

  has(column: string): boolean {
    const number = this.selection.numberOf.get(column)
    return number !== undefined && this.find(number) >= 0
  }

  visit(visitor: (name: string, bytes: Uint8Array, start: number, end: number) => void): void {
    const { names, numbers } = this.selection
    const bytes = this.records.bytes
    for (let index = 0; index < numbers.length; index++) {
      const at = this.find(numbers[index]!)
      if (at < 0) continue
      if (bytes[at] === columnKind.null) visitor(names[index]!, bytes, -1, -1)
      else visitor(names[index]!, bytes, at + 5, this.valueEnd(at))
    }
  }

  toObject(): Record<string, Value> {
    const object: Record<string, Value> = {}
    this.each((name, value) => put(object, name, value))
    return object
  }

  toJSON(): Record<string, unknown> {
    const object: Record<string, unknown> = {}
    this.each((name, value) => put(object, name, jsonOf(value)))
    return object
  }

  /** Names of the columns that exist and were not sent. */
  unchanged(): string[] {
    const { names, numbers } = this.selection
    return names.filter((_, index) => this.find(numbers[index]!) < 0)
  }

  private each(take: (name: string, value: Value) => void): void {
    const { names, numbers } = this.selection
    for (let index = 0; index < numbers.length; index++) {
      const value = this.valueOf(numbers[index]!)
      if (value !== undefined) take(names[index]!, value)
    }
  }

  private valueOf(number: number): Value | undefined {
    const at = this.find(number)
    if (at < 0) return undefined
    const bytes = this.records.bytes
    switch (bytes[at]) {
      case columnKind.null:
        return null
      case columnKind.text:
        return this.relation.decoders[number]!.bytes(bytes, at + 5, this.valueEnd(at))
      default:
        return new Uint8Array(bytes.subarray(at + 5, this.valueEnd(at)))
    }
  }

  /** Where the column begins, in the tuple or in the old one; -1 where it was not sent. */
  private find(number: number): number {
    let at = this.scannedAt
    let column = this.scannedNumber
    if (number < column) {
      at = this.tuple + 2
      column = 0
    }
    for (; column < number; column++) at = this.after(at)
    this.scannedAt = at
    this.scannedNumber = number
    const kind = this.records.bytes[at]
    if (kind === columnKind.unchanged) return this.findOld(number)
    if (kind !== columnKind.text && kind !== columnKind.null && kind !== columnKind.binary) this.corrupt(at)
    return at
  }

  private findOld(number: number): number {
    if (this.old === noTuple) return -1
    const bytes = this.records.bytes
    // A 'K' tuple says NULL for every column that is not of the identity, whatever its value.
    if (bytes[this.old - 1] === tupleKind.key && !this.relation.relation.columns[number]!.keyFlag) return -1
    let at = this.old + 2
    for (let column = 0; column < number; column++) at = this.after(at)
    return bytes[at] === columnKind.unchanged ? -1 : at
  }

  private after(at: number): number {
    const kind = this.records.bytes[at]
    if (kind === columnKind.null || kind === columnKind.unchanged) return at + 1
    if (kind !== columnKind.text && kind !== columnKind.binary) this.corrupt(at)
    return this.valueEnd(at)
  }

  private valueEnd(at: number): number {
    if (at + 5 > this.end) this.corrupt(at)
    const end = at + 5 + this.records.view.getUint32(at + 1)
    if (end > this.end) this.corrupt(at)
    return end
  }

  private corrupt(at: number): never {
    throw frameError('record-corrupt', `no column begins at ${at} of a row that ends at ${this.end}`)
  }
}
