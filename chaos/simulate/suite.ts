/**
 * What the simulator runs: suites, each of which turns a seed into one whole run and judges it.
 *
 * A suite must be deterministic: same seed, same `digest`. It names its faults and the states in which they can hit, so
 * that coverage can be shown and a fault that never happened is seen.
 */
export interface SuiteOptions {
  /** Faults planted in our own code on purpose; the suite must find them. */
  readonly planted: readonly string[]
}

export interface SeedResult {
  readonly messages: number
  readonly faults: number
  /** fault → state → how often it took effect there. */
  readonly coverage: Readonly<Record<string, Readonly<Record<string, number>>>>
  /** What was promised and not kept; empty if all is well. */
  readonly violations: readonly string[]
  /** Of everything that happened, in order. */
  digest(): string
  /** Everything that happened, a line each: for whoever replays a seed. */
  trace(): readonly string[]
}

export interface Suite {
  readonly name: string
  readonly faults: readonly string[]
  readonly states: readonly string[]
  /** Cells of fault and state that cannot be, as `fault × state`. */
  readonly impossible: readonly string[]
  readonly planted: readonly string[]
  /** Loads what a run needs, so that a run itself waits for no disk. */
  prepare(): Promise<void>
  run(seed: number, options: SuiteOptions): Promise<SeedResult>
}

/** Each seed has at least so many of each: a run in which little happens proves little. */
export const LEAST_MESSAGES = 200
export const LEAST_FAULTS = 10
