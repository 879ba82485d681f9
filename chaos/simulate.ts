/**
 * `npm run simulate -- --seeds N`: the kernel under the simulated World.
 *
 *   --seeds N        runs seeds 1 to N (default 200)        --from S   starts at seed S
 *   --seed S         replays one seed and prints its digest
 *   --suite NAME     one suite only                          --plant F  plants a fault of our own, which must be found
 *   --json           one JSON object                         --trace    with --seed: everything that happened
 *
 * Exits 1 if a promise was broken (each with the command that replays it), if a seed was too small, or, from 200 seeds
 * on, if a fault never met a state.
 */
import { parseArgs } from 'node:util'
import { clusterSuite } from './simulate/cluster/cluster-suite.js'
import { LEAST_FAULTS, LEAST_MESSAGES, type SeedResult, type Suite } from './simulate/suite.js'
import { supervisorSuite } from './simulate/supervisor-suite.js'

/** Add a suite here. */
const suites: readonly Suite[] = [supervisorSuite, clusterSuite]

/** With fewer seeds a fault may miss a state by chance. */
const COVERAGE_FROM = 200
const SHOWN = 5

interface Report {
  readonly suite: string
  readonly seeds: number
  readonly messages: number
  readonly faults: number
  readonly ms: number
  readonly coverage: Readonly<Record<string, Readonly<Record<string, number>>>>
  readonly zero: readonly string[]
  readonly failures: readonly {
    readonly seed: number
    readonly violations: readonly string[]
    readonly replay: string
  }[]
  readonly digest: string
}

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '200' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    suite: { type: 'string' },
    plant: { type: 'string', multiple: true, default: [] },
    json: { type: 'boolean', default: false },
    trace: { type: 'boolean', default: false },
  },
})

async function runSuite(suite: Suite, first: number, count: number): Promise<Report> {
  const began = performance.now()
  const planted = values.plant.filter((fault) => suite.planted.includes(fault))
  const failures: { seed: number; violations: readonly string[]; replay: string }[] = []
  const coverage: Record<string, Record<string, number>> = {}
  let messages = 0
  let faults = 0
  let digest = ''
  await suite.prepare()
  for (let seed = first; seed < first + count; seed++) {
    const result = await oneSeed(suite, seed, planted)
    if (values.trace && values.seed !== undefined) for (const line of result.trace()) console.log(line)
    messages += result.messages
    faults += result.faults
    digest = result.digest
    add(coverage, result.coverage)
    if (result.violations.length > 0)
      failures.push({ seed, violations: result.violations.slice(0, SHOWN), replay: replayOf(suite, seed) })
  }
  const zero = suite.faults.flatMap((fault) =>
    suite.states.filter((state) => (coverage[fault]?.[state] ?? 0) === 0).map((state) => `${fault} × ${state}`),
  )
  const ms = Math.round(performance.now() - began)
  return { suite: suite.name, seeds: count, messages, faults, ms, coverage, zero, failures, digest }
}

async function oneSeed(suite: Suite, seed: number, planted: readonly string[]): Promise<SeedResult> {
  const result = await suite.run(seed, { planted }).catch(
    (error: Error): SeedResult => ({
      messages: LEAST_MESSAGES,
      faults: LEAST_FAULTS,
      coverage: {},
      violations: [`the run itself failed: ${error.stack}`],
      digest: '',
      trace: () => [],
    }),
  )
  const small: string[] = []
  if (result.messages < LEAST_MESSAGES) small.push(`only ${result.messages} messages`)
  if (result.faults < LEAST_FAULTS) small.push(`only ${result.faults} faults`)
  return { ...result, violations: [...small, ...result.violations] }
}

function add(total: Record<string, Record<string, number>>, more: SeedResult['coverage']): void {
  for (const [fault, states] of Object.entries(more)) {
    total[fault] ??= {}
    for (const [state, count] of Object.entries(states)) total[fault][state] = (total[fault][state] ?? 0) + count
  }
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
  console.log(`  ${'fault'.padEnd(width)}${suite.states.map((state) => state.padStart(10)).join('')}`)
  for (const fault of suite.faults) {
    const row = suite.states.map((state) => String(report.coverage[fault]?.[state] ?? 0).padStart(10)).join('')
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
const chosen = suites.filter((suite) => values.suite === undefined || suite.name === values.suite)
if (chosen.length === 0 || !Number.isInteger(first) || !Number.isInteger(count) || count < 1) {
  console.error(
    `usage: simulate [--seeds N | --seed S] [--from S] [--suite ${suites.map((s) => s.name).join('|')}] [--json]`,
  )
  process.exit(2)
}
const reports: Report[] = []
for (const suite of chosen) {
  const report = await runSuite(suite, first, count)
  reports.push(report)
  if (!values.json) print(suite, report)
}
const uncovered = count >= COVERAGE_FROM ? reports.flatMap((report) => report.zero) : []
if (!values.json) for (const cell of uncovered) console.log(`  never happened: ${cell}`)
const failed = reports.some((report) => report.failures.length > 0) || uncovered.length > 0
if (values.json) console.log(JSON.stringify({ ok: !failed, suites: reports }))
process.exit(failed ? 1 : 0)
