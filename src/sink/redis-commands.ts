/**
 * What each item becomes in Redis: XADD, HSET with HDEL, SET or DEL, written as bytes without decoding a column.
 *
 * In `columns` format our own fields begin with one `@`, and a column whose name begins with `@` gets one more: no two
 * names can meet. An item that has no true form in the chosen shape is refused before a byte of it is sent.
 */
import type { ChangeEvent, Row } from '../event/event.js'
import type { RespWriter } from '../wire/resp-writer.js'
import type { RedisSinkDefinition } from './definition.js'
import type { NameTemplate } from './name-template.js'
import type { SinkItem, SinkRecord } from './sink.js'
import { fieldOf, itemJson } from './value-text.js'

/** Why an item cannot be written; becomes a SinkRefusal of its batch. */
export class Unwritable extends Error {}

/** Writes the commands of one item and gives their number. @throws Unwritable, with nothing written */
export type Encode = (item: SinkItem) => number

type Verb = 'upsert' | 'delete'

export function redisEncoder(definition: RedisSinkDefinition, template: NameTemplate, writer: RespWriter): Encode {
  switch (definition.write) {
    case 'stream':
      return definition.format === 'json'
        ? jsonEntries(definition, template, writer)
        : columnEntries(definition, template, writer)
    case 'hash':
      return hashes(template, writer)
    case 'string':
      return strings(template, writer)
  }
}

function beginEntry(definition: RedisSinkDefinition, template: NameTemplate, writer: RespWriter, item: SinkItem): void {
  const name = template.name(item)
  writer.begin()
  writer.text('XADD')
  writer.text(name)
  if (definition.maxLength !== null) {
    writer.text('MAXLEN')
    writer.text('~')
    writer.integer(definition.maxLength)
  }
  writer.text('*')
}

function jsonEntries(definition: RedisSinkDefinition, template: NameTemplate, writer: RespWriter): Encode {
  return (item) => {
    const json = itemJson(item)
    beginEntry(definition, template, writer, item)
    writer.text('event')
    writer.text(json)
    writer.end()
    return 1
  }
}

function columnEntries(definition: RedisSinkDefinition, template: NameTemplate, writer: RespWriter): Encode {
  let nulls: string[] = []
  const visitor = (name: string, bytes: Uint8Array, start: number, end: number) => {
    if (start < 0) {
      nulls.push(name)
      return
    }
    writer.text(name.charCodeAt(0) === 0x40 ? `@${name}` : name)
    writer.slice(bytes, start, end)
  }
  return (item) => {
    const event = item.type === 'record' ? item.event : item
    nulls = []
    beginEntry(definition, template, writer, item)
    writer.text('@id')
    writer.text(event.id)
    writer.text('@op')
    writer.text(item.operation)
    writer.text('@source')
    writer.text(event.source.name)
    writer.text('@entity')
    writer.text(item.type === 'record' || item.namespace === '' ? item.entity : `${item.namespace}.${item.entity}`)
    writer.text('@key')
    writer.text(item.type === 'record' ? item.key : item.keyText)
    if (item.type === 'record') nulls = writeValue(writer, item)
    else {
      rowOf(item)?.visit(visitor)
      if (item.unchanged.length > 0) {
        writer.text('@unchanged')
        writer.text(JSON.stringify(item.unchanged))
      }
      if (item.incomplete) {
        writer.text('@incomplete')
        writer.text('1')
      }
    }
    if (nulls.length > 0) {
      writer.text('@null')
      writer.text(JSON.stringify(nulls))
    }
    writer.end()
    return 1
  }
}

function hashes(template: NameTemplate, writer: RespWriter): Encode {
  let nulls: string[] = []
  let written = 0
  let open: (() => void) | null = null
  const visitor = (name: string, bytes: Uint8Array, start: number, end: number) => {
    if (start < 0) {
      nulls.push(name)
      return
    }
    open?.()
    writer.text(name)
    writer.slice(bytes, start, end)
    written++
  }
  return (item) => {
    if (verbOf(item, template) === 'delete') return writeDelete(template, writer, item)
    const name = template.name(item)
    nulls = []
    written = 0
    open = () => {
      open = null
      writer.begin()
      writer.text('HSET')
      writer.text(name)
    }
    if (item.type === 'record') {
      for (const [column, value] of Object.entries(item.value)) {
        const field = fieldOf(value)
        if (field === null) nulls.push(column)
        else {
          open?.()
          written++
          writer.text(column)
          if (typeof field === 'string') writer.text(field)
          else writer.slice(field, 0, field.length)
        }
      }
    } else rowOf(item)!.visit(visitor)
    if (written > 0) writer.end()
    if (nulls.length === 0) return written > 0 ? 1 : 0
    // A column that became NULL must not keep its old value.
    writer.begin()
    writer.text('HDEL')
    writer.text(name)
    for (const column of nulls) writer.text(column)
    writer.end()
    return written > 0 ? 2 : 1
  }
}

function strings(template: NameTemplate, writer: RespWriter): Encode {
  return (item) => {
    if (verbOf(item, template) === 'delete') return writeDelete(template, writer, item)
    const json = item.type === 'record' ? JSON.stringify(itemValue(item)) : JSON.stringify(wholeRow(item))
    writer.begin()
    writer.text('SET')
    writer.text(template.name(item))
    writer.text(json)
    writer.end()
    return 1
  }
}

function writeDelete(template: NameTemplate, writer: RespWriter, item: SinkItem): number {
  writer.begin()
  writer.text('DEL')
  writer.text(template.name(item))
  writer.end()
  return 1
}

/** The row that an event leaves behind; of a delete, what identifies it. */
function rowOf(event: ChangeEvent): Row | null {
  return event.operation === 'delete' ? (event.key ?? event.before) : event.after
}

/** What a row's item does to the value at its key. @throws Unwritable */
function verbOf(item: SinkItem, template: NameTemplate): Verb {
  if (item.type === 'record') {
    if (item.operation === 'append') throw new Unwritable('a record that appends has no row: use `write: stream`')
    if (template.byKey && item.key === '') throw new Unwritable('a record without a key cannot be written by key')
    return item.operation
  }
  if (template.byKey && item.key === null && item.keyText === '')
    throw new Unwritable(`${item.entity} has no key, and the sink writes by key`)
  if (item.operation === 'delete') return 'delete'
  if (item.after === null || item.operation === 'truncate')
    throw new Unwritable(`the operation ${item.operation} has no row: use \`write: stream\``)
  if (item.incomplete)
    throw new Unwritable(
      `the key of ${item.entity} changed and columns of the row are unknown: give the table REPLICA IDENTITY FULL`,
    )
  return 'upsert'
}

/** The row as JSON; columns that were not sent are taken from the old row. @throws Unwritable where it does not have them */
function wholeRow(event: ChangeEvent): Record<string, unknown> {
  const row = event.after!.toJSON()
  if (event.unchanged.length === 0) return row
  const before = event.before?.toJSON()
  for (const column of event.unchanged) {
    const value = before?.[column]
    if (value === undefined)
      throw new Unwritable(
        `column ${column} of ${event.entity} was not sent, and \`write: string\` needs the whole row: use \`write: hash\` or REPLICA IDENTITY FULL`,
      )
    row[column] = value
  }
  return row
}

function itemValue(item: SinkRecord): unknown {
  return JSON.parse(itemJson(item)).value
}

/** The fields of a record; gives the names of those that are null. */
function writeValue(writer: RespWriter, item: SinkRecord): string[] {
  const nulls: string[] = []
  for (const [name, value] of Object.entries(item.value)) {
    const field = fieldOf(value)
    if (field === null) {
      nulls.push(name)
      continue
    }
    writer.text(name.charCodeAt(0) === 0x40 ? `@${name}` : name)
    if (typeof field === 'string') writer.text(field)
    else writer.slice(field, 0, field.length)
  }
  return nulls
}
