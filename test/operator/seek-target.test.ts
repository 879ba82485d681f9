/** What a place that `troupe seek` is told is in one partition, and where it is refused. */
import { expect, test } from 'vitest'
import { placeIn, type Retained, type RetainedFrame, slowestOf } from '../../src/operator/cluster/seek-target.js'

const now = 1_000_000

const at = (major: number) => ({ major: BigInt(major), minor: 0n, part: 0 }) as const

/** Ten positions long, up to the given one; stored at its sequence. */
function frame(sequence: number, last: number, more: Partial<RetainedFrame> = {}): RetainedFrame {
  return {
    sequence,
    storedAt: sequence,
    source: 'db',
    lane: 'a',
    ordered: true,
    first: at(last - 9),
    last: at(last),
    previous: at(last - 10),
    follows: true,
    events: 10,
    ...more,
  }
}

function retained(frames: readonly RetainedFrame[], more: Partial<Retained> = {}): Retained {
  return { frames, checkpoint: 900, slowest: 900, finishedOf: new Set(['db']), ...more }
}

test('a time before the first retained frame is refused where something was removed, however long the file retains', () => {
  const frames = [frame(500, 100), frame(510, 110)]
  const refused = { kind: 'outside', why: expect.stringContaining('sequences 500 to 510') }
  expect(placeIn(retained(frames), { kind: 'time', at: 500 }, now)).toEqual(refused)
  expect(placeIn(retained(frames), { kind: 'time', at: 501 }, now)).toEqual({ kind: 'at', sequence: 500 })
  const whole = [frame(500, 100, { previous: null, follows: false }), frame(510, 110)]
  expect(placeIn(retained(whole), { kind: 'time', at: 5 }, now)).toEqual({ kind: 'at', sequence: 0 })
})

test('a partition that retains nothing is left where it is by a time to come alone', () => {
  const time = (when: number) => placeIn(retained([]), { kind: 'time', at: when }, now)
  expect(time(now)).toEqual({ kind: 'at', sequence: 900 })
  expect(time(now - 1)).toEqual({ kind: 'outside', why: 'it retains nothing' })
})

const position = (frames: readonly RetainedFrame[], place: number) =>
  placeIn(retained(frames), { kind: 'position', source: 'db', position: at(place) }, now)

test('a position is refused where any lane of its source has lost something at or behind it', () => {
  const frames = [frame(500, 995), frame(510, 1020, { lane: 'b' }), frame(520, 1005)]
  // Of lane b up to 1010 is gone.
  expect(position(frames, 1000)).toMatchObject({ kind: 'outside' })
  expect(position(frames, 1010)).toMatchObject({ kind: 'outside' })
  expect(position(frames, 1011)).toEqual({ kind: 'at', sequence: 500 })
  // Another source's lane of the same name has its own positions.
  expect(position([frame(490, 5000, { source: 'other', lane: 'b' }), ...frames], 1011)).toEqual({
    kind: 'at',
    sequence: 500,
  })
})

test('a lane without an order neither hides what was lost of another one nor refuses anything', () => {
  const markers = { lane: 'wal.markers', ordered: false }
  expect(position([frame(500, 3, { ...markers, previous: at(2) }), frame(510, 1020)], 1005)).toMatchObject({
    kind: 'outside',
  })
  const high = frame(500, 3, { ...markers, previous: at(5000) })
  expect(position([high, frame(510, 1020)], 1015)).toEqual({ kind: 'at', sequence: 500 })
})

test('a sequence behind the slowest checkpoint is whole, and one at 0 does not tell how far that is', () => {
  const frames = [frame(500, 100), frame(510, 110)]
  const sequence = (checkpoints: readonly number[], to: number) =>
    placeIn(retained(frames, { slowest: slowestOf(checkpoints) }), { kind: 'sequence', sequence: to }, now)
  expect(sequence([400, 900], 450)).toEqual({ kind: 'at', sequence: 0 })
  expect(sequence([0, 900], 450)).toMatchObject({ kind: 'outside' })
  expect(sequence([0], 450)).toMatchObject({ kind: 'outside' })
  expect(sequence([0], 500)).toEqual({ kind: 'at', sequence: 500 })
})

test('a partition that never held anything lets every place stand', () => {
  const empty = retained([], { checkpoint: 0, slowest: slowestOf([0]), finishedOf: new Set() })
  expect(placeIn(empty, { kind: 'sequence', sequence: 7 }, now)).toEqual({ kind: 'at', sequence: 0 })
  expect(placeIn(empty, { kind: 'time', at: 7 }, now)).toEqual({ kind: 'at', sequence: 0 })
})
