// Execution before a sink that stores the checkpoint with the work.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { LaneVector } from '../../src/checkpoint/checkpoint.js'
import type { ChangeEvent } from '../../src/event/event.js'
import { readFrameHeader } from '../../src/event/open.js'
import { createMatcher } from '../../src/partition/filter.js'
import type { Assigned } from '../../src/partition/owner.js'
import { afterFrame, placeFrame } from '../../src/partition/progress.js'
import { createExecutor, type Executor } from '../../src/processor/executor.js'
import { createFencedOutput, type FencedOutput } from '../../src/processor/fenced-output.js'
import { type Emission, record } from '../../src/processor/processor.js'
import { type FencedWriter, type RefusedItem, type SinkItem, SinkRefusal } from '../../src/sink/sink.js'
import { realWorld } from '../../src/world/real.js'
import { assigned } from './frames.js'

const everything = { namespaces: [], entities: [], operations: [] }
const retry = { initial: 1, max: 1, maxElapsed: 3, jitter: 0 }

/** Each look at the clock is a millisecond: the first retry of an event is always granted, whatever the machine does. */
let looks = 0
const world = { ...realWorld, monotonic: () => ++looks }

async function until(condition: () => boolean): Promise<void> {
  const deadline = realWorld.monotonic() + 5_000
  while (!condition()) {
    if (realWorld.monotonic() > deadline) throw new Error('the condition did not come true')
    await new Promise<void>((resolve) => realWorld.setTimer(1, resolve))
  }
}

interface Commit {
  readonly items: readonly SinkItem[]
  readonly lanes: LaneVector
  take(failed?: readonly RefusedItem[]): void
  refuse(error: Error): void
}

/** A sink whose commits are taken by hand. */
function handSink(batchSize: number) {
  const commits: Commit[] = []
  const writer: FencedWriter = {
    lanes: null,
    term: 1,
    batchSize,
    commit: (items, lanes) =>
      new Promise((resolve, reject) =>
        commits.push({ items, lanes, take: (failed = []) => resolve(failed), refuse: reject }),
      ),
    close: async () => {},
  }
  return { writer, commits }
}

interface Life {
  readonly executor: Executor
  readonly output: FencedOutput
  readonly finished: number[]
  readonly refused: string[]
  readonly failures: Error[]
}

function live(
  writer: FencedWriter,
  handle: ((event: ChangeEvent) => Emission | Promise<Emission>) | null,
  over: { concurrency?: number; exhausted?: () => Promise<void>; refused?: () => Promise<void> } = {},
): Life {
  const finished: number[] = []
  const refused: string[] = []
  const failures: Error[] = []
  const output = createFencedOutput({
    writer,
    committed: (frames) => executor.committed(frames),
    refused: async (event) => {
      refused.push(event.id)
      await over.refused?.()
    },
    failed: (error) => failures.push(error),
  })
  const executor: Executor = createExecutor({
    world,
    order: 'key',
    concurrency: over.concurrency ?? 4,
    matcher: createMatcher(everything),
    retry,
    handle,
    output,
    marked: null,
    finished: (sequence) => finished.push(sequence),
    exhausted: over.exhausted ?? (async () => {}),
    failed: (error) => failures.push(error),
  })
  return { executor, output, finished, refused, failures }
}

const numberOf = (event: ChangeEvent) => Number(event.after!.get('value'))
const valuesOf = (items: readonly SinkItem[]) =>
  items.map((item) => (item.type === 'record' ? Number(item.value.n) : numberOf(item)))
const emit = (event: ChangeEvent, n = numberOf(event)) =>
  record(event, { operation: 'append', entity: 'out', value: { n } })
const majorOf = (lanes: LaneVector) => Number(lanes['memory/l']!.position.major)

const two = (sequence: number, from: number): Assigned =>
  assigned(sequence, from, [
    { key: `a${from}`, value: from },
    { key: `b${from}`, value: from + 1 },
  ])

describe('a fenced output', () => {
  test('a frame leaves when all its events have ended, in the order of its events, whichever ended first', async () => {
    const { writer, commits } = handSink(10)
    const ends = new Map<number, () => void>()
    const { executor, finished } = live(
      writer,
      (event) => new Promise((resolve) => ends.set(numberOf(event), () => resolve(emit(event)))),
    )
    executor.add([two(1, 1), two(2, 3)])
    ends.get(3)!()
    ends.get(4)!()
    ends.get(2)!()
    await until(() => executor.figures().active === 1)
    expect(commits).toHaveLength(0)
    ends.get(1)!()
    await until(() => commits.length === 1)
    expect(valuesOf(commits[0]!.items)).toEqual([1, 2, 3, 4])
    expect(majorOf(commits[0]!.lanes)).toBe(4)
    expect(finished).toEqual([])
    commits[0]!.take()
    await until(() => finished.at(-1) === 2)
  })

  test('one commit is under way at a time; those behind it grow to a batch of whole frames', async () => {
    const { writer, commits } = handSink(4)
    const { executor, finished } = live(writer, null)
    executor.add([two(1, 1)])
    executor.add([two(2, 3), two(3, 5), two(4, 7)])
    expect(commits).toHaveLength(1)
    commits[0]!.take()
    await until(() => commits.length === 2)
    expect(finished).toEqual([1])
    expect(valuesOf(commits[1]!.items)).toEqual([3, 4, 5, 6])
    expect(majorOf(commits[1]!.lanes)).toBe(6)
    commits[1]!.take()
    await until(() => commits.length === 3)
    expect(valuesOf(commits[2]!.items)).toEqual([7, 8])
  })

  test('no further frame is begun while four batches are held', () => {
    const { writer, commits } = handSink(2)
    const seen: number[] = []
    const { executor, output } = live(writer, (event) => {
      seen.push(numberOf(event))
      return emit(event)
    })
    executor.add(Array.from({ length: 40 }, (_, n) => two(n + 1, 2 * n + 1)))
    expect(seen).toHaveLength(8)
    expect(output.inFlight).toBe(8)
    expect(commits).toHaveLength(1)
  })

  test('a frame whose events become more than any bound leaves all the same, as one', async () => {
    const { writer, commits } = handSink(2)
    const { executor, finished } = live(writer, (event) => Array.from({ length: 100 }, (_, n) => emit(event, n)))
    executor.add([two(1, 1), two(2, 3)])
    expect(commits[0]!.items).toHaveLength(200)
    commits[0]!.take()
    await until(() => commits.length === 2)
    commits[1]!.take()
    await until(() => finished.at(-1) === 2)
  })

  test('a frame that is more than a commit holds is cut between events, with the checkpoint inside of it', async () => {
    const { writer, commits } = handSink(2)
    const { executor, finished } = live({ ...writer, mostItems: 5 }, (event) =>
      Array.from({ length: 2 }, (_, n) => emit(event, numberOf(event) * 10 + n)),
    )
    executor.add([
      assigned(
        1,
        1,
        [1, 2, 3, 4].map((value) => ({ key: `k${value}`, value })),
      ),
    ])
    expect(valuesOf(commits[0]!.items)).toEqual([10, 11, 20, 21])
    expect(majorOf(commits[0]!.lanes)).toBe(2)
    commits[0]!.take()
    await until(() => commits.length === 2)
    expect(finished).toEqual([])
    expect(valuesOf(commits[1]!.items)).toEqual([30, 31, 40, 41])
    expect(majorOf(commits[1]!.lanes)).toBe(4)
    commits[1]!.take()
    await until(() => finished.at(-1) === 1)
  })

  test('an event that becomes more than a commit holds ends its processor with output-too-large', async () => {
    const { writer, commits } = handSink(2)
    const { executor, failures } = live({ ...writer, mostItems: 5 }, (event) =>
      Array.from({ length: 6 }, (_, n) => emit(event, n)),
    )
    executor.add([two(1, 1)])
    await until(() => failures.length === 1)
    expect(failures[0]).toMatchObject({ code: 'output-too-large', permanent: true })
    expect(commits).toHaveLength(0)
  })

  test('frames without output move the checkpoint as well; those that bring nothing new cost no commit', async () => {
    const { writer, commits } = handSink(10)
    const { executor, finished } = live(writer, () => undefined)
    const frame = two(1, 1)
    executor.add([frame])
    expect(commits[0]!.items).toEqual([])
    commits[0]!.take()
    await until(() => finished.at(-1) === 1)
    executor.add([{ ...two(2, 1), skip: true, lanes: frame.lanes }])
    expect(commits).toHaveLength(1)
    expect(finished.at(-1)).toBe(2)
  })

  test('what is refused is dealt with before the checkpoint passes it, and the rest is committed without it', async () => {
    const { writer, commits } = handSink(10)
    let deal: (() => void) | null = null
    const { executor, finished, refused } = live(writer, null, {
      refused: () => new Promise<void>((resolve) => (deal = resolve)),
    })
    executor.add([two(1, 1)])
    commits[0]!.refuse(new SinkRefusal(0, 'wrong type'))
    await until(() => deal !== null)
    expect(commits).toHaveLength(1)
    deal!()
    await until(() => commits.length === 2)
    expect(refused).toEqual(['memory/1/l/1-0'])
    expect(valuesOf(commits[1]!.items)).toEqual([2])
    commits[1]!.take([{ index: 0, message: 'against every expectation' }])
    await until(() => refused.length === 2)
    deal!()
    await until(() => finished.at(-1) === 1)
    expect(refused[1]).toBe('memory/1/l/2-0')
  })

  test('a fenced writer fails its processor and finishes nothing', async () => {
    const { writer, commits } = handSink(10)
    const { executor, finished, failures } = live(writer, null)
    executor.add([two(1, 1)])
    executor.add([two(2, 3)])
    commits[0]!.refuse(new Error('fenced'))
    await until(() => failures.length === 1)
    expect(finished).toEqual([])
    expect(commits).toHaveLength(1)
  })

  test('after the stop nothing more is committed', async () => {
    const { writer, commits } = handSink(2)
    const { executor, output, finished } = live(writer, null)
    executor.add([two(1, 1), two(2, 3)])
    output.halt()
    commits[0]!.take()
    await output.settle()
    executor.stop()
    await output.close()
    await new Promise<void>((resolve) => realWorld.defer(resolve))
    expect(commits).toHaveLength(1)
    expect(finished).toEqual([1])
  })

  test('whatever handlers do and wherever it crashes, the sink has each event once, in the order of the events', async () => {
    const plans = fc.record({
      records: fc.array(
        fc.record({
          key: fc.constantFrom('a', 'b', 'c', 'd'),
          turns: fc.nat(3),
          fails: fc.constantFrom('never', 'never', 'once', 'always'),
          outputs: fc.nat(3),
        }),
        { minLength: 1, maxLength: 60 },
      ),
      cuts: fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 12 }),
      concurrency: fc.integer({ min: 1, max: 5 }),
      batchSize: fc.integer({ min: 1, max: 20 }),
      /** No event has more. */
      mostItems: fc.option(fc.integer({ min: 3, max: 12 }), { nil: undefined }),
      /** Commits that a life gets before it dies, and whether the fatal one took effect. */
      deaths: fc.array(fc.record({ after: fc.nat(3), effective: fc.boolean() }), { maxLength: 6 }),
    })
    await fc.assert(
      fc.asyncProperty(plans, async ({ records, cuts, concurrency, batchSize, mostItems, deaths }) => {
        const frames: Assigned[] = []
        for (let from = 0; from < records.length; ) {
          const size = cuts[frames.length % cuts.length]!
          const some = records.slice(from, from + size).map(({ key }, index) => ({ key, value: from + index }))
          frames.push(assigned(frames.length + 1, from + 1, some))
          from += size
        }
        const ends = frames.map((frame) => majorOf(frame.lanes))
        const stored: { values: number[]; lanes: LaneVector | null } = { values: [], lanes: null }
        const expected = records.flatMap(({ outputs, fails }, value) =>
          fails === 'always' ? [] : Array.from({ length: outputs }, (_, n) => value * 10 + n),
        )
        for (let life = 0; ; life++) {
          expect(life).toBeLessThanOrEqual(deaths.length)
          const death = deaths[life]
          const running = new Set<string>()
          const failed = new Set<number>()
          const ended = new Map<string, number[]>()
          let commits = 0
          let died = false
          let underWay = 0
          const writer: FencedWriter = {
            lanes: stored.lanes,
            term: life + 1,
            batchSize,
            ...(mostItems === undefined ? {} : { mostItems }),
            async commit(items, lanes) {
              expect(++underWay).toBe(1)
              expect(items.length).toBeLessThanOrEqual(mostItems ?? Number.POSITIVE_INFINITY)
              const values = valuesOf(items)
              const dies = death !== undefined && commits++ === death.after
              await Promise.resolve()
              underWay--
              if (dies && !death.effective) {
                died = true
                throw new Error('died before')
              }
              stored.values.push(...values)
              stored.lanes = lanes
              // Whole frames where a commit holds them, and the checkpoint is that of the last of them.
              if (mostItems === undefined) expect(ends).toContain(majorOf(lanes))
              expect(stored.values).toEqual(expected.filter((n) => Math.floor(n / 10) < majorOf(lanes)))
              if (!dies) return []
              died = true
              throw new Error('died after')
            },
            close: async () => {},
          }
          const handle = (event: ChangeEvent): Emission | Promise<Emission> => {
            const value = numberOf(event)
            const { key, turns, fails, outputs } = records[value]!
            if (fails === 'always') throw new Error('always')
            if (fails === 'once' && !failed.has(value)) {
              failed.add(value)
              throw new Error('once')
            }
            expect(running.has(key)).toBe(false)
            const order = ended.get(key) ?? []
            ended.set(key, order)
            const result = Array.from({ length: outputs }, (_, n) => emit(event, value * 10 + n))
            const emission = outputs === 1 ? result[0] : result
            if (turns === 0) {
              order.push(value)
              return emission
            }
            running.add(key)
            return (async () => {
              for (let turn = 0; turn < turns; turn++) await Promise.resolve()
              running.delete(key)
              order.push(value)
              return emission
            })()
          }
          const { executor, output, finished, failures } = live(writer, handle, { concurrency })
          // As the consumer does it.
          let lanes: LaneVector = stored.lanes ?? {}
          const work = frames.map(({ frame }): Assigned => {
            const header = readFrameHeader(Buffer.from(frame.memory), frame.offset)
            const placement = placeFrame(header, lanes)
            expect(placement.kind).not.toBe('gap')
            if (placement.kind !== 'none') lanes = afterFrame(header, lanes)
            const after = placement.kind === 'after' ? placement.after : null
            return { frame, after, skip: placement.kind === 'none', lanes }
          })
          const half = Math.ceil(work.length / 2)
          executor.add(work.slice(0, half))
          executor.add(work.slice(half))
          await until(() => failures.length > 0 || finished.at(-1) === frames.length)
          // Only its death may end a life.
          if (failures.length > 0 && !died) throw failures[0]
          output.halt()
          await executor.settle()
          executor.stop()
          expect(failures.length).toBe(died ? 1 : 0)
          for (const values of ended.values()) expect(values).toEqual([...values].sort((a, b) => a - b))
          if (!died) break
        }
        expect(stored.values).toEqual(expected)
        expect(majorOf(stored.lanes!)).toBe(records.length)
      }),
      { numRuns: 150 },
    )
  }, 60_000)
})
