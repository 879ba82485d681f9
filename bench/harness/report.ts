/** What a benchmark prints: one JSON object, or the same for people. Each aim stands beside what was reached. */
import { type Comparison, type Spread, spread } from './compare.js'
import type { Host } from './host.js'

export interface Aim {
  readonly what: string
  readonly aim: string
  /** Null where it could not be measured. */
  readonly value: number | null
  readonly met: boolean | null
  /** Aims that were set for a certain machine say so; on another they are printed and not judged. */
  readonly note?: string
}

export interface Report {
  readonly name: string
  readonly host: Host
  readonly runs: Comparison['runs']
  readonly ours: Readonly<Record<string, Comparison['ours']>>
  readonly limit: Readonly<Record<string, Comparison['limit']>>
  /** Over the pairs of all variants. */
  readonly ratio: Spread | null
  readonly ratios: Readonly<Record<string, Spread | null>>
  readonly peers: Readonly<Record<string, Comparison['peers']>>
  readonly aims: readonly Aim[]
  readonly failures: readonly string[]
}

/** What a benchmark gives. */
export interface Outcome {
  readonly comparisons: readonly Comparison[]
  readonly aims: readonly Aim[]
  /** What else could not be measured, by name, with the reason. */
  readonly failures?: Readonly<Record<string, string>>
}

export function makeReport(name: string, host: Host, { comparisons, aims, failures = {} }: Outcome): Report {
  const byVariant = <T>(of: (comparison: Comparison) => T) =>
    Object.fromEntries(comparisons.map((comparison) => [comparison.variant, of(comparison)]))
  return {
    name,
    host,
    runs: comparisons.flatMap((comparison) => comparison.runs),
    ours: byVariant(({ ours }) => ours),
    limit: byVariant(({ limit }) => limit),
    ratio: spread(comparisons.flatMap(({ ratios }) => ratios)),
    ratios: byVariant(({ ratio }) => ratio),
    peers: byVariant(({ peers }) => peers),
    aims,
    failures: [
      ...comparisons.flatMap(({ variant, failures }) =>
        Object.entries(failures).map(([side, reason]) => `${variant} ${side}: ${reason}`),
      ),
      ...Object.entries(failures).map(([what, reason]) => `${what}: ${reason}`),
    ],
  }
}

/** `value` at least `least` (or at most, where `most`). */
export function atLeast(what: string, value: number | null, least: number, unit = ''): Aim {
  return { what, aim: `>= ${least}${unit}`, value: shorten(value), met: value === null ? null : value >= least }
}

export function atMost(what: string, value: number | null, most: number, unit = ''): Aim {
  return { what, aim: `<= ${most}${unit}`, value: shorten(value), met: value === null ? null : value <= most }
}

function shorten(value: number | null): number | null {
  return value === null ? null : Math.round(value * 1000) / 1000
}

export function formatReport(report: Report): string {
  const { host } = report
  const lines = [
    `${report.name}: ${host.cores} cores (${host.cpu}), node ${host.node}, load ${host.loadBefore} to ${host.loadAfter}, steal ${host.stealPercent ?? '?'} %`,
  ]
  for (const [variant, ours] of Object.entries(report.ours)) {
    lines.push('', variant)
    const row = (side: string, summary: Comparison['ours']) => {
      if (summary === null) return
      const { perSecond, cpuMicrosPerEvent, peakRssMb, extra } = summary
      const rest = Object.entries(extra).map(([name, value]) => `${name} ${value}`)
      lines.push(
        `  ${side.padEnd(24)}${perSecond.toLocaleString('en').padStart(12)}/s ${String(cpuMicrosPerEvent ?? '-').padStart(8)} us CPU ${String(peakRssMb).padStart(5)} MB  ${rest.join(', ')}`,
      )
    }
    row('ours', ours)
    row('limit', report.limit[variant] ?? null)
    for (const [peer, summary] of Object.entries(report.peers[variant] ?? {})) row(peer, summary)
    const ratio = report.ratios[variant]
    if (ratio) lines.push(`  ratio to the limit: median ${ratio.median} (${ratio.min} to ${ratio.max})`)
  }
  lines.push('')
  for (const { what, aim, value, met, note } of report.aims) {
    const judged = met !== null ? (met ? 'met' : 'missed') : value === null ? 'not measured' : 'printed'
    lines.push(`${judged.padEnd(13)}${what}: ${value ?? '-'} (aim ${aim})${note === undefined ? '' : `; ${note}`}`)
  }
  for (const failure of report.failures) lines.push(`failed       ${failure}`)
  return `${lines.join('\n')}\n`
}
