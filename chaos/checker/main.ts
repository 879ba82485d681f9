/**
 * The independent checker, a process of its own: `node dist/chaos/checker/main.js REQUEST`, where REQUEST is JSON.
 *
 * Settles what the ledgers left open, reads the sink once, prints one JSON object. Exits 0 where nothing was lost,
 * reordered or invented and the rows are equal, 1 otherwise, 2 where it could not judge.
 */
import { type CheckRequest, runCheck } from './run.js'

try {
  const report = await runCheck(JSON.parse(process.argv[2] ?? '{}') as CheckRequest)
  process.stdout.write(`${JSON.stringify(report)}\n`)
  process.exitCode = report.ok ? 0 : 1
} catch (error) {
  process.stderr.write(`checker: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 2
}
