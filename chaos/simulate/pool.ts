/**
 * Runs many seeds on several threads. Seeds know nothing of each other, so the sum does not depend on the threads; a
 * thread that dies ends the run with its error.
 */
import { Worker } from 'node:worker_threads'
import { compiled } from '../compiled.js'
import { add, nothing, type Outcome, runSeeds, type Share } from './seeds.js'
import type { Suite } from './suite.js'

export interface PoolOptions {
  readonly planted: readonly string[]
  readonly threads: number
  /** Gives out no more seeds once one has broken a promise. */
  readonly stopAtFirst: boolean
}

/** Seeds of one share: enough that handing them out costs nothing, few enough that all threads end together. */
const shareSize = 10

export async function runMany(suite: Suite, all: Share, options: PoolOptions): Promise<Outcome> {
  const shares = sharesOf(all)
  const outcomes: (Outcome | undefined)[] = []
  let next = 0
  let stopped = false
  const take = (): number | null => (stopped || next >= shares.length ? null : next++)
  const keep = (index: number, outcome: Outcome): void => {
    outcomes[index] = outcome
    if (options.stopAtFirst && outcome.failures.length > 0) stopped = true
  }
  const threads = Math.min(options.threads, shares.length)
  if (threads <= 1) {
    forgoTraces()
    await suite.prepare()
    for (let index = take(); index !== null; index = take())
      keep(index, await runSeeds(suite, shares[index]!, options.planted))
  } else await Promise.all(Array.from({ length: threads }, () => runThread(suite, shares, options, take, keep)))
  const total = nothing()
  for (const outcome of outcomes) if (outcome !== undefined) add(total, outcome)
  return total
}

/** Where errors are made by the thousand their stack traces cost more than the rest; a replay of one seed has them. */
export function forgoTraces(): void {
  Error.stackTraceLimit = 0
}

function sharesOf({ first, count }: Share): Share[] {
  const shares: Share[] = []
  for (let at = 0; at < count; at += shareSize)
    shares.push({ first: first + at, count: Math.min(shareSize, count - at) })
  return shares
}

function runThread(
  suite: Suite,
  shares: readonly Share[],
  { planted }: PoolOptions,
  take: () => number | null,
  keep: (index: number, outcome: Outcome) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(compiled(new URL('./worker.js', import.meta.url)), {
      workerData: { suite: suite.name, planted },
      // A seed lives shortly and leaves nothing: most of it is never looked at by the collector.
      resourceLimits: { maxYoungGenerationSizeMb: 256 },
    })
    let index: number | null = null
    const give = (): void => {
      index = take()
      if (index === null) void worker.terminate().then(() => resolve())
      else worker.postMessage(shares[index])
    }
    worker.on('message', (outcome: Outcome) => {
      keep(index!, outcome)
      give()
    })
    worker.on('error', reject)
    give()
  })
}
