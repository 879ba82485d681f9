/** What a scenario is, and what every scenario reports. */
import type { CheckReport } from '../checker/run.js'

export interface ScenarioOptions {
  readonly seed: number
  /** How many faults; each scenario has its own default. */
  readonly faults: number | null
  /** Changes a second that the writer makes. */
  readonly rate: number
  readonly progress: (line: string) => void
}

/** What happened on the stage. */
export interface Ordeal {
  readonly faults: number
  readonly check: CheckReport
  /** ms from the end of a fault (of a pause: from its begin) until new events were carried and confirmed, one of each. */
  readonly recoveries: readonly number[]
  /** Loss windows that Troupe reported. */
  readonly lossWindows: number
  /** What else had to be true, and was not. */
  readonly broken: readonly string[]
  readonly notes?: Readonly<Record<string, number | string>>
}

/** What a sink that stores the checkpoint with the work must not show. */
export function repeats(check: CheckReport): string[] {
  return check.duplicated === 0 ? [] : [`${check.duplicated} records are there twice, and the sink is fenced`]
}

export type Scenario = (options: ScenarioOptions) => Promise<Ordeal>

export interface ScenarioReport {
  readonly scenario: string
  readonly seed: number
  readonly faults: number
  readonly events: number
  readonly lost: number
  readonly duplicated: number
  readonly reordered: number
  readonly phantom: number
  /** Marked as late by Troupe: a zombie had taken them away. */
  readonly late: number
  /** Lost, and no window was reported. */
  readonly unreportedLoss: number
  readonly lossWindows: number
  readonly recoveryMs: { readonly median: number; readonly max: number } | null
  readonly rowsEqual: boolean
  readonly notes: Readonly<Record<string, number | string>>
  readonly broken: readonly string[]
  readonly examples: readonly string[]
  readonly verdict: 'pass' | 'fail'
}

export function reportOf(scenario: string, seed: number, ordeal: Ordeal): ScenarioReport {
  const { check, recoveries, broken, faults, lossWindows } = ordeal
  const sorted = [...recoveries].sort((a, b) => a - b)
  const unreportedLoss = lossWindows > 0 ? 0 : check.lost
  const passed = check.ok && unreportedLoss === 0 && broken.length === 0
  return {
    scenario,
    seed,
    faults,
    events: check.events,
    lost: check.lost,
    duplicated: check.duplicated,
    reordered: check.reordered,
    phantom: check.phantom,
    late: check.late,
    unreportedLoss,
    lossWindows,
    recoveryMs: sorted.length === 0 ? null : { median: sorted[sorted.length >> 1]!, max: sorted.at(-1)! },
    rowsEqual: check.rows?.equal ?? false,
    notes: ordeal.notes ?? {},
    broken,
    examples: [...check.examples, ...(check.rows?.examples ?? [])],
    verdict: passed ? 'pass' : 'fail',
  }
}
