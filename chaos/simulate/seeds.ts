/** Runs seeds of one suite, one after the other, and adds up what came of them. */
import { LEAST_FAULTS, LEAST_MESSAGES, type SeedResult, type Suite } from './suite.js'

export interface Share {
  readonly first: number
  readonly count: number
}

/** Plain data: it comes from another thread. */
export interface Outcome {
  seeds: number
  messages: number
  faults: number
  coverage: Record<string, Record<string, number>>
  failures: { readonly seed: number; readonly violations: readonly string[] }[]
  /** Of the last seed. */
  digest: string
  /** Of the last seed, where it was asked for. */
  trace: readonly string[]
}

/** Violations of one seed that are shown. */
const shown = 5

export function nothing(): Outcome {
  return { seeds: 0, messages: 0, faults: 0, coverage: {}, failures: [], digest: '', trace: [] }
}

export async function runSeeds(
  suite: Suite,
  { first, count }: Share,
  planted: readonly string[],
  traced = false,
): Promise<Outcome> {
  const outcome = nothing()
  for (let seed = first; seed < first + count; seed++) {
    const result = await oneSeed(suite, seed, planted)
    outcome.seeds++
    outcome.messages += result.messages
    outcome.faults += result.faults
    if (seed === first + count - 1) outcome.digest = result.digest()
    if (traced) outcome.trace = result.trace()
    addCoverage(outcome.coverage, result.coverage)
    if (result.violations.length > 0) outcome.failures.push({ seed, violations: result.violations.slice(0, shown) })
  }
  return outcome
}

export function add(total: Outcome, more: Outcome): void {
  total.seeds += more.seeds
  total.messages += more.messages
  total.faults += more.faults
  total.digest = more.digest
  total.trace = more.trace
  total.failures.push(...more.failures)
  addCoverage(total.coverage, more.coverage)
}

async function oneSeed(suite: Suite, seed: number, planted: readonly string[]): Promise<SeedResult> {
  const result = await suite.run(seed, { planted }).catch(
    (error: Error): SeedResult => ({
      messages: LEAST_MESSAGES,
      faults: LEAST_FAULTS,
      coverage: {},
      violations: [`the run itself failed: ${error.stack}`],
      digest: () => '',
      trace: () => [],
    }),
  )
  const small: string[] = []
  if (result.messages < LEAST_MESSAGES) small.push(`only ${result.messages} messages`)
  if (result.faults < LEAST_FAULTS) small.push(`only ${result.faults} faults`)
  return { ...result, violations: [...small, ...result.violations] }
}

function addCoverage(total: Record<string, Record<string, number>>, more: SeedResult['coverage']): void {
  for (const [fault, states] of Object.entries(more)) {
    total[fault] ??= {}
    for (const [state, count] of Object.entries(states)) total[fault][state] = (total[fault][state] ?? 0) + count
  }
}
