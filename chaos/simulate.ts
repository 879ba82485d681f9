/**
 * `npm run simulate -- --seeds N`: the kernel and whole clusters under the simulated World.
 *
 *   --seeds N        runs seeds 1 to N (default 200)        --from S   starts at seed S
 *   --seed S         replays one seed and prints its digest
 *   --suite NAME     one suite only                          --plant F  plants a fault of our own, which must be found
 *   --threads N      default: as many as there are cores     --stop     at the first seed that breaks a promise
 *   --json           one JSON object                         --trace    with --seed: everything that happened
 *
 * Exits 1 if a promise was broken (each with the command that replays it), if a seed was too small, or, from 200 seeds
 * on, if a fault never took effect in a state in which it can.
 */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { runMany } from './simulate/pool.js'
import { type Outcome, runSeeds } from './simulate/seeds.js'
import type { Suite } from './simulate/suite.js'
import { suites } from './simulate/suites.js'

/** With fewer seeds a fault may miss a state by chance. */
const COVERAGE_FROM = 200
const SHOWN = 5

interface Report extends Omit<Outcome, 'trace' | 'failures'> {
  readonly suite: string
  readonly ms: number
  readonly zero: readonly string[]
  readonly failures: readonly {
    readonly seed: number
    readonly violations: readonly string[]
    readonly replay: string
  }[]
}

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '200' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    suite: { type: 'string' },
    plant: { type: 'string', multiple: true, default: [] },
    threads: { type: 'string', default: String(availableParallelism()) },
    stop: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    trace: { type: 'boolean', default: false },
  },
})

async function runSuite(suite: Suite, first: number, count: number): Promise<Report> {
  const began = performance.now()
  const planted = values.plant.filter((fault) => suite.planted.includes(fault))
  const { trace, ...outcome } = await outcomeOf(suite, first, count, planted)
  for (const line of trace) console.log(line)
  const { coverage } = outcome
  return {
    suite: suite.name,
    ...outcome,
    ms: Math.round(performance.now() - began),
    zero: suite.faults.flatMap((fault) =>
      suite.states
        .filter((state) => (coverage[fault]?.[state] ?? 0) === 0)
        .map((state) => `${fault} × ${state}`)
        .filter((cell) => !suite.impossible.includes(cell)),
    ),
    failures: outcome.failures.map((failure) => ({ ...failure, replay: replayOf(suite, failure.seed) })),
  }
}

/** One seed runs in this thread, where it can be traced and debugged. */
async function outcomeOf(suite: Suite, first: number, count: number, planted: readonly string[]): Promise<Outcome> {
  if (values.seed === undefined)
    return await runMany(suite, { first, count }, { planted, threads, stopAtFirst: values.stop })
  await suite.prepare()
  return await runSeeds(suite, { first, count }, planted, values.trace)
}

function replayOf(suite: Suite, seed: number): string {
  const plants = values.plant.map((fault) => ` --plant ${fault}`).join('')
  return `npm run simulate -- --suite ${suite.name} --seed ${seed}${plants}`
}

function print(suite: Suite, report: Report): void {
  const rate = ((report.seeds * 1000) / Math.max(1, report.ms)).toFixed(0)
  console.log(
    `${report.suite}: ${report.seeds} seeds, ${report.messages} messages, ${report.faults} faults in ${report.ms} ms (${rate} seeds/s)`,
  )
  const width = Math.max(...suite.faults.map((fault) => fault.length))
  const column = Math.max(10, ...suite.states.map((state) => state.length + 2))
  console.log(`  ${'fault'.padEnd(width)}${suite.states.map((state) => state.padStart(column)).join('')}`)
  for (const fault of suite.faults) {
    const row = suite.states.map((state) => String(report.coverage[fault]?.[state] ?? 0).padStart(column)).join('')
    console.log(`  ${fault.padEnd(width)}${row}`)
  }
  for (const failure of report.failures.slice(0, SHOWN)) {
    console.log(`  seed ${failure.seed}: ${failure.replay}`)
    for (const violation of failure.violations) console.log(`    ${violation}`)
  }
  if (report.failures.length > 0) console.log(`  ${report.failures.length} seeds broke a promise`)
  if (values.seed !== undefined) console.log(`  digest ${report.digest}`)
}

const one = values.seed === undefined ? undefined : Number(values.seed)
const first = one ?? Number(values.from)
const count = one === undefined ? Number(values.seeds) : 1
const threads = Number(values.threads)
const chosen = suites.filter((suite) => values.suite === undefined || suite.name === values.suite)
if (
  chosen.length === 0 ||
  values.plant.some((fault) => !chosen.some((suite) => suite.planted.includes(fault))) ||
  !Number.isInteger(first) ||
  !Number.isInteger(count) ||
  count < 1 ||
  !Number.isInteger(threads) ||
  threads < 1
) {
  console.error(
    `usage: simulate [--seeds N | --seed S] [--from S] [--suite ${suites.map((s) => s.name).join('|')}] [--threads N] [--stop] [--json] [--plant ${chosen.flatMap((s) => s.planted).join('|')}]`,
  )
  process.exit(2)
}
const reports: Report[] = []
for (const suite of chosen) {
  const report = await runSuite(suite, first, count)
  reports.push(report)
  if (!values.json) print(suite, report)
}
// What was stopped early has not met everything.
const uncovered = reports.flatMap((report) => (report.seeds >= COVERAGE_FROM ? report.zero : []))
if (!values.json) for (const cell of uncovered) console.log(`  never happened: ${cell}`)
const failed = reports.some((report) => report.failures.length > 0) || uncovered.length > 0
if (values.json) console.log(JSON.stringify({ ok: !failed, suites: reports }))
process.exit(failed ? 1 : 0)
