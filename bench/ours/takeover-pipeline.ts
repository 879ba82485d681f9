/**
 * The pipeline of `takeover`, as `troupe run` loads it: the product's own number of partitions, lease and checkpoint interval;
 * WAL to a Redis stream for each partition, in a sink that stores the checkpoint with the work. The environment says
 * where (TROUPE_BENCH_TAKEOVER, JSON).
 */
import { definePipeline } from '../../src/index.js'
import { publication } from '../workload/wal.js'

export interface TakeoverPlace {
  readonly postgres: string
  readonly redis: string
  readonly data: string
  /** Owner threads; absent: the product's own default. */
  readonly threads?: number
}

export const takeover = {
  name: 'bench-takeover',
  slot: 'bench_takeover',
  partitions: 16,
  leaseMs: 3_000,
  stream: (partition: number) => `takeover:${partition}`,
} as const

const { postgres, redis, data, threads } = JSON.parse(
  process.env.TROUPE_BENCH_TAKEOVER ??
    '{"postgres":"postgres://127.0.0.1/postgres","redis":"redis://127.0.0.1:6379","data":".troupe/bench"}',
) as TakeoverPlace

export default definePipeline({
  name: takeover.name,
  data,
  partitions: takeover.partitions,
  ...(threads === undefined ? {} : { threads }),
  cluster: { durability: 'synced', lease: takeover.leaseMs, maxBytes: 2 * 1024 ** 3 },
  sources: { wal: { kind: 'postgres', url: postgres, publication, createPublication: 'never', slot: takeover.slot } },
  processors: {
    copy: {
      handler: new URL('./stamp-rows.js', import.meta.url).href,
      sink: { kind: 'redis', url: redis, write: 'stream', name: 'takeover:{partition}', exactlyOnce: true },
      guarantee: 'exactly-once',
    },
  },
})
