// A pipeline in TypeScript: the same keys as in YAML, the handler as a value. Each partition counts for itself.
//   DATABASE_URL=postgres://… troupe run examples/shop.ts
import { definePipeline, defineProcessor, record } from 'troupe'

const seen = defineProcessor({
  open: () => new Map<string, number>(),
  handle(event, counts) {
    const count = (counts.get(event.keyText) ?? 0) + 1
    counts.set(event.keyText, count)
    return record(event, { operation: 'append', value: { operation: event.operation, seen: count } })
  },
  close: (counts) => counts.clear(),
})

export default definePipeline({
  name: 'shop-ts',
  sources: {
    db: {
      kind: 'postgres',
      url: process.env.DATABASE_URL ?? 'postgres://postgres:postgres@127.0.0.1:5432/shop',
      tables: ['public.orders'],
    },
  },
  processors: {
    orders: { filter: { entities: ['orders'] }, handler: seen, sink: { kind: 'jsonl', path: '-' } },
  },
})
