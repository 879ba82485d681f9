/**
 * `runtime`: frames that are already in memory to a processor in keyed order over three threads that reads two columns, and
 * the same with an async handler for each event. Peers: the same rows as one object an event, over postMessage, piscina and
 * comedy's threaded actors.
 */
import { type Comparison, compare } from './harness/compare.js'
import type { BenchOptions } from './harness/options.js'
import { installPeers, peer } from './harness/peers.js'
import { type Aim, atLeast, atMost } from './harness/report.js'
import { script } from './wal.js'
import { runtimeKeys } from './workload/frames.js'

const threads = 3
/** One round: about 75 MB of frames, so that the process stays small whatever is measured. */
const roundEvents = 200_000
const rounds = 8
const peerEvents = 100_000
const peerNames = ['postmessage', 'piscina', 'comedy']

export async function benchRuntime(options: BenchOptions, progress: (line: string) => void) {
  const noPeers = options.peers ? installPeers(progress) : 'not asked for'
  const comparisons: Comparison[] = []
  const events = Math.max(4, Math.round((roundEvents * options.scale) / runtimeKeys)) * runtimeKeys
  const fewer = Math.max(4, Math.round((peerEvents * options.scale) / runtimeKeys)) * runtimeKeys
  const shape = { keys: runtimeKeys, total: events * rounds }
  for (const handler of ['sync', 'async'] as const) {
    const variant = `${handler} handler`
    if (!variant.includes(options.only)) continue
    const input = { events, rounds, threads, handler }
    const peerSide = (name: string) => async () => ({
      name,
      command: [peer(`runtime-${name}`)],
      input: { events: fewer, threads },
      proves: false,
      events: fewer,
    })
    comparisons.push(
      await compare({
        variant,
        shape,
        pairs: options.pairs,
        peerRuns: options.peerRuns,
        progress,
        ours: async () => ({ name: 'ours', command: [script('./ours/frames.js')], input, proves: false }),
        limit: async () => ({ name: 'limit', command: [script('./limits/frame-walk.js')], input, proves: false }),
        peers:
          noPeers !== null || handler === 'async'
            ? {}
            : Object.fromEntries(peerNames.map((name) => [name, peerSide(name)])),
      }),
    )
  }
  const aims: Aim[] = comparisons.flatMap(({ variant, ours }) => [
    {
      ...atLeast(
        `${variant}: events a second`,
        ours?.perSecond ?? null,
        variant.startsWith('sync') ? 2_000_000 : 1_000_000,
      ),
      note: 'the aim is for four cores',
    },
    {
      what: `${variant}: bytes allocated an event`,
      aim: 'printed',
      value: Number(ours?.extra.allocatedBytesPerEvent ?? Number.NaN),
      met: null,
    },
    atMost(`${variant}: peak resident memory, MB`, ours?.peakRssMb ?? null, 400),
  ])
  return { comparisons, aims }
}
