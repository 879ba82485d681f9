/**
 * A row of a PostgreSQL relation: a view on one tuple, and on the old tuple for the columns that the new one leaves out.
 *
 * Columns are found by skipping from the last one found, so reading in the table's order scans once.
 */
import type { FrameBytes } from './bytes.js'
import type { Records } from './codec.js'
import type { Row, Value } from './event.js'
import { jsonOf, put } from './json.js'
import { frameError } from './layout.js'
import type { DecodedRelation, Selection } from './relation.js'
import { utf8Text } from './text.js'
import { columnAt, columnCount, columnKind, noTuple, tupleKind } from './tuple.js'
import { textDecoder } from './values.js'

export class TupleRow implements Row {
  private scannedNumber = 0
  private scannedAt: number

  constructor(
    private readonly records: Pick<Records, 'bytes' | 'view'>,
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

  /** Through the frame each time: a row that outlives it says so. */
  private get bytes(): FrameBytes {
    return this.records.bytes
  }

  private get view(): DataView {
    return this.records.view
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
    return number === undefined ? undefined : this.textOf(number)
  }

  /** Like `text`, by the column's number. */
  textOf(number: number): string | null | undefined {
    const at = this.find(number)
    if (at < 0) return undefined
    return this.bytes[at] === columnKind.null ? null : utf8Text(this.bytes, at + 5, this.valueEnd(at))
  }

  has(column: string): boolean {
    const number = this.selection.numberOf.get(column)
    return number !== undefined && this.find(number) >= 0
  }

  visit(visitor: (name: string, bytes: Uint8Array, start: number, end: number) => void): void {
    const { names, numbers } = this.selection
    const bytes = this.bytes
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

  /** All columns that were sent. Texts are cut from one string of the whole row where that is all ASCII: one native call, not one each. */
  private each(take: (name: string, value: Value) => void): void {
    const { names, numbers } = this.selection
    const { bytes, tuple, relation } = this
    const row = numbers.length < manyColumns ? '' : bytes.utf8Slice(tuple, this.end)
    // As many characters as bytes: then every character stands where its byte stands.
    const aligned = row.length === this.end - tuple
    for (let index = 0; index < numbers.length; index++) {
      const number = numbers[index]!
      const at = this.find(number)
      if (at < 0) continue
      const isText = bytes[at] === columnKind.text && relation.decoders[number] === textDecoder
      if (aligned && isText && at > tuple) take(names[index]!, row.slice(at + 5 - tuple, this.valueEnd(at) - tuple))
      else take(names[index]!, this.valueAt(at, number))
    }
  }

  private valueOf(number: number): Value | undefined {
    const at = this.find(number)
    return at < 0 ? undefined : this.valueAt(at, number)
  }

  private valueAt(at: number, number: number): Value {
    const bytes = this.bytes
    const kind = bytes[at]
    if (kind === columnKind.text) return this.relation.decoders[number]!.bytes(bytes, at + 5, this.valueEnd(at))
    return kind === columnKind.null ? null : new Uint8Array(bytes.subarray(at + 5, this.valueEnd(at)))
  }

  /** Where the column begins, in the tuple or in the old one; -1 where it was not sent. */
  private find(number: number): number {
    const bytes = this.bytes
    let at = this.scannedAt
    let column = this.scannedNumber
    if (number < column) {
      at = this.tuple + 2
      column = 0
    }
    for (; column < number; column++) at = this.skip(at)
    const kind = bytes[at]
    this.scannedAt = at
    this.scannedNumber = number
    if (kind === columnKind.text || kind === columnKind.null || kind === columnKind.binary) return at
    if (kind === columnKind.unchanged && at < this.end) return this.findOld(number)
    return this.corrupt(at)
  }

  /** `nextColumn`, with one read of the length. */
  private skip(at: number): number {
    const kind = this.bytes[at]
    if (kind !== columnKind.text && kind !== columnKind.binary) return at + 1
    return at + 5 > this.end ? this.corrupt(at) : at + 5 + this.view.getUint32(at + 1)
  }

  private findOld(number: number): number {
    if (this.old === noTuple) return -1
    const bytes = this.bytes
    // A 'K' tuple says NULL for every column that is not of the identity, whatever its value.
    if (bytes[this.old - 1] === tupleKind.key && !this.relation.relation.columns[number]!.keyFlag) return -1
    const at = columnAt(bytes, this.old, number)
    const kind = bytes[at]
    if (kind === columnKind.text || kind === columnKind.null || kind === columnKind.binary) return at
    return kind === columnKind.unchanged ? -1 : this.corrupt(at)
  }

  /** Where the value of the column at `at` ends; the next column is then found at once. */
  private valueEnd(at: number): number {
    const end = this.skip(at)
    if (end > this.end) this.corrupt(at)
    if (at === this.scannedAt) {
      this.scannedAt = end
      this.scannedNumber++
    }
    return end
  }

  private corrupt(at: number): never {
    throw frameError('record-corrupt', `no column begins at ${at} of a row that ends at ${this.end}`)
  }
}

/** From so many columns on, one string of the row is cheaper than one of each. */
const manyColumns = 4
