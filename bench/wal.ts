/**
 * `wal`: from the WAL to a no-op processor in keyed order over four partitions, beside the drain of the walsender.
 * Rows of about 300 bytes in transactions of 1, 10 and 1,000 rows. Peer: pg-logical-replication with a bare handler.
 */
import { startPostgres } from '../src/servers/index.js'
import { type Comparison, compare } from './harness/compare.js'
import type { BenchOptions } from './harness/options.js'
import { installPeers, peer } from './harness/peers.js'
import { type Aim, atLeast, atMost } from './harness/report.js'
import type { Side } from './harness/side.js'
import { runSide } from './harness/side.js'
import type { WorkShape } from './harness/tally.js'
import type { WalDrainInput } from './limits/wal-drain.js'
import { removeData, walToHandler } from './ours/config.js'
import { prepareTable, publication, type WalWork, walKeys, writeWal } from './workload/wal.js'

/** Rows that are measured, by the size of their transactions: about two seconds each on one core of 2026. */
const variants = [
  { size: 1, rows: 100_000 },
  { size: 10, rows: 200_000 },
  { size: 1_000, rows: 300_000 },
]

export function shapeOf(rows: number, scale: number): WorkShape {
  return { keys: walKeys, total: Math.max(4, Math.round((rows * scale) / walKeys)) * walKeys }
}

export function drainSide(url: string, work: WalWork, reading: WalDrainInput['reading']): () => Promise<Side> {
  return async () => ({
    name: `limit (${reading})`,
    command: [script('./limits/wal-drain.js')],
    input: { url, slot: await work.copySlot(), publication, shape: work.shape, reading } satisfies WalDrainInput,
    proves: false,
  })
}

export function script(path: string): string {
  return new URL(path, import.meta.url).pathname
}

/** The limit is the faster of two drains that decode nothing: which one that is depends on the machine. */
export async function fasterDrain(url: string, work: WalWork, progress: (line: string) => void) {
  const rates = new Map<WalDrainInput['reading'], number>()
  for (const reading of ['plain', 'paced'] as const) {
    rates.set(reading, (await runSide(await drainSide(url, work, reading)(), work.shape)).perSecond)
    await work.dropSlots()
  }
  const faster = rates.get('plain')! > rates.get('paced')! ? 'plain' : 'paced'
  progress(`the limit reads ${faster} (plain ${rates.get('plain')}/s, paced ${rates.get('paced')}/s)`)
  return drainSide(url, work, faster)
}

export async function benchWal(options: BenchOptions, progress: (line: string) => void) {
  const noPeers = options.peers ? installPeers(progress) : 'not asked for'
  const postgres = await startPostgres({ settings: { max_wal_size: '4GB', shared_buffers: '256MB' } })
  const comparisons: Comparison[] = []
  try {
    const url = postgres.url
    await prepareTable(url)
    for (const { size, rows } of variants) {
      const variant = `${size} row${size === 1 ? '' : 's'} a transaction`
      if (!variant.includes(options.only)) continue
      progress(`writing ${variant}`)
      const work = await writeWal(url, size, shapeOf(rows, options.scale))
      const limit = await fasterDrain(url, work, progress)
      comparisons.push(
        await compare({
          variant,
          shape: work.shape,
          pairs: options.pairs,
          peerRuns: options.peerRuns,
          progress,
          limit,
          ours: async () => ({
            name: 'ours',
            command: [script('./ours/to-handler.js')],
            input: { config: walToHandler(url, await work.copySlot()), shape: work.shape },
            proves: true,
          }),
          peers:
            noPeers !== null
              ? {}
              : {
                  'pg-logical-replication': async () => ({
                    name: 'pg-logical-replication',
                    command: [peer('wal-pg-logical-replication')],
                    input: { url, slot: await work.copySlot(), publication, shape: work.shape },
                    proves: true,
                  }),
                },
          after: async () => {
            await work.dropSlots()
            removeData()
          },
        }),
      )
      await work.close()
    }
  } finally {
    await postgres.stop()
  }
  const aims: Aim[] = comparisons.flatMap(({ variant, ratio, ours, peers }) => {
    const own = ours?.cpuMicrosPerEvent ?? null
    const other = peers['pg-logical-replication']?.cpuMicrosPerEvent ?? null
    const share = own === null || other === null ? null : own / other
    return [
      atLeast(`${variant}: ratio to the drain of the walsender (median)`, ratio?.median ?? null, 0.9),
      atMost(`${variant}: CPU a row, share of pg-logical-replication's`, share, 0.5),
      atMost(`${variant}: peak resident memory, MB`, ours?.peakRssMb ?? null, 400),
    ]
  })
  return { comparisons, aims }
}
