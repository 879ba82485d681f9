/**
 * `cluster`: from the WAL through a log on three NATS servers (R3, `sync_interval: always`) to a no-op processor on another
 * node, everything on this machine. What stands as its limit is the same pipeline without a cluster, in the same run, pair
 * by pair. Beside it: the awaited publish of one event a message, and bare bytes through a stream of the same
 * configuration, the ceiling. Then the latency at 5,000 events a second, open-loop, up to the processor.
 */
import { spawn } from 'node:child_process'
import { streamNames } from '../src/log/jetstream/names.js'
import { provisionStream } from '../src/log/jetstream/provision.js'
import { startNatsCluster, startPostgres } from '../src/servers/index.js'
import type { NatsLink } from '../src/wire/nats/connect.js'
import { callJetStream } from '../src/wire/nats/jetstream-api.js'
import { type Comparison, compare } from './harness/compare.js'
import type { BenchOptions } from './harness/options.js'
import { peer } from './harness/peers.js'
import { type Aim, atLeast, atMost } from './harness/report.js'
import { runSide, type Side } from './harness/side.js'
import type { WorkShape } from './harness/tally.js'
import type { Latency } from './latency.js'
import type { StreamBytesInput } from './limits/stream-bytes.js'
import { openLink, removeCluster } from './ours/cluster-ground.js'
import type { ClusterToHandlerInput } from './ours/cluster-to-handler.js'
import { removeData, walToNode } from './ours/config.js'
import { startNodePair } from './ours/node-pair.js'
import { quietLog } from './ours/quiet-log.js'
import { script, shapeOf } from './wal.js'
import { prepareTable, walKeys, writeWal } from './workload/wal.js'

const variants = [
  { size: 10, rows: 200_000 },
  { size: 1_000, rows: 300_000 },
]
const latencyRate = 5_000
const latencySeconds = 20
/** Events of the peers: one message each, they need not be many. */
const peerEvents = { one: 2_000, window: 20_000 }
const window = 256
const mib = 1024 * 1024
const frameBytes = 128 * 1024
/** Among these the ceiling is chosen: which batch is best depends on the machine. */
const ceilings = [
  { batchBytes: mib, inFlight: 1 },
  { batchBytes: 4 * mib, inFlight: 1 },
  { batchBytes: mib, inFlight: 4 },
]
/** Of the peers and the ceiling. */
const bareNames = streamNames('bench-bytes')
const bareSubject = bareNames.frames('key', 0)

export async function benchCluster(options: BenchOptions, progress: (line: string) => void) {
  const [postgres, nats] = await Promise.all([
    startPostgres({ settings: { max_wal_size: '4GB', shared_buffers: '256MB' } }),
    startNatsCluster({ syncInterval: 'always' }),
  ])
  const comparisons: Comparison[] = []
  let latency: Latency | null = null
  const failures: Record<string, string> = {}
  const link = await openLink(nats.url)
  try {
    const { url } = postgres
    await prepareTable(url)
    await provisionStream(link, bareNames, { maxBytes: 4 * 1024 * mib, replicas: 3, provision: true, log: quietLog })
    let pipelines = 0
    let pipeline = ''
    const nextPipeline = () => {
      pipeline = `bench-${++pipelines}`
      return pipeline
    }
    const after = async () => {
      await removeCluster(link, pipeline)
      await emptyBare(link)
      removeData()
    }
    for (const { size, rows } of variants) {
      const variant = `${size} rows a transaction`
      if (!variant.includes(options.only)) continue
      progress(`writing ${variant}`)
      const work = await writeWal(url, size, shapeOf(rows, options.scale))
      const { shape } = work
      const ours = async (): Promise<Side> => {
        const config = walToNode(url, await work.copySlot(), nextPipeline())
        const pids = nats.servers.map(({ pid }) => pid)
        const input: ClusterToHandlerInput = { config, servers: nats.url, shape, nats: pids }
        return { name: 'ours', command: [script('./ours/cluster-to-handler.js')], input, proves: true }
      }
      const embedded = async (): Promise<Side> => ({
        name: 'embedded',
        command: [script('./ours/to-handler.js')],
        input: { config: walToNode(url, await work.copySlot(), nextPipeline()), shape },
        proves: true,
      })
      // As ours has them in the log; it runs before any peer.
      let eventBytes = 0
      let ceiling: (() => Promise<Side>) | null = null
      const bareBytes = async () => {
        ceiling ??= await fastestCeiling({ servers: nats.url, eventBytes, shape, link, progress })
        return ceiling()
      }
      const publish = (inFlight: number, events: number) => async () =>
        publishing(nats.url, eventBytes, inFlight, events)
      comparisons.push(
        await compare({
          variant,
          shape,
          pairs: options.pairs,
          peerRuns: options.peerRuns,
          progress,
          ours,
          limit: embedded,
          peers: options.peers
            ? {
                'bare bytes': bareBytes,
                'js.publish': publish(1, peerEvents.one),
                [`js.publish, ${window} at once`]: publish(window, peerEvents.window),
              }
            : {},
          seen({ extra }) {
            if (extra.bytesPerEvent !== undefined) eventBytes = Number(extra.bytesPerEvent)
          },
          after: async () => {
            await after()
            await work.dropSlots()
          },
        }),
      )
      await work.close()
    }
    if ('latency'.includes(options.only)) {
      const seconds = Math.max(3, Math.round((options.quick ? 5 : latencySeconds) * Math.min(1, options.scale * 10)))
      progress(`latency at ${latencyRate} events a second for ${seconds} s`)
      latency = await measureClusterLatency(url, nats.url, nextPipeline(), seconds).catch((error: Error) => {
        failures.latency = error.message
        return null
      })
      await after()
    }
  } finally {
    await link.close()
    await Promise.all([postgres.stop(), nats.stop()])
  }
  return { comparisons, aims: [...aimsOf(comparisons), ...latencyAims(latency)], failures }
}

function aimsOf(comparisons: readonly Comparison[]): Aim[] {
  return comparisons.flatMap(({ variant, ratio, ours, peers }) => {
    const share = (name: string) => {
      const other = peers[name]
      return ours === null || other === undefined ? null : ours.perSecond / other.perSecond
    }
    const printed = (what: string, value: number | null): Aim => ({
      what: `${variant}: ${what}`,
      aim: 'printed',
      value: value === null ? null : Math.round(value * 1000) / 1000,
      met: null,
    })
    return [
      {
        ...atLeast(`${variant}: ratio to the embedded rate (median)`, ratio?.median ?? null, 0.7),
        note: 'the aim is for four cores with everything on them',
      },
      printed('share of the bare bytes of the same stream', share('bare bytes')),
      printed('times the awaited publish of one event a message', share('js.publish')),
      atMost(`${variant}: peak resident memory of a node, MB`, ours?.peakRssMb ?? null, 400),
    ]
  })
}

function latencyAims(latency: Latency | null): Aim[] {
  const note = 'the aim is for four cores'
  const what = `latency at ${latencyRate}/s`
  return [
    { ...atMost(`${what}, p99, ms`, latency?.p99 ?? null, 150), note },
    {
      what: `${what}, p50, ms`,
      aim: 'printed',
      value: latency?.p50 ?? null,
      met: null,
      note: `${latency?.events ?? 0} events, reached ${latency?.perSecond ?? 0}/s, max ${latency?.max ?? '-'} ms`,
    },
  ]
}

function publishing(servers: string, eventBytes: number, inFlight: number, events: number): Side {
  return {
    name: 'js.publish',
    command: [peer('cluster-js-publish')],
    input: { servers, subject: bareSubject, eventBytes: Math.round(eventBytes), events, inFlight },
    proves: false,
    events,
  }
}

async function fastestCeiling(init: {
  readonly servers: string
  readonly eventBytes: number
  readonly shape: WorkShape
  readonly link: NatsLink
  readonly progress: (line: string) => void
}): Promise<() => Promise<Side>> {
  const { servers, eventBytes, shape, link, progress } = init
  const sides = ceilings.map((ceiling) => async (): Promise<Side> => {
    const input: StreamBytesInput = {
      ...{ servers, stream: bareNames.stream, subject: bareSubject, shape, messageBytes: frameBytes },
      bytes: Math.round(eventBytes * shape.total),
      ...ceiling,
    }
    return { name: 'bare bytes', command: [script('./limits/stream-bytes.js')], input, proves: false }
  })
  let best = { perSecond: 0, side: sides[0]! }
  for (const side of sides) {
    const { perSecond, extra } = await runSide(await side(), shape)
    await emptyBare(link)
    progress(`bare bytes in batches of ${extra.batch}: ${perSecond}/s, ${extra.mbPerSecond} MB/s`)
    if (perSecond > best.perSecond) best = { perSecond, side }
  }
  return best.side
}

async function emptyBare(link: NatsLink): Promise<void> {
  await callJetStream(link, { subject: `STREAM.PURGE.${bareNames.stream}`, deadlineMs: 30_000 })
}

async function measureClusterLatency(
  postgres: string,
  servers: string,
  name: string,
  seconds: number,
): Promise<Latency> {
  const total = latencyRate * seconds
  const shape = { keys: walKeys, total: 0 }
  const work = await writeWal(postgres, 1_000, shape)
  const module = new URL('./ours/time-rows.js', import.meta.url).href
  const config = walToNode(postgres, await work.copySlot(), name, module)
  const pair = await startNodePair({ config, servers, shape, latency: { warmUp: latencyRate, total } })
  const input = JSON.stringify({ url: postgres, rate: latencyRate, total })
  let writer: ReturnType<typeof spawn> | null = null
  try {
    await pair.resume()
    await untilRead(pair.reader)
    writer = spawn(process.execPath, [script('./workload/latency-writer.js'), input], { stdio: 'inherit' })
    return (await pair.owner.next('latency', seconds * 1_000 + 60_000)).latency
  } finally {
    writer?.kill('SIGKILL')
    pair.end()
    await work.close()
  }
}

/** The reader has asked for the slot. */
async function untilRead(reader: { report(): Promise<{ readonly began: unknown }> }): Promise<void> {
  const until = Date.now() + 30_000
  while ((await reader.report()).began === null) {
    if (Date.now() > until) throw new Error('the slot is not read within 30 s')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
