// `npm test`: formatter and linter, the house's own checks, types, then every suite; at the end what each suite took
// against its budget, what was skipped, and one line: `N passed, N failed`.
//
// Passed and failed are vitest's own counts, read from its JSON report; each check that fails, each file that could not
// be loaded, and an error outside of any test adds one to the failed. Budgets are for two cores; to be over one is
// shown, not failed: a slow machine is no defect.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { root, run, say, seconds, timed } from './ground.mjs'

const module = (...path) => join(root, 'node_modules', ...path)

const checks = [
  ['format and lint', [module('@biomejs', 'biome', 'bin', 'biome'), 'check', '.']],
  ['rules of the house', [join(root, 'scripts', 'house.mjs')]],
  ['types', [module('typescript', 'bin', 'tsc'), '-p', 'tsconfig.json', '--noEmit']],
]

/** Seconds a folder of test/ may take, all its files together; the full form may take twenty times as long. */
const budgets = {
  actor: 90,
  bench: 90,
  chaos: 480,
  cli: 90,
  cluster: 150,
  log: 90,
  membership: 60,
  servers: 60,
  source: 90,
  'end-to-end': 180,
}
const usualBudget = 30
const fullFactor = 20

/** Arguments are passed to vitest; with some (a filter) the checks are left out. */
export async function test(args, full) {
  const failedChecks = []
  for (const [title, command] of args.length === 0 ? checks : []) {
    const code = await timed(title, () => run(process.execPath, command, { output: 'stderr' }))
    if (code !== 0) failedChecks.push(title)
  }
  const outcome = await runSuites(args, full)
  printBudgets(outcome.suites, full)
  for (const title of failedChecks) console.log(`failed: ${title} (its findings are above)`)
  const failed = outcome.failed + failedChecks.length
  if (outcome.skipped > 0) console.log(`SKIPPED: ${outcome.skipped} tests, each of which says above what it misses`)
  console.log(`${outcome.passed} passed, ${failed} failed`)
  return failed > 0 || outcome.code !== 0 ? 1 : 0
}

async function runSuites(args, full) {
  const folder = mkdtempSync(join(tmpdir(), 'troupe-report-'))
  const report = join(folder, 'report.json')
  try {
    const env = full ? { ...process.env, TROUPE_FULL: '1' } : process.env
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
    const code = await run(process.execPath, [module('vitest', 'vitest.mjs'), 'run', ...reporters, ...args], { env })
    if (!existsSync(report)) {
      say('vitest wrote no report')
      return { code, passed: 0, failed: 1, skipped: 0, suites: [] }
    }
    return readReport(JSON.parse(readFileSync(report, 'utf8')), code)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function readReport(report, code) {
  const suites = report.testResults.map((file) => ({
    name: relative(root, file.name),
    time: Math.max(0, file.endTime - file.startTime),
    failed: file.status === 'failed',
    tests: file.assertionResults.length,
    failedTests: file.assertionResults.filter((result) => result.status === 'failed').length,
  }))
  const unloaded = suites.filter((suite) => suite.failed && suite.failedTests === 0).length
  const counted = report.numFailedTests + unloaded
  return {
    code,
    passed: report.numPassedTests,
    // A run that fails with no failed test and no failed file had an error outside of both.
    failed: counted === 0 && code !== 0 ? 1 : counted,
    skipped: report.numPendingTests + (report.numTodoTests ?? 0),
    suites,
  }
}

function printBudgets(suites, full) {
  const rooms = new Map()
  for (const suite of suites) {
    const room = suite.name.split(/[\\/]/)[1] ?? suite.name
    rooms.set(room, [...(rooms.get(room) ?? []), suite])
  }
  const width = Math.max(20, ...suites.map((suite) => suite.name.length)) + 2
  console.log(`\n${'suite'.padEnd(width)}${'tests'.padStart(6)}${'time'.padStart(10)}${'budget'.padStart(10)}`)
  for (const [room, files] of [...rooms].sort(([a], [b]) => a.localeCompare(b))) {
    const budget = (budgets[room] ?? usualBudget) * (full ? fullFactor : 1)
    const time = files.reduce((sum, file) => sum + file.time, 0)
    const tests = files.reduce((sum, file) => sum + file.tests, 0)
    const verdict = time > budget * 1000 ? '  over' : ''
    console.log(line(`test/${room}`, tests, time, width) + seconds(budget * 1000).padStart(10) + verdict)
    for (const file of files.sort((a, b) => b.time - a.time))
      console.log(
        line(`  ${file.name.slice(room.length + 6)}`, file.tests, file.time, width) +
          (file.failed ? '          failed' : ''),
      )
  }
  console.log('')
}

function line(name, tests, time, width) {
  return name.padEnd(width) + String(tests).padStart(6) + seconds(time).padStart(10)
}
