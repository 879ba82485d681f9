/**
 * Whether the log that stands there is the one that was read. It may have lost its tail and gone on with other frames at the same
 * sequences: a frame is known by its mark, and what was trimmed was trimmed as a whole.
 */
import { comparePositions } from '../../event/position.js'
import { TroupeError } from '../../world/error.js'
import { parcelOf } from './parcel.js'
import { answerWithin, type StreamPort } from './port.js'
import type { FrameMarks } from './stored.js'

export interface History {
  /** Whether the frame that was read at a sequence stands there. `gone`: nothing does; it was trimmed, or lost. */
  whatStands(sequence: number, marks: FrameMarks): Promise<'same' | 'other' | 'gone'>
  /** Whether the log up to a sequence is, as far as can be seen, the one that was read. */
  isAsRead(sequence: number, marks: FrameMarks): Promise<boolean>
}

/** `frames`: the subject of one partition. */
export function createHistory(stream: StreamPort, frames: string): History {
  async function whatStands(sequence: number, marks: FrameMarks): Promise<'same' | 'other' | 'gone'> {
    if (sequence === 0) return 'same'
    const found = await stream.at(sequence, answerWithin)
    if (found === null) return 'gone'
    if (found.subject !== frames) return 'other'
    const { source, mark } = parcelOf(found)
    const known = marks[source]
    // Who started at the newest frame knows no mark yet.
    if (known === undefined) return Object.keys(marks).length === 0 ? 'same' : 'other'
    return comparePositions(mark, known) === 0 ? 'same' : 'other'
  }

  /** What was trimmed is trimmed as a whole: something that stands below was never seen. */
  async function firstBehind(sequence: number): Promise<boolean> {
    const first = await stream.first(frames, answerWithin)
    return first === null || first.sequence > sequence
  }

  return {
    whatStands,
    async isAsRead(sequence, marks) {
      if (sequence === 0) return true
      // Asked together: most often it was trimmed, and a taker waits for this.
      const [found, first] = await Promise.all([whatStands(sequence, marks), firstBehind(sequence)])
      if (found !== 'gone') return found === 'same'
      // The trim may have come between the two: only what is seen after it was gone counts against it.
      return first || firstBehind(sequence)
    },
  }
}

export function lostTail(place: string, last: number, delivered: number): TroupeError {
  return new TroupeError({
    code: 'log-rewind',
    message: `the log has lost its tail: it ends at sequence ${last}, and ${delivered} was read before`,
    place,
    remedy: 'nothing: what was lost is read again from the source; set sync_interval: always on the NATS servers',
    permanent: true,
  })
}
