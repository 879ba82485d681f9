/**
 * `npm start`: the shop. A real writer in its own process changes customers and orders in PostgreSQL and sends clicks to
 * a Redis stream; one pipeline carries both, in order, through a processor of its own to a Redis stream. With `--kill` a
 * worker thread dies every few seconds. With `--nodes 3` the same file runs on three node processes over three NATS
 * servers, and with `--kill` whole nodes die.
 *
 * At the end the writer stops, the pipeline drains, and a checker in a process of its own compares the writer's ledger
 * with the sink, and the tables with what the sink's records rebuild. Exits 0 only if nothing was lost, reordered or
 * invented and the rows are equal. Servers, data and processes are gone afterwards.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { judge } from '../../chaos/checker/start.js'
import { compiled } from '../../chaos/compiled.js'
import { untilDrained } from '../../chaos/drained.js'
import { seeded } from '../../chaos/seed.js'
import { shopTables } from '../../chaos/writer/shop.js'
import { prepareShop, type RunningWriter, startWriter } from '../../chaos/writer/start.js'
import type { Logger } from '../../src/index.js'
import { startNatsCluster, startPostgres, startRedis } from '../../src/servers/index.js'
import { runAlone } from './alone.js'
import { runOnNodes } from './nodes.js'
import { type DemoOptions, readDemoOptions } from './options.js'
import type { Runner } from './runner.js'
import { createScreen } from './screen.js'

const clicks = 'clicks'
const sinkStream = 'shop:changes'
const slot = 'troupe_shop_db'
const group = 'shop-follows'
const sampleMs = 500
const drainMs = { alone: 30_000, nodes: 60_000 }

const stop = new AbortController()
const say = (text: string) => process.stderr.write(`${text}\n`)

async function demo(options: DemoOptions): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'troupe-shop-'))
  const cleanups: (() => Promise<unknown> | void)[] = [() => rmSync(folder, { recursive: true, force: true })]
  try {
    say('starting PostgreSQL and Redis')
    const [postgres, redis] = await Promise.all([startPostgres(), startRedis()])
    cleanups.push(
      () => postgres.stop(),
      () => redis.stop(),
    )
    await prepareShop(postgres.url)

    const environment = { SHOP_POSTGRES: postgres.url, SHOP_REDIS: redis.url, SHOP_DATA: join(folder, 'data') }
    const runner = await startPipeline(options, environment, cleanups)
    cleanups.push(() => runner.abandon())
    const ledger = join(folder, 'ledger.jsonl')
    const writer = startWriter({
      writer: 'shop',
      ledger,
      seed: options.seed,
      rate: options.rate,
      postgres: postgres.url,
      postgresLanes: 2,
      redis: redis.url,
      clicks,
      clickShare: 0.4,
      keys: 100,
      limit: 0,
    })
    cleanups.push(() => writer.kill())
    const kills = await watch(runner, writer, options)

    say('stopping the writer, draining')
    const written = await writer.stop()
    const drained = await untilDrained(
      { postgres: postgres.url, slot, redis: redis.url, stream: clicks, group },
      options.nodes === null ? drainMs.alone : drainMs.nodes,
    )
    const status = await runner.status()
    await runner.stop()

    say('asking the checker')
    const { examples, ok, ...verdict } = await judge({
      ledgers: [ledger],
      sink: { kind: 'redis', url: redis.url, stream: sinkStream },
      postgres: postgres.url,
      redis: redis.url,
      tables: shopTables,
    })
    const passed = ok && drained
    const report = {
      eventsIn: status.sources.reduce((sum, source) => sum + source.eventsIn, 0),
      eventsOut: verdict.records,
      lost: verdict.lost,
      duplicated: verdict.duplicated,
      reordered: verdict.reordered,
      phantom: verdict.phantom,
      written: written.changes,
      transactions: written.transactions,
      clicks: written.clicks,
      rows: verdict.rows,
      drained,
      ...(options.nodes === null ? {} : { nodes: options.nodes, killedNodes: kills }),
      killedThreads: options.nodes === null ? kills : 0,
      restarts: status.actors.restarts,
      deadLetters: status.processors.reduce((sum, processor) => sum + processor.deadLetters, 0),
      rssMb: Math.round(status.memory.rssBytes / 2 ** 20),
      seconds: options.forMs / 1000,
      rate: options.rate,
      verdict: passed ? 'pass' : 'fail',
    }
    if (options.json) process.stdout.write(`${JSON.stringify(report)}\n`)
    else process.stdout.write(describe(report))
    for (const example of examples) say(example)
    for (const example of verdict.rows?.examples ?? []) say(example)
    return passed ? 0 : 1
  } finally {
    for (const cleanup of cleanups.reverse()) await Promise.resolve(cleanup()).catch(() => {})
  }
}

/** In this process, or on nodes over three NATS servers. */
async function startPipeline(
  { nodes }: DemoOptions,
  environment: Readonly<Record<string, string>>,
  cleanups: (() => Promise<unknown> | void)[],
): Promise<Runner> {
  const file = compiled(new URL('./pipeline.js', import.meta.url))
  if (nodes === null) return runAlone(file, environment, warnings)
  say('starting three NATS servers')
  const nats = await startNatsCluster({ size: 3, syncInterval: 'always' })
  cleanups.push(() => nats.stop())
  say(`starting ${nodes} nodes`)
  return runOnNodes({
    count: nodes,
    file,
    cluster: nats.url,
    data: environment.SHOP_DATA!,
    environment,
    log: warnings,
  })
}

/** Shows what happens until the time is over; kills threads or nodes if asked to. Gives how many. */
async function watch(runner: Runner, writer: RunningWriter, options: DemoOptions): Promise<number> {
  const start = performance.now()
  const screen = createScreen(process.stderr, options.forMs)
  const random = seeded(options.seed).fork('kill')
  const { name: victims, everyMs, peaceAtEndMs } = runner.victims
  let kills = 0
  let nextKill = everyMs
  const writerFailed = writer.done.then(() => {})
  while (!stop.signal.aborted) {
    const elapsed = performance.now() - start
    if (elapsed >= options.forMs) break
    if (options.kill && elapsed >= nextKill && elapsed < options.forMs - peaceAtEndMs) {
      if (runner.kill(random)) {
        kills++
        nextKill = elapsed + everyMs
      }
    }
    const { changes, behindMs } = writer.progress()
    const status = await runner.status()
    screen.show({ atMs: elapsed, status, written: changes, behindMs, kills, victims, nodes: runner.nodes() })
    const pause = new Promise<void>((resolve) => setTimeout(resolve, Math.min(sampleMs, options.forMs - elapsed)))
    await Promise.race([pause, runner.failed, writerFailed])
  }
  screen.end()
  return kills
}

function describe(report: Readonly<Record<string, unknown>>): string {
  const { rows, ...rest } = report
  const width = Math.max(...Object.keys(rest).map((name) => name.length))
  const lines = Object.entries(rest).map(([name, value]) => `${name.padEnd(width + 2)}${String(value)}`)
  const compared = rows as { sourceRows: number; sinkRows: number; equal: boolean } | null
  if (compared !== null)
    lines.push(
      `${'rows'.padEnd(width + 2)}${compared.sourceRows} in the source, ${compared.sinkRows} in the sink, ${compared.equal ? 'equal' : 'DIFFERENT'}`,
    )
  return `\n${lines.join('\n')}\n`
}

/** On a terminal the screen says what happens; what goes wrong is worth a line anywhere. */
const warnings: Logger = {
  debug() {},
  info() {},
  warn() {},
  // A thread that was killed on purpose is on the screen already.
  error: (_fields, message) => {
    if (!message.includes('killed')) say(message)
  },
}

process.on('SIGINT', () => stop.abort())
process.on('SIGTERM', () => stop.abort())
try {
  process.exitCode = await demo(readDemoOptions(process.argv.slice(2)))
} catch (error) {
  const { message, remedy } = error as Error & { remedy?: string }
  say(`the demo failed: ${message}${remedy === undefined ? '' : `\n  remedy: ${remedy}`}`)
  process.exitCode = 2
}
