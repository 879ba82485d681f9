// The scenarios of `npm run chaos` in their short form; with TROUPE_FULL=1 at the length that the project promises.
import { execFile } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import type { ScenarioReport } from '../../chaos/scenario/scenario.js'

const full = process.env.TROUPE_FULL === '1'

function run(scenario: string, kills: number, seed: number): Promise<ScenarioReport> {
  return new Promise((resolve, reject) => {
    const args = [
      'dist/chaos/main.js',
      scenario,
      '--json',
      '--kills',
      String(kills),
      '--seed',
      String(seed),
      '--rate',
      '1000',
    ]
    execFile(process.execPath, args, { timeout: 600_000 }, (error, out, errors) => {
      const line = out.trim()
      if (line.startsWith('{')) resolve(JSON.parse(line) as ScenarioReport)
      else reject(new Error(errors.trim().slice(-2_000), { cause: error }))
    })
  })
}

/** Scenario, what it promises, faults in the short and in the full form; 0: in the full form alone, for another one stands for it. */
const promises = [
  ['crash-troupe', 'a process that is killed at random moments loses nothing and reorders nothing', 2, 20],
  ['crash-troupe-fenced', 'a process that is killed repeats nothing in a sink that stores the checkpoint', 2, 20],
  ['crash-thread-fenced', 'a thread that is killed repeats nothing in a sink that stores the checkpoint', 2, 10],
  ['crash-postgres', 'a PostgreSQL that is killed loses nothing on its way', 1, 5],
  ['crash-redis', 'a Redis that is killed loses nothing on its way, source and sink in one', 2, 5],
  ['crash-thread', 'a thread that is killed is made good by its supervisor', 2, 10],
  ['stale-checkpoint', 'an older checkpoint stops the source with slot-ahead, or is reported as a loss window', 1, 1],
  ['delayed-flush', 'nothing is confirmed to a source before its checkpoint is durable', 1, 5],
  ['zombie-reader', 'what a zombie reader took away is taken back and marked late', 2, 5],
  ['zombie-node', 'a node that wakes with a built batch is refused by the log, on three NATS servers', 0, 20],
  ['zombie-node-single', 'a node that wakes with a built batch is refused by the log, on one NATS server', 0, 20],
  ['zombie-node-blind', 'nodes that wake with a built batch and look at no lease are refused by the log', 2, 20],
  ['lost-tail', 'three NATS servers that forget what they acknowledged lose nothing within the holdback', 1, 10],
  ['lost-tail-single', 'one NATS server that forgets what it acknowledged loses nothing within the holdback', 0, 10],
  [
    'lost-tail-beyond',
    'what a log forgot after the source was told is said aloud, as a stop and as a loss window',
    1,
    1,
  ],
  [
    'cluster',
    'nodes and NATS servers that are killed and paused lose nothing, and nothing is twice in a fenced sink',
    3,
    60,
  ],
  ['cluster-group', 'the same where the stream is read through its consumer group', 3, 60],
] as const

/** Where the stream is read through its consumer group: nowhere else may an entry be late. */
const inGroup: readonly string[] = ['zombie-reader', 'cluster-group']

/** What the short forms do without, for the scenarios that are in the full form alone. */
const missed: Readonly<Record<string, string>> = {
  'zombie-node': 'nodes that look at their leases and are refused all the same',
  'zombie-node-single': 'a woken node before a log of one replica',
  'lost-tail-single': 'a lost tail of a log of one replica, within the holdback',
}

describe('under chaos', () => {
  for (const [scenario, promise, short, long] of promises) {
    const skipped = !full && short === 0
    it.skipIf(skipped)(
      `${promise} (${scenario}${skipped ? `; only in test:full: the short form misses ${missed[scenario]}` : ''})`,
      async () => {
        const report = await run(scenario, full ? long : short, full ? Date.now() % 1_000_000 : 7)
        expect(report, JSON.stringify(report)).toMatchObject({
          lost: 0,
          reordered: 0,
          phantom: 0,
          unreportedLoss: 0,
          rowsEqual: true,
          broken: [],
          verdict: 'pass',
          ...(inGroup.includes(scenario) ? {} : { late: 0 }),
        })
        expect(report.events).toBeGreaterThan(100)
      },
      full ? 900_000 : 180_000,
    )
  }
})
