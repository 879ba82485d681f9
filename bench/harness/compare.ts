/**
 * Runs two sides in pairs, ABBA: each pair gives one ratio, and drift of the machine falls on both sides alike. Peers
 * run between the pairs, fewer times.
 */
import { runSide, type Side, type SideResult } from './side.js'
import type { WorkShape } from './tally.js'

export interface Spread {
  readonly min: number
  readonly median: number
  readonly max: number
}

export interface Summary {
  readonly perSecond: number
  /** Null where it cannot be told. */
  readonly cpuMicrosPerEvent: number | null
  readonly peakRssMb: number
  readonly extra: SideResult['extra']
}

export interface Run extends Summary {
  readonly variant: string
  readonly side: string
  readonly pair: number
  readonly events: number
}

export interface Comparison {
  readonly variant: string
  readonly ours: Summary | null
  readonly limit: Summary | null
  /** ours / limit, pair by pair. */
  readonly ratio: Spread | null
  readonly ratios: readonly number[]
  readonly peers: Readonly<Record<string, Summary>>
  readonly runs: readonly Run[]
  /** Sides that could not be run, with the reason. */
  readonly failures: Readonly<Record<string, string>>
}

export interface ComparisonPlan {
  readonly variant: string
  readonly shape: WorkShape
  /** Makes the side ready: each call gives it bytes of its own to read (a copied slot, a copied stream). */
  readonly ours: (() => Promise<Side>) | null
  readonly limit: (() => Promise<Side>) | null
  readonly peers: Readonly<Record<string, () => Promise<Side>>>
  readonly pairs: number
  readonly peerRuns: number
  /** What a side measured, before the next is made ready. */
  readonly seen?: (run: Run) => void
  /** After each run, before the next. */
  readonly after?: () => Promise<void>
  readonly progress: (line: string) => void
}

export async function compare(plan: ComparisonPlan): Promise<Comparison> {
  const runs: Run[] = []
  const failures: Record<string, string> = {}
  const once = async (name: string, prepare: (() => Promise<Side>) | null, pair: number): Promise<Run | null> => {
    if (prepare === null || failures[name] !== undefined) return null
    try {
      const result = await runSide(await prepare(), plan.shape)
      const run: Run = { variant: plan.variant, side: name, pair, ...result }
      runs.push(run)
      plan.seen?.(run)
      plan.progress(
        `${plan.variant} ${name} #${pair}: ${result.perSecond.toLocaleString('en')}/s, ${result.cpuMicrosPerEvent} us CPU, ${result.peakRssMb} MB`,
      )
      return run
    } catch (error) {
      failures[name] = error instanceof Error ? error.message : String(error)
      plan.progress(`${plan.variant} ${name}: ${failures[name]}`)
      return null
    } finally {
      await plan.after?.()
    }
  }

  await once('warm-up', plan.ours, 0)
  const ratios: number[] = []
  for (let pair = 1; pair <= plan.pairs; pair++) {
    const oursFirst = pair % 2 === 1
    const first = oursFirst ? await once('ours', plan.ours, pair) : await once('limit', plan.limit, pair)
    const second = oursFirst ? await once('limit', plan.limit, pair) : await once('ours', plan.ours, pair)
    const [ours, limit] = oursFirst ? [first, second] : [second, first]
    if (ours !== null && limit !== null) ratios.push(ours.perSecond / limit.perSecond)
    if (pair > plan.peerRuns) continue
    for (const [name, prepare] of Object.entries(plan.peers)) await once(name, prepare, pair)
  }
  const peers: Record<string, Summary> = {}
  for (const name of Object.keys(plan.peers)) {
    const summary = summarize(runs, name)
    if (summary !== null) peers[name] = summary
  }
  return {
    variant: plan.variant,
    ours: summarize(runs, 'ours'),
    limit: summarize(runs, 'limit'),
    ratio: spread(ratios),
    ratios: ratios.map((ratio) => Math.round(ratio * 1000) / 1000),
    peers,
    runs,
    failures,
  }
}

function summarize(runs: readonly Run[], side: string): Summary | null {
  const own = runs.filter((run) => run.side === side)
  if (own.length === 0) return null
  return {
    perSecond: Math.round(median(own.map((run) => run.perSecond))),
    cpuMicrosPerEvent: medianCpu(own),
    peakRssMb: Math.max(...own.map((run) => run.peakRssMb)),
    extra: own.at(-1)!.extra,
  }
}

/** Of the runs that could tell it. */
export function medianCpu(runs: readonly Run[]): number | null {
  const told = runs.flatMap(({ cpuMicrosPerEvent }) => (cpuMicrosPerEvent === null ? [] : [cpuMicrosPerEvent]))
  return told.length === 0 ? null : Math.round(median(told) * 1000) / 1000
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export function spread(values: readonly number[]): Spread | null {
  if (values.length === 0) return null
  const round = (value: number) => Math.round(value * 1000) / 1000
  return { min: round(Math.min(...values)), median: round(median(values)), max: round(Math.max(...values)) }
}
