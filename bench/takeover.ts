/**
 * `takeover`: how long a partition stands still when its node dies or gives it away, measured at the sink.
 *
 * Three nodes as `troupe run --cluster` starts them, over three NATS servers (R3, `sync_interval: always`), the product's
 * default of 16 partitions and a lease of 3 s; WAL to a Redis sink that stores the checkpoint with the work, at 10,000
 * events a second. Each commit there bears its node, and the millisecond by the clock of this host.
 *
 * - *takeover*: from the SIGKILL to the first commit by another node, for each partition that the killed node had; and for
 *   the reader, where it had that, to the first commit of an event that was due after its end.
 * - *handoff*: a node is drained, and given back what it had: for each partition that moved, from the last commit of the
 *   one node to the first of the other. The same in *rolling restart*: SIGTERM, wait for the end and
 *   until the others have committed, start again, one by one.
 *
 * The limit of a step is the offered rate, its ratio what was carried of it. An event that comes twice or not at all is a
 * failure of the benchmark.
 */

import { loadPipeline, realWorld } from '../src/index.js'
import { keys } from '../src/membership/keys.js'
import { type ClusterAccess, withCluster } from '../src/operator/cluster/connect.js'
import { giveOrder, withdrawOrder } from '../src/operator/cluster/orders.js'
import type { Comparison, Run, Summary } from './harness/compare.js'
import { median, medianCpu, spread } from './harness/compare.js'
import type { BenchOptions } from './harness/options.js'
import { cpuOf, peakRssOf } from './harness/processes.js'
import { type Aim, atLeast, atMost } from './harness/report.js'
import { now } from './harness/tally.js'
import { quietLog } from './ours/quiet-log.js'
import { takeover } from './ours/takeover-pipeline.js'
import { type Homes, holders, nodeCount, reader, setTakeoverStage, type TakeoverStage } from './ours/takeover-stage.js'
import { script } from './wal.js'
import type { Passage } from './workload/sink-audit.js'

/** Of each kind, at scale 1. */
const wanted = 50
const variants = ['takeover', 'handoff', 'rolling restart'] as const
type Variant = (typeof variants)[number]

interface Step {
  readonly run: Run
  /** ms, one for each partition. */
  readonly takeovers: readonly number[]
  readonly handoffs: readonly number[]
  /** ms that the partitions which stayed stood still for the reader's sake; null: it stayed. */
  readonly reader: number | null
  readonly duplicated: number
}

interface Scene {
  readonly stage: TakeoverStage
  readonly access: ClusterAccess
  readonly homes: Homes
  readonly rate: number
}

export async function benchTakeover(options: BenchOptions, progress: (line: string) => void) {
  const steps: Record<Variant, Step[]> = { takeover: [], handoff: [], 'rolling restart': [] }
  const failures: Partial<Record<Variant, string>> = {}
  let rate = 0
  let missing: number | null = null
  const least = Math.max(1, Math.round(wanted * options.scale))
  const stage = await setTakeoverStage()
  try {
    for (let index = 0; index < nodeCount; index++) stage.startNode(index)
    await Promise.all(stage.nodes.map(({ runs }) => runs))
    rate = await stage.load(options.rate, progress)
    const definition = await loadPipeline(script('./ours/takeover-pipeline.js'))
    await withCluster(definition, stage.nats, { world: realWorld, log: quietLog }, async (access) => {
      const homes = await stage.settle(access)
      // Nothing moves for balance's sake, and who comes back gets back what was its own.
      await giveOrder(access, keys.rolling)
      const scene: Scene = { stage, access, homes, rate }
      await perform('takeover', (step) => kill(scene, step), takeoversOf)
      await perform('handoff', (step) => drain(scene, step), handoffsOf)
      await perform(
        'rolling restart',
        (step) => restart(scene, step),
        (done) => (done.length < nodeCount ? 0 : least),
      )
    })
    missing = await stage.finish()
    progress(`${stage.audit.events} events in the sink, ${stage.audit.duplicated} twice, ${missing} missing`)
  } finally {
    await stage.clear()
  }
  const broken = brokenOf(stage, missing)
  const comparisons = variants
    .filter((variant) => steps[variant].length > 0 || failures[variant] !== undefined)
    .map((variant, index) =>
      comparisonOf(variant, steps[variant], rate, { ...failuresOf(variant), ...(index === 0 ? broken : {}) }),
    )
  const sum = { failures, offered: options.rate, rate, missing, twice: stage.audit.duplicated }
  return { comparisons, aims: aimsOf(steps, sum) }

  function failuresOf(variant: Variant): Record<string, string> {
    const reason = failures[variant]
    return reason === undefined ? {} : { ours: reason }
  }

  /** Until there are enough; a step that fails ends its variant. */
  async function perform(variant: Variant, one: (step: number) => Promise<Step>, count: (done: Step[]) => number) {
    if (!variant.includes(options.only)) return
    const done = steps[variant]
    try {
      while (count(done) < least) {
        const step = await one(done.length + 1)
        done.push(step)
        const { takeovers, handoffs } = step
        const moved = [...takeovers, ...handoffs]
        progress(
          `${variant} #${done.length}: ${moved.length} moves, ${Math.min(...moved)} to ${Math.max(...moved)} ms${step.reader === null ? '' : `, reader ${step.reader} ms`}, ${step.run.perSecond}/s`,
        )
        if (moved.length === 0) throw new Error('nothing moved')
      }
    } catch (error) {
      failures[variant] = error instanceof Error ? error.message : String(error)
      progress(`${variant}: ${failures[variant]}`)
    }
  }
}

const takeoversOf = (done: readonly Step[]) => done.flatMap(({ takeovers }) => takeovers).length
const handoffsOf = (done: readonly Step[]) => done.flatMap(({ handoffs }) => handoffs).length

// Steps -----------------------------------------------------------------------------------------------------------

async function kill(scene: Scene, number: number): Promise<Step> {
  const { stage, homes } = scene
  const index = (number - 1) % nodeCount
  const victim = stage.nodes[index]!
  const own = [...homes].filter(([, node]) => node === victim.name).map(([resource]) => resource)
  const partitions = own.filter((resource) => resource !== reader).map((resource) => Number(resource.split('.').at(-1)))
  return act(scene, 'takeover', number, async (begunAt) => {
    victim.signal('SIGKILL')
    await victim.ended
    stage.audit.endedAt(now())
    await stage.until('all goes on elsewhere', async () => {
      const newest = await stage.audit.newest()
      return newest.every(
        (one, partition) =>
          one !== null && one.due > begunAt && (!partitions.includes(partition) || one.node !== victim.name),
      )
    })
    stage.startNode(index)
    await stage.nodes[index]!.runs
    return {
      isTakeover: ({ from }) => from === victim.name,
      takeovers: partitions,
      reader: own.includes(reader) ? 'first-due' : null,
    }
  })
}

async function drain(scene: Scene, number: number): Promise<Step> {
  const { stage, access, homes } = scene
  const { name } = stage.nodes[(number - 1) % nodeCount]!
  const key = keys.drain(name)
  return act(scene, 'handoff', number, async () => {
    await giveOrder(access, key)
    try {
      await stage.until('the node is drained', async () => ![...(await holders(access)).values()].includes(name))
      await goesOnElsewhere(stage, name)
    } finally {
      await withdrawOrder(access, key)
    }
    return { isTakeover: () => false, takeovers: [], reader: homes.get(reader) === name ? 'silence' : null }
  })
}

async function restart(scene: Scene, number: number): Promise<Step> {
  const { stage, homes } = scene
  const index = (number - 1) % nodeCount
  const node = stage.nodes[index]!
  return act(scene, 'rolling restart', number, async () => {
    node.signal('SIGTERM')
    const end = await node.ended
    if (end !== 0) throw new Error(`node ${node.name} ended with ${end}: ${node.said()}`)
    await goesOnElsewhere(stage, node.name)
    stage.startNode(index)
    await stage.nodes[index]!.runs
    return { isTakeover: () => false, takeovers: [], reader: homes.get(reader) === node.name ? 'silence' : null }
  })
}

/** Given back sooner, a partition may have moved twice and nobody would see it at the sink. */
function goesOnElsewhere({ audit, until }: TakeoverStage, name: string): Promise<void> {
  return until('all goes on elsewhere', async () => (await audit.newest()).every((one) => one?.node !== name))
}

interface Acted {
  readonly isTakeover: (passage: Passage) => boolean
  /** Partitions of which a takeover must be found. */
  readonly takeovers: readonly number[]
  readonly reader: 'first-due' | 'silence' | null
}

async function act(
  scene: Scene,
  variant: Variant,
  pair: number,
  work: (begunAt: number) => Promise<Acted>,
): Promise<Step> {
  const { stage, access, homes } = scene
  const { audit } = stage
  await stage.calm(access, homes)
  await audit.catchUp()
  await stage.calm(access, homes)
  const pids = () => stage.nodes.map(({ pid }) => pid)
  const pidsBefore = pids()
  const cpuBefore = cpuOf(pidsBefore)
  const duplicatedBefore = audit.duplicated
  const begunAt = now()
  audit.begin(begunAt)
  const acted = await work(begunAt)
  await stage.calm(access, homes)
  const elapsed = now() - begunAt
  const pidsAfter = pids()
  const cpuAfter = cpuOf(pidsAfter)
  await audit.catchUp()
  const events = audit.committedWithin(elapsed)
  const found = new Map<number, number>()
  const handoffs: number[] = []
  for (const passage of audit.passages) {
    const { partition, firstAt, lastAt } = passage
    if (acted.isTakeover(passage) && !found.has(partition))
      found.set(partition, Math.max(0, firstAt - Math.floor(begunAt)))
    else handoffs.push(firstAt - lastAt)
  }
  const lacking = acted.takeovers.filter((partition) => !found.has(partition))
  if (lacking.length > 0) throw new Error(`partitions ${lacking.join(', ')} were not taken over`)
  const readerMs =
    acted.reader === null
      ? null
      : acted.reader === 'silence'
        ? audit.longestSilence()
        : Math.round((audit.firstDue ?? Number.NaN) - begunAt)
  const takeovers = [...found.values()]
  // A process that was killed or ended took its figures with it.
  const isReplaced = pidsAfter.some((pid, index) => pid !== pidsBefore[index])
  const cpuMs = cpuBefore === null || cpuAfter === null || isReplaced ? null : cpuAfter - cpuBefore
  const run: Run = {
    ...{ variant, side: 'ours', pair, events },
    perSecond: Math.round((events * 1000) / elapsed),
    cpuMicrosPerEvent: cpuMs === null ? null : Math.round((cpuMs * 1_000_000) / Math.max(1, events)) / 1000,
    peakRssMb: peakRssOf(pidsAfter),
    extra: {
      moves: takeovers.length + handoffs.length,
      ...(takeovers.length === 0 ? {} : { takeoversMs: takeovers.join(' ') }),
      ...(handoffs.length === 0 ? {} : { handoffsMs: handoffs.join(' ') }),
      ...(readerMs === null ? {} : { readerMs }),
    },
  }
  return { run, takeovers, handoffs, reader: readerMs, duplicated: audit.duplicated - duplicatedBefore }
}

// What is told ------------------------------------------------------------------------------------------------------

function brokenOf({ audit }: TakeoverStage, missing: number | null): Record<string, string> {
  const broken: Record<string, string> = {}
  if (audit.duplicated > 0)
    broken.sink = `${audit.duplicated} events twice in a sink that stores the checkpoint with the work`
  if (audit.leapt > 0) broken.leapt = `${audit.leapt} events were leapt over by later ones of their key`
  if (missing !== 0)
    broken.lost = missing === null ? 'the sink was not read to its end' : `${missing} events are missing`
  return broken
}

function comparisonOf(
  variant: Variant,
  steps: readonly Step[],
  rate: number,
  failures: Record<string, string>,
): Comparison {
  const runs = steps.map(({ run }) => run)
  const ratios = runs.map(({ perSecond }) => perSecond / rate)
  const offered: Summary = {
    perSecond: rate,
    cpuMicrosPerEvent: null,
    peakRssMb: 0,
    extra: { what: 'the offered rate' },
  }
  const ours: Summary = {
    perSecond: Math.round(median(runs.map(({ perSecond }) => perSecond))),
    cpuMicrosPerEvent: medianCpu(runs),
    peakRssMb: Math.max(...runs.map(({ peakRssMb }) => peakRssMb)),
    extra: {
      ...timesOf(
        'takeover',
        steps.flatMap(({ takeovers }) => takeovers),
      ),
      ...timesOf(
        'handoff',
        steps.flatMap(({ handoffs }) => handoffs),
      ),
      ...timesOf(
        'reader',
        steps.flatMap(({ reader }) => (reader === null ? [] : [reader])),
      ),
    },
  }
  return {
    variant,
    ours: runs.length === 0 ? null : ours,
    limit: runs.length === 0 ? null : offered,
    ratio: spread(ratios),
    ratios: ratios.map((ratio) => Math.round(ratio * 1000) / 1000),
    peers: {},
    runs,
    failures,
  }
}

function timesOf(what: string, times: readonly number[]): Record<string, number> {
  if (times.length === 0) return {}
  return {
    [`${what}s`]: times.length,
    [`${what}MedianMs`]: percentile(times, 0.5),
    [`${what}P99Ms`]: percentile(times, 0.99),
    [`${what}MaxMs`]: Math.max(...times),
  }
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)]!
}

function aimsOf(
  steps: Record<Variant, readonly Step[]>,
  sum: {
    readonly failures: Partial<Record<Variant, string>>
    readonly offered: number
    readonly rate: number
    readonly missing: number | null
    readonly twice: number
  },
): Aim[] {
  const at = `at ${sum.rate}/s`
  /** A step that failed left no times, and may have been the slowest: nothing is judged without it. */
  const p99 = (what: string, most: number, of: readonly Variant[], pick: (step: Step) => readonly number[]): Aim => {
    const times = of.flatMap((variant) => steps[variant].flatMap(pick))
    const failed = of.filter((variant) => sum.failures[variant] !== undefined)
    const value = times.length === 0 || failed.length > 0 ? null : percentile(times, 0.99)
    const lacks = failed.length === 0 ? '' : `, but a step failed in ${failed.join(', ')}`
    return { ...atMost(what, value, most), note: `of ${times.length}${lacks}; the aim is for four cores and 10,000/s` }
  }
  const readersOf = ({ reader }: Step) => (reader === null ? [] : [reader])
  const takeoverMs = takeover.leaseMs + 1_000
  const rolled = steps['rolling restart']
  const isRolled = rolled.length >= nodeCount && sum.failures['rolling restart'] === undefined
  return [
    p99(
      `takeover after SIGKILL ${at}, p99, ms (lease ${takeover.leaseMs})`,
      takeoverMs,
      ['takeover'],
      ({ takeovers }) => takeovers,
    ),
    p99(`takeover of the reader ${at}, p99, ms`, takeoverMs, ['takeover'], readersOf),
    p99(`planned handoff ${at}, p99, ms`, 500, variants, ({ handoffs }) => handoffs),
    p99(`planned handoff of the reader ${at}, p99, ms`, 500, ['handoff', 'rolling restart'], readersOf),
    atMost(
      'rolling restart of three nodes: duplicates at the fenced sink',
      isRolled ? rolled.reduce((total, { duplicated }) => total + duplicated, 0) : null,
      0,
    ),
    atMost('all steps: duplicates at the fenced sink', sum.twice, 0),
    atMost('all steps: events missing in it', sum.missing, 0),
    {
      ...atLeast('events a second that were offered and carried', sum.rate, sum.offered),
      note: 'halved until they are carried',
    },
  ]
}
