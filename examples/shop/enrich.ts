/**
 * The shop's own processor: orders get their total and size, customers their country, clicks the part of the shop that
 * they hit. One record comes out for each event, with every column as PostgreSQL or Redis wrote it.
 *
 * `change` and `counter` are for whoever checks the result: a delete bears the old row, so its counter is the next one.
 */
import { type ChangeEvent, defineProcessor, type Row, record, type Value } from '../../src/index.js'

type Fields = Record<string, Value>

interface Resources {
  readonly countryOf: ReadonlyMap<string, string>
}

const countries = [
  ['Aachen', 'Germany'],
  ['Bergen', 'Norway'],
  ['Cork', 'Ireland'],
  ['Dijon', 'France'],
  ['Evora', 'Portugal'],
  ["L'Aquila", 'Italy'],
] as const

export default defineProcessor<Resources>({
  // Opened once for each partition, inside its actor. A client of a database would be opened here, and ended in `close`.
  open: () => ({ countryOf: new Map(countries) }),

  handle(event, resources) {
    const row = event.after ?? event.before
    if (row === null) return
    const value = columnsOf(row)
    value.change = event.operation
    if (event.operation === 'delete') value.counter = String(Number(value.counter) + 1)
    // An entry that another consumer had taken away comes after its successors, and says so.
    if (event.late) value.late = 'true'
    Object.assign(value, enrichment(event, row, resources))
    return record(event, { operation: 'append', value })
  },
})

function columnsOf(row: Row): Fields {
  const value: Fields = {}
  for (const column of row.columns) value[column] = row.text(column) ?? null
  return value
}

function enrichment(event: ChangeEvent, row: Row, { countryOf }: Resources): Fields {
  switch (event.entity) {
    case 'orders': {
      const total = BigInt(row.text('quantity') ?? 0) * BigInt(row.text('unit_cents') ?? 0)
      return { total_cents: total, size: total > 20_000n ? 'large' : total > 5_000n ? 'medium' : 'small' }
    }
    case 'customers':
      return { country: countryOf.get(row.text('city') ?? '') ?? null }
    default:
      return { section: Number(row.text('page')?.split('/').at(-1)) % 7 }
  }
}
