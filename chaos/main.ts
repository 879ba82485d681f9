/**
 * `npm run chaos -- SCENARIO|all [--seed N] [--kills N] [--rate N] [--json]`
 *
 * Runs a scenario against real servers and prints the verdict of the independent checker. The seed decides the moments of
 * the faults and what the writer writes; what the machine does in between is its own. Exits 0 only on `pass`.
 */
import { parseArgs } from 'node:util'
import { scenarios } from './scenario/all.js'
import { reportOf, type ScenarioReport } from './scenario/scenario.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string' },
    kills: { type: 'string' },
    rate: { type: 'string', default: '2000' },
    json: { type: 'boolean', default: false },
  },
})

function describe(report: ScenarioReport): string {
  const { notes, broken, examples, ...rest } = report
  const lines = Object.entries({ ...rest, ...notes }).map(
    ([name, value]) => `${name.padEnd(18)}${typeof value === 'object' ? JSON.stringify(value) : value}`,
  )
  return `${[...lines, ...broken, ...examples].join('\n')}\n`
}

async function main(): Promise<number> {
  const [wanted] = positionals
  const chosen = wanted === 'all' ? Object.keys(scenarios) : [wanted ?? '']
  if (chosen.some((name) => scenarios[name] === undefined)) {
    process.stderr.write(
      `usage: npm run chaos -- ${['all', ...Object.keys(scenarios)].join('|')} [--seed N] [--kills N] [--json]\n`,
    )
    return 2
  }
  // A run without a seed is a new one; it is printed, so that it can be asked for again.
  const seed = values.seed === undefined ? Date.now() % 1_000_000 : Number(values.seed)
  let failed = false
  for (const name of chosen) {
    const scenario = await scenarios[name]!()
    process.stderr.write(`${name}, seed ${seed}\n`)
    const begun = performance.now()
    const ordeal = await scenario({
      seed,
      faults: values.kills === undefined ? null : Number(values.kills),
      rate: Number(values.rate),
      progress: (line) => process.stderr.write(`  ${((performance.now() - begun) / 1000).toFixed(1)} s: ${line}\n`),
    })
    const report = reportOf(name, seed, ordeal)
    process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : describe(report))
    failed ||= report.verdict === 'fail'
  }
  return failed ? 1 : 0
}

process.exitCode = await main()
