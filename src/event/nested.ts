/**
 * PostgreSQL's texts that hold other texts: arrays, composites, ranges, multiranges and hstore.
 *
 * Grammar: the manual's chapters 8.15.6 (arrays), 8.16.6 (composites), 8.17.5 (ranges), F.16 (hstore). Text that does not
 * follow it is given as the text it is.
 */
import type { Value } from './event.js'
import { put } from './json.js'

export type FromText = (text: string) => Value

/**
 * `{1,NULL,"a b"}`, nested to any depth. An array whose bounds do not begin at 1 (`[0:1]={1,2}`) is
 * `{ lower: [0], items: [1, 2] }`: one lower bound a dimension.
 */
export function arrayValue(text: string, element: FromText, delimiter = ','): Value {
  if (!text.startsWith('[')) return arrayItems(text, 0, element, delimiter)
  const equals = text.indexOf('=')
  const lower = [...text.slice(0, equals).matchAll(/\[([+-]?\d+):[+-]?\d+\]/g)].map((match) => Number(match[1]))
  if (equals < 0 || lower.length === 0) return text
  return { lower, items: arrayItems(text, equals + 1, element, delimiter) }
}

function arrayItems(text: string, from: number, element: FromText, delimiter: string): Value {
  const scanner = new Scanner(text, from)
  if (scanner.next() !== '{') return text
  const items = listItems(scanner, element, delimiter)
  return items === null || !scanner.done ? text : items
}

/** After the opening brace, up to and with the closing one; null where the text is no array. */
function listItems(scanner: Scanner, element: FromText, delimiter: string): Value[] | null {
  const items: Value[] = []
  if (scanner.take('}')) return items
  while (!scanner.done) {
    if (scanner.take('{')) {
      const inner = listItems(scanner, element, delimiter)
      if (inner === null) return null
      items.push(inner)
    } else if (scanner.peek() === '"') items.push(element(scanner.quoted()))
    else {
      const plain = scanner.plain(delimiter, '}')
      items.push(plain === 'NULL' ? null : element(plain))
    }
    if (scanner.take('}')) return items
    if (!scanner.take(delimiter)) return null
  }
  return null
}

export interface CompositeField {
  readonly name: string
  readonly fromText: FromText
}

/** `(1,"a b",)` as an object by field name; nothing between commas is NULL. */
export function compositeValue(text: string, fields: readonly CompositeField[]): Value {
  const scanner = new Scanner(text, 0)
  if (scanner.next() !== '(') return text
  const object: Record<string, Value> = {}
  for (let index = 0; index < fields.length; index++) {
    const { name, fromText } = fields[index]!
    if (index > 0 && !scanner.take(',')) return text
    const end = scanner.peek()
    put(object, name, end === ',' || end === ')' ? null : fromText(scanner.mixed(',', ')')))
  }
  return scanner.take(')') && scanner.done ? object : text
}

/** `[1,10)` as `{ lower, upper, lowerInclusive, upperInclusive, empty }`; a bound that is not there is null. */
export function rangeValue(text: string, bound: FromText): Value {
  const scanner = new Scanner(text, 0)
  const range = scannedRange(scanner, bound)
  return range === null || !scanner.done ? text : range
}

/** `{[1,3),[5,9)}` as an array of ranges. */
export function multirangeValue(text: string, bound: FromText): Value {
  const scanner = new Scanner(text, 0)
  if (!scanner.take('{')) return text
  const ranges: Value[] = []
  while (!scanner.take('}')) {
    if (ranges.length > 0 && !scanner.take(',')) return text
    const range = scannedRange(scanner, bound)
    if (range === null) return text
    ranges.push(range)
  }
  return scanner.done ? ranges : text
}

function scannedRange(scanner: Scanner, bound: FromText): Value | null {
  if (scanner.takeWord('empty'))
    return { lower: null, upper: null, lowerInclusive: false, upperInclusive: false, empty: true }
  const open = scanner.next()
  if (open !== '[' && open !== '(') return null
  const lower = scanner.peek() === ',' ? null : bound(scanner.mixed(',', ','))
  if (!scanner.take(',')) return null
  const end = scanner.peek()
  const upper = end === ')' || end === ']' ? null : bound(scanner.mixed(')', ']'))
  const close = scanner.next()
  if (close !== ')' && close !== ']') return null
  return { lower, upper, lowerInclusive: open === '[', upperInclusive: close === ']', empty: false }
}

/** `"a"=>"1", "b"=>NULL` as an object of strings and nulls. */
export function hstoreValue(text: string): Value {
  const scanner = new Scanner(text, 0)
  const object: Record<string, Value> = {}
  while (!scanner.done) {
    if (scanner.peek() !== '"') return text
    const name = scanner.quoted()
    if (!scanner.takeWord('=>')) return text
    if (scanner.peek() === '"') put(object, name, scanner.quoted())
    else if (scanner.takeWord('NULL')) put(object, name, null)
    else return text
    if (!scanner.takeWord(', ') && !scanner.done) return text
  }
  return object
}

/** A cursor on a text with the two ways of quoting that PostgreSQL uses. */
class Scanner {
  constructor(
    private readonly text: string,
    private at: number,
  ) {}

  get done(): boolean {
    return this.at >= this.text.length
  }

  peek(): string {
    return this.text[this.at] ?? ''
  }

  next(): string {
    return this.text[this.at++] ?? ''
  }

  take(character: string): boolean {
    if (this.text[this.at] !== character) return false
    this.at++
    return true
  }

  takeWord(word: string): boolean {
    if (!this.text.startsWith(word, this.at)) return false
    this.at += word.length
    return true
  }

  /** Up to either end, which is not taken. A backslash takes the next character as it is. */
  plain(end: string, otherEnd: string): string {
    let value = ''
    while (!this.done) {
      const character = this.peek()
      if (character === end || character === otherEnd) break
      this.at++
      value += character === '\\' ? this.next() : character
    }
    return value
  }

  /** From the opening quote to the closing one. Inside, a backslash and a doubled quote stand for the next character. */
  quoted(): string {
    this.at++
    let value = ''
    while (!this.done) {
      const character = this.next()
      if (character === '\\') value += this.next()
      else if (character !== '"') value += character
      else if (this.peek() === '"') value += this.next()
      else break
    }
    return value
  }

  /** Quoted and plain pieces in a row, as composites and ranges allow. */
  mixed(end: string, otherEnd: string): string {
    let value = ''
    while (!this.done && this.peek() !== end && this.peek() !== otherEnd) {
      if (this.peek() === '"') value += this.quoted()
      else if (this.take('\\')) value += this.next()
      else value += this.next()
    }
    return value
  }
}
