import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { LaneVector } from '../../src/checkpoint/checkpoint.js'
import type { FrameHeader } from '../../src/event/frame.js'
import { afterFrame, lanesBehind, passesOver, placeFrame } from '../../src/partition/progress.js'

/** A mark: all of one run. */
const mark = (minor: number) => ({ major: 3n, minor: BigInt(minor), part: 0 as const })
const place = (major: number) => ({ major: BigInt(major), minor: 0n, part: 0 as const })

function frame(first: number, last: number, previous: number | null, more: { epoch?: bigint; ordered?: boolean } = {}) {
  const header: FrameHeader = {
    lane: {
      source: 'db',
      kind: 'postgres',
      replayable: true,
      epoch: more.epoch ?? 5n,
      lane: 'wal',
      codec: 'pgoutput',
      ordered: more.ordered ?? true,
    },
    first: place(first),
    last: place(last),
    previous: previous === null ? null : place(previous),
    count: 1,
    length: 1,
  }
  return header
}
const at = (major: number) => ({ 'db/wal': { epoch: 5n, position: place(major) } })

test('a lane that was never seen begins where it is given', () => {
  expect(placeFrame(frame(10, 12, 9), {})).toEqual({ kind: 'all' })
})
test('what is at or below the position is dropped', () => {
  expect(placeFrame(frame(10, 12, 9), at(12))).toEqual({ kind: 'none' })
  expect(placeFrame(frame(10, 12, 9), at(11))).toEqual({ kind: 'after', after: place(11) })
  expect(placeFrame(frame(10, 12, 9), at(9))).toEqual({ kind: 'all' })
})
test('a frame that does not join on is a gap', () => {
  expect(placeFrame(frame(10, 12, 9), at(8))).toEqual({ kind: 'gap', at: place(8), previous: place(9) })
})
test('a new epoch begins anew and an old one is dropped', () => {
  expect(placeFrame(frame(1, 2, null, { epoch: 6n }), at(100))).toEqual({ kind: 'all' })
  expect(placeFrame(frame(1, 2, null, { epoch: 4n }), at(0))).toEqual({ kind: 'none' })
})
test('in group mode nothing is dropped by its position where the log gives no marks', () => {
  expect(placeFrame(frame(1, 2, null, { ordered: false }), at(100))).toEqual({ kind: 'all' })
})

test('a replay from before the position moves nothing back and gives only what is new', () => {
  // A transaction of 2,000 rows, a checkpoint inside it at 1,200, a restart that sends it again from its first row.
  let lanes: Parameters<typeof afterFrame>[1] = at(1200)
  const kinds: string[] = []
  for (const [first, last, previous] of [
    [1, 512, null],
    [513, 1024, 1200],
    [1025, 1536, 1200],
    [1537, 2000, 1536],
  ] as const) {
    const header = frame(first, last, previous)
    const placement = placeFrame(header, lanes)
    kinds.push(placement.kind)
    if (placement.kind !== 'none') lanes = afterFrame(header, lanes)
  }
  expect(kinds).toEqual(['none', 'none', 'after', 'all'])
})

const unordered = (epoch = 5n) => frame(1, 2, null, { ordered: false, epoch })

test('in a lane without an order the mark decides, whatever the positions and the epoch', () => {
  const lanes = afterFrame(unordered(), at(100), mark(7))
  expect(lanes).toEqual({ ...at(100), 'db/wal#3': { epoch: 5n, position: mark(7) } })
  expect(placeFrame(unordered(), lanes, mark(7))).toEqual({ kind: 'none' })
  expect(placeFrame(unordered(6n), lanes, mark(6))).toEqual({ kind: 'none' })
  expect(placeFrame(unordered(4n), lanes, mark(8))).toEqual({ kind: 'all' })
  expect(placeFrame(unordered(), {}, mark(1))).toEqual({ kind: 'all' })
  expect(afterFrame(unordered(), lanes)).toBe(lanes)
})

test('a run of the reader that the log has lost hides nothing of the next one, whichever number that has', () => {
  const lost = { major: 9n, minor: 40n, part: 0 as const }
  const lanes = afterFrame(unordered(), afterFrame(unordered(), {}, mark(7)), lost)
  expect(placeFrame(unordered(), lanes, { major: 8n, minor: 1n, part: 0 })).toEqual({ kind: 'all' })
  expect(placeFrame(unordered(), lanes, { major: 10n, minor: 1n, part: 0 })).toEqual({ kind: 'all' })
  expect(placeFrame(unordered(), lanes, mark(7))).toEqual({ kind: 'none' })
  expect(placeFrame(unordered(), lanes, lost)).toEqual({ kind: 'none' })
})

test('of the runs of a lane the last eight are kept, and whoever stands in a later one is not behind in those it forgot', () => {
  let lanes: LaneVector = {}
  for (let run = 1n; run <= 12n; run++) lanes = afterFrame(unordered(), lanes, { major: run, minor: 1n, part: 0 })
  expect(Object.keys(lanes)).toEqual([5, 6, 7, 8, 9, 10, 11, 12].map((run) => `db/wal#${run}`))
  expect(lanesBehind(lanes, afterFrame(unordered(), {}, mark(7))).size).toBe(0)
  expect([...lanesBehind({}, lanes).keys()]).toEqual(Object.keys(lanes))
})

test('whatever is given again and wherever it goes on, frames of both kinds are taken once, in order, and none is left out', () => {
  // Frames of one ordered and one unordered lane, as a log holds them; a taker begins anywhere at or before its checkpoint.
  const plan = fc.record({
    lanes: fc.array(fc.boolean(), { minLength: 1, maxLength: 30 }),
    restarts: fc.array(fc.record({ back: fc.nat(30), runs: fc.nat(30) }), { maxLength: 8 }),
  })
  fc.assert(
    fc.property(plan, ({ lanes: kinds, restarts }) => {
      let last = 0
      const log = kinds.map((ordered, index) => {
        const previous = last === 0 ? null : last
        if (!ordered)
          return {
            mark: mark(index + 1),
            header: { ...unordered(), lane: { ...unordered().lane, lane: 'l.markers' } },
          }
        last = index * 2 + 2
        return { mark: mark(index + 1), header: frame(index * 2 + 1, last, previous) }
      })
      let lanes: LaneVector = {}
      let next = 0
      const taken: number[] = []
      for (const { back, runs } of [...restarts, { back: 0, runs: log.length }]) {
        const from = Math.max(0, next - back)
        for (let index = from; index < Math.min(log.length, next + runs); index++) {
          const { header, mark } = log[index]!
          const placement = placeFrame(header, lanes, mark)
          expect(placement.kind).toBe(index < next ? 'none' : 'all')
          if (placement.kind === 'none') continue
          lanes = afterFrame(header, lanes, mark)
          taken.push(index)
          next = index + 1
        }
      }
      expect(taken).toEqual(log.map((_, index) => index))
    }),
  )
})

test('a vector is behind another in the lanes where it stands lower, in an older epoch, or nowhere', () => {
  const other: LaneVector = { a: at(9)['db/wal'], b: at(9)['db/wal'], c: at(9)['db/wal'], d: at(9)['db/wal'] }
  const own: LaneVector = {
    a: at(9)['db/wal'],
    b: at(8)['db/wal'],
    d: { epoch: 4n, position: place(99) },
    e: at(1)['db/wal'],
  }
  expect([...lanesBehind(own, other).keys()]).toEqual(['b', 'c', 'd'])
  expect(lanesBehind(other, other).size).toBe(0)
})

test('what is missing between two checkpoints is told by the first frame that comes', () => {
  const other = at(20)['db/wal']
  const own = at(12)['db/wal']
  // It comes again, from before or from just behind.
  expect(passesOver(frame(10, 15, 9), own, other)).toBe(false)
  expect(passesOver(frame(13, 15, 12), own, other)).toBe(false)
  expect(passesOver(frame(1, 3, null), undefined, other)).toBe(false)
  // It does not.
  expect(passesOver(frame(21, 22, 20), own, other)).toBe(true)
  expect(passesOver(frame(21, 22, 20), undefined, other)).toBe(true)
  expect(passesOver(frame(21, 22, 20), { epoch: 4n, position: place(99) }, other)).toBe(true)
  expect(passesOver(frame(1, 2, null, { epoch: 6n }), own, other)).toBe(true)
  expect(passesOver(unordered(), own, other, place(20))).toBe(false)
  expect(passesOver(unordered(), own, other, place(21))).toBe(true)
})
