/** What a place that `troupe seek` is told is in one partition, and where it is refused. */
import { expect, test } from 'vitest'
import { placeIn, type Retained, type RetainedFrame } from '../../src/operator/cluster/seek-target.js'

const now = 1_000_000

const at = (major: number) => ({ major: BigInt(major), minor: 0n, part: 0 }) as const

/** Ten positions long, up to the given one; stored at its sequence. */
function frame(sequence: number, last: number, more: Partial<RetainedFrame> = {}): RetainedFrame {
  return {
    sequence,
    storedAt: sequence,
    source: 'db',
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
