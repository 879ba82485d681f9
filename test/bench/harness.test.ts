import { execFile } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { type Comparison, median, spread } from '../../bench/harness/compare.js'
import { readOptions } from '../../bench/harness/options.js'
import { formatReport, makeReport } from '../../bench/harness/report.js'
import { runSide, type Side } from '../../bench/harness/side.js'
import { amountOf, createTallier, expectedSums, join } from '../../bench/harness/tally.js'

const shape = { keys: 10, total: 100 }

/** A side that says what it is told to say. */
function side(output: object): Side {
  return { name: 'fake', command: ['-e', 'console.log(process.argv[1])'], input: output, proves: true }
}

function workOf(sequences: readonly number[]) {
  const tallier = createTallier(shape)
  for (const sequence of sequences) {
    const key = sequence % shape.keys
    const counter = Math.floor(sequence / shape.keys) + 1
    tallier.add(key, counter, amountOf(key, counter))
  }
  return tallier.result()
}

const all = Array.from({ length: shape.total }, (_, sequence) => sequence)
const output = (sequences: readonly number[]) => {
  const tally = workOf(sequences)
  return { count: tally.count, elapsedMs: 10, cpuMs: 5, peakRssMb: 50, tally }
}

describe('a side of a benchmark', () => {
  it('is believed when it has done the work', async () => {
    expect(await runSide(side(output(all)), shape)).toMatchObject({
      events: 100,
      perSecond: 10_000,
      cpuMicrosPerEvent: 50,
    })
  })

  it('is refused when it left an event out, took one twice or mixed up a key', async () => {
    await expect(runSide(side(output(all.slice(0, 99))), shape)).rejects.toThrow(/99 of 100/)
    const twice = [...all.slice(0, 99), 98]
    await expect(runSide(side(output(twice)), shape)).rejects.toThrow(/order/)
    const swapped = [...all]
    ;[swapped[20], swapped[30]] = [30, 20]
    await expect(runSide(side(output(swapped)), shape)).rejects.toThrow(/order/)
  })

  it('is refused when it failed or said nothing', async () => {
    const failing: Side = { ...side({}), command: ['-e', 'console.error("no server"); process.exit(3)'] }
    await expect(runSide(failing, shape)).rejects.toThrow(/no server/)
  })
})

describe('the tally', () => {
  it('joins what several partitions counted to what the writer wrote', () => {
    const parts = [0, 1].map((half) => workOf(all.filter((sequence) => sequence % 2 === half)))
    expect(join(parts)).toMatchObject({ count: 100, disorder: 0, ...expectedSums(shape) })
  })

  it('gives spreads by pairs', () => {
    expect(median([3, 1, 2])).toBe(2)
    expect(spread([0.9, 1.1, 1.0, 0.8])).toEqual({ min: 0.8, median: 0.95, max: 1.1 })
    expect(spread([])).toBeNull()
  })
})

describe('the report', () => {
  const host = {
    ...{ cores: 2, cpu: 'any', memoryGb: 8, system: 'any', node: 'v20' },
    ...{ loadBefore: 0, loadAfter: 0, stealPercent: null },
  }
  const comparison: Comparison = {
    variant: 'takeover',
    ours: { perSecond: 100, cpuMicrosPerEvent: null, peakRssMb: 50, extra: {} },
    ...{ limit: null, ratio: null, ratios: [], peers: {}, runs: [] },
    failures: { ours: 'nothing moved' },
  }

  it('fails for a side that could not be run, and for what else could not be measured', () => {
    const report = makeReport('wal-redis', host, {
      comparisons: [comparison],
      aims: [],
      failures: { latency: 'nothing came in time' },
    })
    expect(report.failures).toEqual(['takeover ours: nothing moved', 'latency: nothing came in time'])
  })

  it('prints no figure for a CPU that nobody could tell', () => {
    const text = formatReport(makeReport('takeover', host, { comparisons: [comparison], aims: [] }))
    expect(text).toMatch(/100\/s +- us CPU/)
  })
})

describe('the options', () => {
  it('are quick, or at the length that the documents speak of', () => {
    expect(readOptions(['wal'])).toMatchObject({ name: 'wal', pairs: 5, scale: 1, peers: true })
    expect(readOptions(['wal', '--quick', '--no-peers'])).toMatchObject({ pairs: 2, scale: 0.1, peers: false })
    expect(() => readOptions(['wal', '--pairs', 'many'])).toThrow(/pairs/)
  })
})

describe('npm run bench', () => {
  it('measures the runtime beside its limit, at a small scale', async () => {
    const report = await bench('runtime', '--scale', '0.05', '--only', 'sync')
    expect(report.failures).toEqual([])
    expect(report.ratio.median).toBeGreaterThan(0)
  })

  it('measures the WAL beside the drain of the walsender, at a small scale', async () => {
    const report = await bench('wal', '--scale', '0.02', '--only', '10 rows')
    expect(report.failures).toEqual([])
    expect(report.limit['10 rows a transaction'].perSecond).toBeGreaterThan(0)
    expect(report.aims.length).toBeGreaterThan(0)
  })

  it('measures streams beside a walker of lengths, at a small scale', async () => {
    const report = await bench('streams', '--scale', '0.02', '--only', 'group')
    expect(report.failures).toEqual([])
    expect(report.ours['mode group'].perSecond).toBeGreaterThan(0)
  })

  it('measures a cluster beside the same pipeline without one, at a small scale', async () => {
    const report = await bench('cluster', '--scale', '0.02', '--only', '10 rows')
    expect(report.failures).toEqual([])
    expect(report.ratios['10 rows a transaction'].median).toBeGreaterThan(0)
    expect(report.ours['10 rows a transaction'].extra.bytesPerEvent).toBeGreaterThan(100)
  }, 90_000)

  it('measures planned handoffs at the sink, where nothing is missing and nothing twice, at a small scale', async () => {
    const report = await bench('takeover', '--scale', '0.02', '--only', 'handoff', '--rate', '300')
    expect(report.failures).toEqual([])
    expect(report.ours.handoff.extra.handoffs).toBeGreaterThan(0)
    expect(report.aims.find(({ what }: { what: string }) => what.includes('missing')).value).toBe(0)
  }, 150_000)
})

// biome-ignore lint/suspicious/noExplicitAny: the shape is what the tests look at
function bench(...args: string[]): Promise<any> {
  return new Promise((resolve, reject) => {
    const command = ['dist/bench/main.js', ...args, '--json', '--no-peers', '--pairs', '1']
    execFile(process.execPath, command, { timeout: 140_000 }, (error, out, errors) => {
      if (out.startsWith('{')) resolve(JSON.parse(out))
      else reject(new Error(errors.slice(-2_000), { cause: error }))
    })
  })
}
