import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { FrameHeader } from '../../src/event/frame.js'
import type { Append } from '../../src/log/log.js'
import { createMemoryLog, type MemoryLog } from '../../src/log/memory.js'

const sets = [{ name: 'key', partitions: 2, processors: ['a', 'b'] }]

function header(major: number, previous: number | null = null): FrameHeader {
  return {
    lane: { source: 'db', kind: 'postgres', replayable: true, epoch: 1n, lane: 'wal', codec: 'pgoutput' },
    first: { major: BigInt(major), minor: 1n, part: 0 },
    last: { major: BigInt(major), minor: 1n, part: 0 },
    previous: previous === null ? null : { major: BigInt(previous), minor: 1n, part: 0 },
    count: 1,
    length: 10,
  }
}

function appendOf(term: number, number: number, partitions: readonly number[], obligation?: number): Append {
  return {
    type: 'append',
    source: 'db',
    term,
    number,
    slab: { id: number, memory: new SharedArrayBuffer(64) },
    frames: partitions.map((partition, index) => ({ set: 'key', partition, offset: index * 10, length: 10 })),
    state: { end: number },
    obligation: obligation === undefined ? null : Uint8Array.of(obligation),
  }
}

function opened(log: MemoryLog): number {
  return log.openReader('db').opened.term
}

function newLog(): MemoryLog {
  return createMemoryLog({ sets, processors: [], readers: [] })
}

describe('the memory log', () => {
  test('confirms nothing before the checkpoint is durable', () => {
    const log = newLog()
    const term = opened(log)
    log.append(appendOf(term, 1, [0]), [header(1)])
    log.finished('key', 0, 'a', 1)
    log.finished('key', 0, 'b', 1)
    const flush = log.beginFlush()!
    expect(flush.batch.readers).toMatchObject([{ source: 'db', state: { end: 1 } }])
    expect(log.openReader('db').opened.checkpoint.state).toBeNull()
    expect(log.completeFlush(flush.number)).toMatchObject([{ source: 'db', number: 0, state: { end: 1 } }])
    expect(log.openReader('db').opened.checkpoint.state).toEqual({ end: 1 })
  })

  test('confirms the longest finished prefix of the appends, not what overtook it', () => {
    const log = newLog()
    const term = opened(log)
    log.append(appendOf(term, 1, [0]), [header(1)])
    log.append(appendOf(term, 2, [1]), [header(2)])
    for (const processor of ['a', 'b']) log.finished('key', 1, processor, 1)
    const first = log.beginFlush()!
    expect(first.batch.readers).toEqual([])
    expect(log.completeFlush(first.number)).toEqual([])
    for (const processor of ['a', 'b']) log.finished('key', 0, processor, 1)
    const second = log.beginFlush()!
    expect(log.completeFlush(second.number)).toMatchObject([{ number: 2, state: { end: 2 } }])
  })

  test('keeps a frame until every processor of its partition has finished it, and gives it again', () => {
    const log = newLog()
    const term = opened(log)
    log.append(appendOf(term, 1, [0]), [header(1)])
    expect(log.finished('key', 0, 'a', 1)).toEqual([])
    expect(log.attach('key', 0).frames).toHaveLength(1)
    expect(log.attach('key', 0).processors.a!.finished).toBe(1)
    const returns = log.finished('key', 0, 'b', 1)
    expect(returns).toMatchObject([{ source: 'db', bytes: [{ key: 'key.0', bytes: 10 }], slabs: [{ id: 1 }] }])
    expect(log.attach('key', 0).frames).toHaveLength(0)
  })

  test('gives a slab back only when all its frames are finished', () => {
    const log = newLog()
    const term = opened(log)
    log.append(appendOf(term, 1, [0, 1]), [header(1), header(1)])
    const give = (partition: number) => {
      log.finished('key', partition, 'a', 1)
      return log.finished('key', partition, 'b', 1).flatMap((back) => back.slabs)
    }
    expect(give(0)).toEqual([])
    expect(give(1)).toMatchObject([{ id: 1 }])
  })

  test('refuses the append of a reader that was sealed away', () => {
    const log = newLog()
    const old = opened(log)
    opened(log)
    expect(log.append(appendOf(old, 1, [0]), [header(1)])).toBeNull()
  })

  test('a reader that was restarted goes on where the last append ended, not where the last confirmation was', () => {
    const log = newLog()
    const term = opened(log)
    log.append(appendOf(term, 1, [0], 7), [header(5)])
    const again = log.openReader('db').opened
    expect(again.tail).toEqual({ end: 1 })
    expect(again.appended.wal!.position.major).toBe(5n)
    expect(again.previous['key.0']!['db/wal']!.position.major).toBe(5n)
    expect(again.outstanding).toMatchObject([{ bytes: Uint8Array.of(7) }])
    expect(again.held).toEqual({ 'key.0': 10 })
  })

  test('an obligation is stored with the confirmation and kept until it is discharged', () => {
    const log = newLog()
    const term = opened(log)
    log.append(appendOf(term, 1, [0], 7), [header(1)])
    for (const processor of ['a', 'b']) log.finished('key', 0, processor, 1)
    const flush = log.beginFlush()!
    expect(flush.batch.readers![0]!.oblige).toMatchObject([{ receipt: 1 }])
    expect(log.completeFlush(flush.number)[0]!.receipts).toMatchObject([{ receipt: 1 }])
    log.discharge('db', term, [1])
    expect(log.beginFlush()!.batch.readers![0]!.discharge).toEqual([1])
  })

  test('an empty step is confirmed behind everything before it', () => {
    const log = newLog()
    const term = opened(log)
    log.append(appendOf(term, 1, [0]), [header(1)])
    log.append({ ...appendOf(term, 2, []), slab: null }, [])
    expect(log.beginFlush()).toBeNull()
    for (const processor of ['a', 'b']) log.finished('key', 0, processor, 1)
    const flush = log.beginFlush()!
    expect(log.completeFlush(flush.number)).toMatchObject([{ number: 2, state: { end: 2 } }])
    expect(log.drained).toBe(true)
  })

  test('a halted partition is not waited for, until it is attached again', () => {
    const log = newLog()
    const term = opened(log)
    log.append(appendOf(term, 1, [0]), [header(1)])
    expect(log.drained).toBe(false)
    log.halted('key', 0)
    expect(log.drained).toBe(true)
    log.attach('key', 0)
    expect(log.drained).toBe(false)
  })

  test('refuses an append whose predecessor is missing', () => {
    const log = newLog()
    const term = opened(log)
    expect(log.append(appendOf(term, 2, [0]), [header(1)])).toBeNull()
    expect(log.append(appendOf(term, 1, [0]), [header(1)])).not.toBeNull()
  })

  test('one checkpoint is under way at a time', () => {
    const log = newLog()
    const term = opened(log)
    log.append({ ...appendOf(term, 1, []), slab: null }, [])
    const flush = log.beginFlush()!
    log.append({ ...appendOf(term, 2, []), slab: null }, [])
    expect(log.beginFlush()).toBeNull()
    log.completeFlush(flush.number)
    expect(log.beginFlush()).not.toBeNull()
  })

  /** Whatever the order of appends, progress and flushes: confirm on receive, or of an unflushed checkpoint, is found here. */
  test('never confirms what is unfinished or not durable, under any interleaving', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('append' as const), partitions: fc.subarray([0, 1]) }),
      fc.record({
        kind: fc.constant('finish' as const),
        partition: fc.constantFrom(0, 1),
        processor: fc.constantFrom('a', 'b'),
      }),
      fc.record({ kind: fc.constantFrom('begin' as const, 'complete' as const) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const log = newLog()
        const term = opened(log)
        const appends: { partition: number; sequence: number }[][] = []
        const next = [0, 0]
        const finished = { a: [0, 0], b: [0, 0] }
        let durable = { a: [0, 0], b: [0, 0] }
        let staged: { number: number; finished: typeof finished } | null = null
        let confirmed = 0
        for (const one of steps) {
          if (one.kind === 'append') {
            const places = one.partitions.map((partition) => ({ partition, sequence: ++next[partition]! }))
            appends.push(places)
            const append = appendOf(term, appends.length, one.partitions)
            log.append(
              one.partitions.length === 0 ? { ...append, slab: null } : append,
              one.partitions.map(() => header(appends.length)),
            )
          } else if (one.kind === 'finish') {
            const marks = finished[one.processor]
            if (marks[one.partition]! < next[one.partition]!) marks[one.partition]!++
            log.finished('key', one.partition, one.processor, marks[one.partition]!)
          } else if (one.kind === 'begin') {
            const flush = log.beginFlush()
            if (flush !== null) staged = { number: flush.number, finished: structuredClone(finished) }
          } else if (staged !== null) {
            for (const confirmation of log.completeFlush(staged.number)) {
              expect(confirmation.number).toBeGreaterThan(confirmed)
              confirmed = confirmation.number
            }
            durable = staged.finished
            staged = null
          }
          for (const places of appends.slice(0, confirmed))
            for (const { partition, sequence } of places)
              for (const marks of [durable.a, durable.b]) expect(marks[partition]).toBeGreaterThanOrEqual(sequence)
        }
      }),
      { numRuns: 300 },
    )
  })
})
