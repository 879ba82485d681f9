import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ChangeEvent } from '../../src/event/event.js'
import { createMatcher } from '../../src/partition/filter.js'
import { createExecutor, type Executor, type ExecutorInit } from '../../src/processor/executor.js'
import { createOutput, type Output } from '../../src/processor/output.js'
import type { Emission } from '../../src/processor/processor.js'
import type { SinkItem, SinkWriter } from '../../src/sink/sink.js'
import { SinkRefusal } from '../../src/sink/sink.js'
import { realWorld } from '../../src/world/real.js'
import { assigned } from './frames.js'

const everything = { namespaces: [], entities: [], operations: [] }
const retry = { initial: 1, max: 2, maxElapsed: 20, jitter: 0 }

function make(over: Partial<ExecutorInit> & { handle: ExecutorInit['handle'] }) {
  const finished: number[] = []
  const executor = createExecutor({
    world: realWorld,
    order: 'key',
    concurrency: 4,
    matcher: createMatcher(everything),
    retry,
    output: null,
    marked: null,
    finished: (sequence) => finished.push(sequence),
    exhausted: async () => {},
    failed: (error) => {
      throw error
    },
    ...over,
  })
  return { executor, finished }
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = realWorld.monotonic() + 5_000
  while (!condition()) {
    if (realWorld.monotonic() > deadline) throw new Error('the condition did not come true')
    await new Promise<void>((resolve) => realWorld.setTimer(1, resolve))
  }
}

const idOf = (event: ChangeEvent) => String(event.after!.get('id'))
const numberOf = (event: ChangeEvent) => Number(event.after!.get('value'))

/** A handler whose calls are ended by hand. */
function manual() {
  const running: { key: string; value: number; end: () => void; fail: (error: Error) => void }[] = []
  const handle = (event: ChangeEvent) =>
    new Promise<Emission>((resolve, reject) => {
      running.push({ key: idOf(event), value: numberOf(event), end: () => resolve(undefined), fail: reject })
    })
  return { running, handle }
}

describe('the executor', () => {
  test('runs a handler without promises in one go, in order', () => {
    const seen: number[] = []
    const { executor, finished } = make({
      handle: (event) => {
        seen.push(numberOf(event))
      },
    })
    executor.add([
      assigned(1, 1, [
        { key: 'a', value: 1 },
        { key: 'b', value: 2 },
      ]),
      assigned(2, 3, [{ key: 'a', value: 3 }]),
    ])
    expect(seen).toEqual([1, 2, 3])
    expect(finished).toEqual([2])
  })

  test('starts event n+1 of a key only after event n has ended, with other keys beside it', async () => {
    const { running, handle } = manual()
    const { executor, finished } = make({ handle })
    executor.add([
      assigned(1, 1, [
        { key: 'a', value: 1 },
        { key: 'a', value: 2 },
        { key: 'b', value: 3 },
      ]),
    ])
    expect(running.map((one) => one.value)).toEqual([1, 3])
    running[0]!.end()
    await until(() => running.length === 3)
    expect(running[2]!.value).toBe(2)
    running[1]!.end()
    expect(finished).toEqual([])
    running[2]!.end()
    await until(() => finished.length > 0)
    expect(finished).toEqual([1])
  })

  test('bounds the handlers that run and the events that wait', async () => {
    const { running, handle } = manual()
    const { executor } = make({ handle, concurrency: 2 })
    executor.add([
      assigned(
        1,
        1,
        Array.from({ length: 50 }, (_, index) => ({ key: `k${index}`, value: index })),
      ),
    ])
    expect(running).toHaveLength(2)
    running[0]!.end()
    await until(() => running.length === 3)
    expect(executor.figures().active).toBe(2)
    const many = make({ handle: manual().handle, concurrency: 2 })
    many.executor.add([
      assigned(
        1,
        1,
        Array.from({ length: 400 }, (_, index) => ({ key: 'same', value: index })),
      ),
    ])
    expect(many.executor.figures()).toMatchObject({ active: 1, waiting: 64 })
  })

  test('order global runs one event at a time', async () => {
    const { running, handle } = manual()
    const { executor } = make({ handle, order: 'global', concurrency: 1 })
    executor.add([
      assigned(1, 1, [
        { key: 'a', value: 1 },
        { key: 'b', value: 2 },
      ]),
    ])
    expect(running.map((one) => one.value)).toEqual([1])
    running[0]!.end()
    await until(() => running.length === 2)
  })

  test('finishes frames in order, even when a later one is through first', async () => {
    const { running, handle } = manual()
    const { executor, finished } = make({ handle })
    executor.add([assigned(1, 1, [{ key: 'a', value: 1 }]), assigned(2, 2, [{ key: 'b', value: 2 }])])
    running[1]!.end()
    await until(() => executor.figures().active === 1)
    expect(finished).toEqual([])
    running[0]!.end()
    await until(() => finished.length > 0)
    expect(finished.at(-1)).toBe(2)
  })

  test('retries a failed event while its key waits, and gives it up after maxElapsed', async () => {
    const log: string[] = []
    const gaveUp: number[] = []
    const { executor, finished } = make({
      handle: (event) => {
        const value = numberOf(event)
        log.push(`${idOf(event)}${value}`)
        if (value === 1) throw new Error('no')
        if (value === 3 && !log.slice(0, -1).includes('c3')) throw new Error('once')
      },
      exhausted: async (event, error, attempts) => {
        expect((error as Error).message).toBe('no')
        expect(attempts).toBeGreaterThan(2)
        gaveUp.push(numberOf(event))
      },
    })
    executor.add([
      assigned(1, 1, [
        { key: 'a', value: 1 },
        { key: 'a', value: 2 },
        { key: 'c', value: 3 },
        { key: 'b', value: 4 },
      ]),
    ])
    expect(log).toEqual(['a1', 'c3', 'b4'])
    await until(() => finished.length > 0)
    expect(gaveUp).toEqual([1])
    expect(log.filter((one) => one === 'c3')).toHaveLength(2)
    expect(log.at(-1)).toBe('a2')
  })

  test('skips what the filter does not want and what is at or below the position', () => {
    const seen: number[] = []
    const { executor, finished } = make({
      handle: (event) => {
        seen.push(numberOf(event))
      },
      matcher: createMatcher({ ...everything, entities: ['ord*'] }),
    })
    const one = assigned(1, 1, [
      { key: 'a', value: 1, entity: 'orders' },
      { key: 'a', value: 2, entity: 'orders' },
      { key: 'a', value: 3, entity: 'clicks' },
    ])
    executor.add([{ ...one, after: { major: 1n, minor: 0n, part: 0 } }])
    expect(seen).toEqual([2])
    expect(finished).toEqual([1])
  })

  test('an event that is kept without detach says so when it is read after its frame has ended', () => {
    const kept: ChangeEvent[] = []
    const { executor } = make({
      handle: (event) => {
        kept.push(event, event.detach())
      },
    })
    executor.add([assigned(1, 1, [{ key: 'a', value: 1 }])])
    expect(() => kept[0]!.after!.get('value')).toThrow(/after its handler had ended/)
    expect(() => kept[0]!.keyText).toThrow(/after its handler had ended/)
    expect(kept[1]!.after!.get('value')).toBe(1)
  })

  test('keeps keyed order of execution whatever the keys, durations and failures', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd'), turns: fc.nat(3), fails: fc.boolean() }), {
          minLength: 1,
          maxLength: 60,
        }),
        fc.integer({ min: 1, max: 5 }),
        async (plan, concurrency) => {
          const running = new Set<string>()
          const order = new Map<string, number[]>()
          const failed = new Set<number>()
          let most = 0
          const { executor, finished } = make({
            concurrency,
            retry: { initial: 0, max: 0, maxElapsed: 1_000, jitter: 0 },
            handle: (event) => {
              const value = numberOf(event)
              const { key, turns, fails } = plan[value]!
              if (fails && !failed.has(value)) {
                failed.add(value)
                throw new Error('first')
              }
              expect(running.has(key)).toBe(false)
              const ended = order.get(key) ?? []
              order.set(key, ended)
              if (turns === 0) {
                ended.push(value)
                return
              }
              running.add(key)
              most = Math.max(most, running.size)
              return (async () => {
                for (let turn = 0; turn < turns; turn++) await Promise.resolve()
                running.delete(key)
                ended.push(value)
                return undefined
              })()
            },
          })
          const records = plan.map(({ key }, value) => ({ key, value }))
          const half = Math.ceil(records.length / 2)
          const frames = [assigned(1, 1, records.slice(0, half))]
          if (half < records.length) frames.push(assigned(2, half + 1, records.slice(half)))
          executor.add(frames)
          await until(() => finished.at(-1) === frames.length)
          expect(most).toBeLessThanOrEqual(concurrency)
          for (const values of order.values()) expect(values).toEqual([...values].sort((a, b) => a - b))
          expect([...order.values()].flat()).toHaveLength(plan.length)
        },
      ),
      { numRuns: 100 },
    )
  })
})

/** A sink whose writes are taken by hand. */
function handSink(maxInFlight: number, batchSize: number) {
  const writes: { items: readonly SinkItem[]; take: () => void; refuse: (error: Error) => void }[] = []
  const writer: SinkWriter = {
    maxInFlight,
    batchSize,
    write: (items) => new Promise((resolve, reject) => writes.push({ items, take: resolve, refuse: reject })),
    close: async () => {},
  }
  return { writer, writes }
}

describe('the output', () => {
  function wire(maxInFlight: number, batchSize: number) {
    const sink = handSink(maxInFlight, batchSize)
    const refused: string[] = []
    const failures: Error[] = []
    let executor!: Executor
    const output: Output = createOutput({
      writer: sink.writer,
      settled: () => executor.settled(),
      refused: async (event) => {
        refused.push(event.id)
      },
      failed: (error) => failures.push(error),
    })
    const made = make({ handle: null, output })
    executor = made.executor
    return { ...sink, ...made, refused, failures }
  }

  test('a frame is finished only when the sink has taken all of it', async () => {
    const { executor, writes, finished } = wire(2, 10)
    executor.add([
      assigned(1, 1, [
        { key: 'a', value: 1 },
        { key: 'b', value: 2 },
      ]),
    ])
    expect(writes[0]!.items).toHaveLength(2)
    expect(finished).toEqual([])
    writes[0]!.take()
    await until(() => finished.length > 0)
    expect(finished).toEqual([1])
  })

  test('a stopped sink stops the scan: at most the batches in flight and two behind them wait', () => {
    const { executor, writes } = wire(2, 5)
    executor.add([
      assigned(
        1,
        1,
        Array.from({ length: 100 }, (_, value) => ({ key: `k${value}`, value })),
      ),
    ])
    expect(writes).toHaveLength(2)
    expect(writes.flatMap((write) => write.items)).toHaveLength(10)
  })

  test('refused items are dealt with, the rest counts as written', async () => {
    const { executor, writes, finished, refused } = wire(1, 10)
    executor.add([
      assigned(1, 1, [
        { key: 'a', value: 1 },
        { key: 'b', value: 2 },
      ]),
    ])
    writes[0]!.refuse(new SinkRefusal(1, 'wrong type'))
    await until(() => finished.length > 0)
    expect(refused).toEqual(['memory/1/l/2-0'])
  })

  test('a batch that arrives after the stop finishes nothing and harms nothing', async () => {
    const { executor, writes, finished, failures } = wire(1, 10)
    executor.add([assigned(1, 1, [{ key: 'a', value: 1 }])])
    executor.stop()
    writes[0]!.take()
    await new Promise<void>((resolve) => realWorld.defer(resolve))
    expect(finished).toEqual([])
    expect(failures).toEqual([])
  })

  test('an unknown outcome fails the processor and finishes nothing', async () => {
    const { executor, writes, finished, failures } = wire(1, 10)
    executor.add([assigned(1, 1, [{ key: 'a', value: 1 }])])
    writes[0]!.refuse(new Error('connection lost'))
    await until(() => failures.length > 0)
    expect(finished).toEqual([])
  })
})
