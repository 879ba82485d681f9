/**
 * Final-state comparison: the tables of the source, row by row, against the state that the sink's records rebuild.
 *
 * The last record of a key wins, a delete removes it. Compared are the source's columns as text (NULL included); columns
 * that a processor added are not looked at.
 */
import { Client } from 'pg'
import type { SinkRow } from './sink.js'

export interface RowComparison {
  readonly sourceRows: number
  readonly sinkRows: number
  /** In both, with a column that differs. */
  readonly different: number
  readonly missing: number
  readonly surplus: number
  readonly equal: boolean
  /** Up to 10, for people. */
  readonly examples: readonly string[]
}

type Columns = Readonly<Record<string, string | null>>

/** Keeps the last record of each key. Keys of the streams (`append`) have no state and are left out by `isRow`. */
export function createState(isRow: (row: SinkRow) => boolean) {
  const rows = new Map<string, Columns>()
  return {
    apply(row: SinkRow) {
      if (!isRow(row)) return
      if (row.deleted) rows.delete(row.key)
      else rows.set(row.key, row.columns)
    },
    rows: rows as ReadonlyMap<string, Columns>,
  }
}

/** Every row of the tables as text, by its `key`. */
export async function sourceRows(url: string, tables: readonly string[]): Promise<Map<string, Columns>> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    const rows = new Map<string, Columns>()
    for (const table of tables) {
      const columns = await client.query<{ name: string }>(
        `SELECT quote_ident(attname) AS name FROM pg_attribute
         WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
        [table],
      )
      const list = columns.rows.map(({ name }) => `${name}::text AS ${name}`).join(', ')
      const found = await client.query<Record<string, string | null>>(`SELECT ${list} FROM ${table}`)
      for (const row of found.rows) rows.set(row.key!, row)
    }
    return rows
  } finally {
    await client.end()
  }
}

export function compareRows(source: ReadonlyMap<string, Columns>, sink: ReadonlyMap<string, Columns>): RowComparison {
  const examples: string[] = []
  const note = (text: string) => {
    if (examples.length < 10) examples.push(text)
  }
  let different = 0
  let missing = 0
  let surplus = 0
  for (const [key, row] of source) {
    const other = sink.get(key)
    if (other === undefined) {
      missing++
      note(`${key} is in the source only`)
      continue
    }
    const column = Object.keys(row).find(
      (name) => comparable(name, row[name]!) !== comparable(name, other[name] ?? null),
    )
    if (column === undefined) continue
    different++
    note(
      `${key}.${column}: ${JSON.stringify(row[column])} in the source, ${JSON.stringify(other[column] ?? null)} in the sink`,
    )
  }
  for (const key of sink.keys()) {
    if (source.has(key)) continue
    surplus++
    note(`${key} is in the sink only`)
  }
  const equal = different + missing + surplus === 0
  return { sourceRows: source.size, sinkRows: sink.size, different, missing, surplus, equal, examples }
}

/** A moment is the same in every notation (`2026-01-02 03:04:05.6+00`, `2026-01-02T03:04:05.600000Z`): to microseconds. */
function comparable(column: string, text: string | null): string | null {
  if (text === null || !column.endsWith('_at')) return text
  const match = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(Z|[+-]\d\d(?::?\d\d)?)$/.exec(text)
  if (match === null) return text
  const [, day, time, fraction = '', zone = 'Z'] = match
  const offset = zone === 'Z' ? 'Z' : `${zone.slice(0, 3)}:${zone.slice(3).replace(':', '') || '00'}`
  return `${Date.parse(`${day}T${time}${offset}`) / 1000}.${fraction.padEnd(6, '0')}`
}
