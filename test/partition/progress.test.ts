import { expect, test } from 'vitest'
import type { FrameHeader } from '../../src/event/frame.js'
import { afterFrame, placeFrame } from '../../src/partition/progress.js'

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
test('in group mode nothing is dropped by its position', () => {
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
