/**
 * `streams`: XREADGROUP + XACK to a no-op processor in keyed order, and `mode: read` beside it; the limit walks lengths on
 * a bare socket. Peers: a bare ioredis loop and a bare node-redis loop.
 */
import { startRedis } from '../src/servers/index.js'
import { type Comparison, compare } from './harness/compare.js'
import type { BenchOptions } from './harness/options.js'
import { installPeers, peer } from './harness/peers.js'
import { type Aim, atLeast, atMost } from './harness/report.js'
import type { StreamDrainInput } from './limits/stream-drain.js'
import { removeData, streamToHandler } from './ours/config.js'
import { script, shapeOf } from './wal.js'
import { group, writeStream } from './workload/stream.js'

const entries = 1_000_000
const count = 1_000

export async function benchStreams(options: BenchOptions, progress: (line: string) => void) {
  const noPeers = options.peers ? installPeers(progress) : 'not asked for'
  const redis = await startRedis({ settings: { appendonly: 'no' } })
  const comparisons: Comparison[] = []
  try {
    const url = redis.url
    const shape = shapeOf(entries, options.scale)
    progress(`writing ${shape.total} entries`)
    const work = await writeStream(url, shape)
    for (const mode of ['group', 'read'] as const) {
      const variant = `mode ${mode}`
      if (!variant.includes(options.only)) continue
      const loop = (name: string) => async () => ({
        name,
        command: [peer(`streams-${name}`)],
        input: { url, stream: await work.copyStream(), group, count, shape },
        proves: true,
      })
      comparisons.push(
        await compare({
          variant,
          shape,
          pairs: options.pairs,
          peerRuns: options.peerRuns,
          progress,
          limit: async () => ({
            name: 'limit',
            command: [script('./limits/stream-drain.js')],
            input: { url, stream: await work.copyStream(), group, count, mode, shape } satisfies StreamDrainInput,
            proves: false,
          }),
          ours: async () => ({
            name: 'ours',
            command: [script('./ours/to-handler.js')],
            input: { config: streamToHandler(url, await work.copyStream(), mode, group), shape },
            proves: true,
          }),
          peers:
            noPeers !== null || mode === 'read' ? {} : { ioredis: loop('ioredis'), 'node-redis': loop('node-redis') },
          after: async () => {
            await work.dropCopies()
            removeData()
          },
        }),
      )
    }
    await work.close()
  } finally {
    await redis.stop()
  }
  const ioredis = comparisons.find(({ peers }) => peers.ioredis !== undefined)?.peers.ioredis
  const aims: Aim[] = comparisons.flatMap(({ variant, ratio, ours }) => [
    atLeast(`${variant}: ratio to the limit (median)`, ratio?.median ?? null, 0.8),
    atLeast(
      `${variant}: times the ioredis loop`,
      ours === null || ioredis === undefined ? null : ours.perSecond / ioredis.perSecond,
      2.5,
    ),
    atMost(`${variant}: peak resident memory, MB`, ours?.peakRssMb ?? null, 400),
  ])
  return { comparisons, aims }
}
