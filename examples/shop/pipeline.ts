/**
 * The shop's pipeline in TypeScript. `npm start` runs it against servers of its own; against yours:
 *
 *     SHOP_POSTGRES=postgres://… SHOP_REDIS=redis://… npm run troupe -- run examples/shop/pipeline.ts
 *
 * pipeline.yaml is the same with built-in parts alone.
 */
import { definePipeline } from '../../src/index.js'
import enrich from './enrich.js'

const postgres = process.env.SHOP_POSTGRES ?? 'postgres://postgres@127.0.0.1:5432/postgres'
const redis = process.env.SHOP_REDIS ?? 'redis://127.0.0.1:6379'

export default definePipeline({
  name: 'shop',
  ...(process.env.SHOP_DATA === undefined ? {} : { data: process.env.SHOP_DATA }),
  partitions: 8,
  threads: 2,
  // Only with --cluster: the NATS servers of the demo sync before they answer.
  cluster: { durability: 'synced', maxBytes: '1GiB' },
  sources: {
    db: { kind: 'postgres', url: postgres, tables: ['public.customers', 'public.orders'] },
    // Read from our own checkpoint; the group only follows, for whoever watches Redis.
    clicks: { kind: 'redis-streams', url: redis, streams: ['clicks'], keyField: 'key', group: 'shop-follows' },
  },
  processors: {
    enrich: {
      handler: enrich,
      sink: { kind: 'redis', url: redis, write: 'stream', name: 'shop:changes' },
    },
  },
})
