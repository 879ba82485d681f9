/**
 * `wal-redis`: from the WAL to a Redis stream, end to end, with checkpoints; over TCP and over PostgreSQL's unix socket.
 * The limit is the drain of the walsender, as in `wal`. Peer: pg-logical-replication with XADD pipelined by 100. Then the
 * latency at 10,000 events a second, open-loop, from the intended commit time to the arrival at a reader of the sink.
 *
 * `exactly once` has the sink that stores the checkpoint with the work on our side, and the pipelined one as its limit.
 */
import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { startPostgres, startRedis } from '../src/servers/index.js'
import { type Comparison, compare } from './harness/compare.js'
import type { BenchOptions } from './harness/options.js'
import { installPeers, peer } from './harness/peers.js'
import { type Aim, atLeast, atMost } from './harness/report.js'
import { measureLatency } from './latency.js'
import { removeData, walToRedis } from './ours/config.js'
import type { ToStreamInput } from './ours/to-stream.js'
import { fasterDrain, script, shapeOf } from './wal.js'
import { prepareTable, publication, writeWal } from './workload/wal.js'

const rows = 160_000
const transactionRows = 1_000
const latencyRate = 10_000
const latencySeconds = 20

export async function benchWalRedis(options: BenchOptions, progress: (line: string) => void) {
  const noPeers = options.peers ? installPeers(progress) : 'not asked for'
  const [postgres, redis] = await Promise.all([
    startPostgres({ settings: { max_wal_size: '4GB', shared_buffers: '256MB' } }),
    startRedis(),
  ])
  const client = new Redis(redis.url)
  const comparisons: Comparison[] = []
  let latency: Awaited<ReturnType<typeof measureLatency>> | null = null
  const failures: Record<string, string> = {}
  try {
    await prepareTable(postgres.url)
    const shape = shapeOf(rows, options.scale)
    progress('writing the WAL')
    const work = await writeWal(postgres.url, transactionRows, shape)
    for (const transport of ['tcp', 'unix socket'] as const) {
      if (!transport.includes(options.only)) continue
      const url = transport === 'tcp' ? postgres.url : overSocket(postgres.socketUrl)
      const streamName = () => `sink:${randomUUID()}`
      comparisons.push(
        await compare({
          variant: transport,
          shape,
          pairs: options.pairs,
          peerRuns: options.peerRuns,
          progress,
          limit: await fasterDrain(url, work, progress),
          ours: async () => {
            const stream = streamName()
            const config = walToRedis(url, await work.copySlot(), redis.url, stream)
            const input: ToStreamInput = { config, redis: redis.url, stream, shape }
            return { name: 'ours', command: [script('./ours/to-stream.js')], input, proves: true }
          },
          peers:
            noPeers !== null
              ? {}
              : {
                  'pg-logical-replication': async () => ({
                    name: 'pg-logical-replication',
                    command: [peer('wal-redis-pg-logical-replication')],
                    input: {
                      url,
                      slot: await work.copySlot(),
                      publication,
                      redis: redis.url,
                      stream: streamName(),
                      shape,
                    },
                    proves: true,
                  }),
                },
          after: async () => {
            await work.dropSlots()
            await client.flushall()
            removeData()
          },
        }),
      )
    }
    if ('exactly once'.includes(options.only)) {
      const sideOf = (exactlyOnce: boolean) => async () => {
        const stream = `sink:${randomUUID()}`
        const config = walToRedis(postgres.url, await work.copySlot(), redis.url, stream, exactlyOnce)
        const input: ToStreamInput = { config, redis: redis.url, stream, shape }
        const name = exactlyOnce ? 'ours' : 'pipelined'
        return { name, command: [script('./ours/to-stream.js')], input, proves: true }
      }
      comparisons.push(
        await compare({
          variant: 'exactly once',
          shape,
          pairs: options.pairs,
          peerRuns: 0,
          progress,
          ours: sideOf(true),
          limit: sideOf(false),
          peers: {},
          after: async () => {
            await work.dropSlots()
            await client.flushall()
            removeData()
          },
        }),
      )
    }
    await work.close()
    if ('latency'.includes(options.only)) {
      const seconds = options.quick ? 5 : latencySeconds
      progress(`latency at ${latencyRate} events a second for ${seconds} s`)
      latency = await measureLatency({ postgres: postgres.url, redis: redis.url, rate: latencyRate, seconds }).catch(
        (error: Error) => {
          failures.latency = error.message
          return null
        },
      )
      removeData()
    }
  } finally {
    client.disconnect()
    await Promise.all([postgres.stop(), redis.stop()])
  }
  const least = { tcp: 0.9, 'unix socket': 0.8 } as const
  const aims: Aim[] = comparisons.flatMap(({ variant, ratio, ours, peers }): Aim[] => {
    if (variant === 'exactly once') {
      const what = 'exactly once: share of the pipelined sink (median)'
      return [{ what, aim: 'printed', value: ratio?.median ?? null, met: null }]
    }
    const other = peers['pg-logical-replication']
    return [
      atLeast(
        `${variant}: ratio to the drain of the walsender (median)`,
        ratio?.median ?? null,
        least[variant as keyof typeof least],
      ),
      atLeast(
        `${variant}: times pg-logical-replication with pipelined XADD`,
        ours === null || other === undefined ? null : ours.perSecond / other.perSecond,
        3,
      ),
      atMost(`${variant}: peak resident memory, MB`, ours?.peakRssMb ?? null, 400),
    ]
  })
  const note = 'the aim is for four cores'
  aims.push(
    { ...atMost(`latency at ${latencyRate}/s, p99, ms`, latency?.p99 ?? null, 50), note },
    {
      what: `latency at ${latencyRate}/s, p50, ms`,
      aim: 'printed',
      value: latency?.p50 ?? null,
      met: null,
      note: `${latency?.events ?? 0} events, reached ${latency?.perSecond ?? 0}/s`,
    },
  )
  return { comparisons, aims, failures }
}

/** The same with a host: URLs need one, the parameter `host` overrides it. */
function overSocket(url: string): string {
  return url.replace('@/', '@localhost/')
}
