/**
 * Reads an append-only sink from its begin to its end, in its order: a Redis stream or a file of JSON lines.
 *
 * What a record needs to be judged: `key`, `counter`, and whether it deletes. A delete that a built-in sink wrote bears
 * the old row, whose counter is one below that of the delete itself (the ledger counts the delete as the next change of
 * its key); so one is added. A processor that numbers its records itself writes `change` instead of relying on that.
 */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { Redis } from 'ioredis'
import type { SinkEntry } from './check.js'

const pageSize = 5_000

export interface SinkRow extends SinkEntry {
  readonly deleted: boolean
  /** Columns as text, by name; what the processor added among them. */
  readonly columns: Readonly<Record<string, string | null>>
}

/** Where the records are: `redis://…` with a stream, or a file. */
export type SinkPlace =
  | { readonly kind: 'redis'; readonly url: string; readonly stream: string }
  | { readonly kind: 'jsonl'; readonly paths: readonly string[] }

export function readSink(place: SinkPlace): AsyncIterable<SinkRow> {
  return place.kind === 'redis' ? readStream(place.url, place.stream) : readFiles(place.paths)
}

async function* readStream(url: string, stream: string): AsyncIterable<SinkRow> {
  const redis = new Redis(url)
  redis.on('error', () => {})
  try {
    let from = '-'
    for (;;) {
      const page = await redis.xrange(stream, from, '+', 'COUNT', pageSize)
      for (const [, fields] of page) {
        const named: Record<string, string | null> = {}
        for (let at = 0; at < fields.length; at += 2) named[fields[at]!] = fields[at + 1]!
        yield rowOf(named.event === undefined ? named : flatten(JSON.parse(named.event!)), stream)
      }
      if (page.length < pageSize) return
      from = `(${page.at(-1)![0]}`
    }
  } finally {
    redis.disconnect()
  }
}

async function* readFiles(paths: readonly string[]): AsyncIterable<SinkRow> {
  for (const path of paths) {
    for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY })) {
      // A file sink that was killed within a line begins anew on the next one; the half line counts for nothing.
      const parsed = tryParse(line)
      if (parsed !== null) yield rowOf(flatten(parsed), path)
    }
  }
}

function tryParse(line: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null
  } catch {
    return null
  }
}

/** A change event or a record as JSON, to one level of columns. */
function flatten(value: Record<string, unknown>): Record<string, string | null> {
  const row = (value.after ?? value.before ?? value.value ?? value) as Record<string, unknown>
  const named: Record<string, string | null> = {}
  for (const [name, column] of Object.entries(row))
    named[name] =
      column === null || column === undefined
        ? null
        : typeof column === 'object'
          ? JSON.stringify(column)
          : String(column)
  if (typeof value.operation === 'string') named.operation = value.operation
  return named
}

function rowOf(columns: Record<string, string | null>, place: string): SinkRow {
  const { key, counter } = columns
  if (key === undefined || key === null || counter === undefined || counter === null)
    throw new Error(`${place}: a record without key or counter: ${JSON.stringify(columns).slice(0, 200)}`)
  const numbered = columns.change !== undefined
  const deleted = (columns.change ?? columns.operation ?? columns['@op']) === 'delete'
  return {
    key,
    counter: Number(counter) + (deleted && !numbered ? 1 : 0),
    deleted,
    columns,
    late: columns.late === 'true',
  }
}
