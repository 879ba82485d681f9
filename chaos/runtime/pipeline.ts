/** The pipeline that is tormented: the shop's tables and clicks into one stream, as the environment says (CHAOS_PIPELINE, JSON). */
import enrich from '../../examples/shop/enrich.js'
import { definePipeline } from '../../src/index.js'

export interface ChaosPipeline {
  readonly postgres: string
  readonly redis: string
  readonly data: string
  readonly mode: 'read' | 'group'
  readonly onGap: 'stop' | 'report'
  /** Cluster: ms of a lease. */
  readonly lease?: number
  /** ms; 0: the log is synced. */
  readonly holdback?: number
  /** The sink stores the checkpoint with the work. */
  readonly exactlyOnce?: boolean
}

/** Names that the scenarios look for in the servers. */
export const names = {
  slot: 'troupe_chaos_db',
  clicks: 'clicks',
  sink: 'chaos:sink',
  group: 'chaos-group',
} as const

const { postgres, redis, data, mode, onGap, lease, holdback, exactlyOnce } = JSON.parse(
  process.env.CHAOS_PIPELINE ??
    '{"postgres":"postgres://127.0.0.1/postgres","redis":"redis://127.0.0.1:6379","mode":"read","onGap":"stop"}',
) as ChaosPipeline

export default definePipeline({
  name: 'chaos',
  ...(data === undefined ? {} : { data }),
  partitions: 4,
  threads: 2,
  checkpointInterval: 250,
  cluster: {
    maxBytes: 1024 * 1024 * 1024,
    ...(lease === undefined ? {} : { lease }),
    ...(holdback === undefined ? {} : holdback === 0 ? { durability: 'synced' as const } : { holdback }),
  },
  sources: {
    db: { kind: 'postgres', url: postgres, tables: ['public.customers', 'public.orders'], onGap },
    clicks: { kind: 'redis-streams', url: redis, streams: [names.clicks], mode, group: names.group, keyField: 'key' },
  },
  processors: {
    copy: {
      handler: enrich,
      sink: { kind: 'redis', url: redis, write: 'stream', name: names.sink, exactlyOnce: exactlyOnce === true },
      ...(exactlyOnce === true ? { guarantee: 'exactly-once' } : {}),
    },
  },
})
