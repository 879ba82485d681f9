/**
 * `npm run bench -- NAME [--json] [--quick] [--pairs N] [--scale X] [--no-peers] [--only VARIANT] [--rate N]`
 *
 * Prints what was measured, beside its limit, its peers and its aims. Progress goes to stderr. Exits 1 where a side could
 * not be run or a latency not be measured; an aim that was missed is printed and does not fail, for it depends on the
 * machine.
 */
import { watchHost } from './harness/host.js'
import { type BenchOptions, readOptions } from './harness/options.js'
import { formatReport, makeReport, type Outcome } from './harness/report.js'

type Bench = (options: BenchOptions, progress: (line: string) => void) => Promise<Outcome>

const benches: Readonly<Record<string, () => Promise<Bench>>> = {
  wal: async () => (await import('./wal.js')).benchWal,
  streams: async () => (await import('./streams.js')).benchStreams,
  runtime: async () => (await import('./runtime.js')).benchRuntime,
  'wal-redis': async () => (await import('./wal-redis.js')).benchWalRedis,
  takeover: async () => (await import('./takeover.js')).benchTakeover,
  cluster: async () => (await import('./cluster.js')).benchCluster,
}

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2))
  const load = benches[options.name]
  if (load === undefined) {
    process.stderr.write(`usage: npm run bench -- ${Object.keys(benches).join('|')} [--json] [--quick] [--pairs N]\n`)
    return 2
  }
  const host = watchHost()
  const outcome = await (await load())(options, (line) => process.stderr.write(`${line}\n`))
  const report = makeReport(options.name, host(), outcome)
  process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : formatReport(report))
  return report.failures.length === 0 ? 0 : 1
}

process.exitCode = await main()
