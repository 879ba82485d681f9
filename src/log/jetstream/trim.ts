/**
 * Removes from the stream what every processor of a partition has finished: by subject, never by sequence alone, a
 * holdback after the checkpoint that allows it, and where a replay window is asked for, when the window has passed.
 */
import type { Logger } from '../../world/logger.js'
import type { Timer, World } from '../../world/world.js'
import type { StreamNames } from './names.js'
import type { ArrivedFrame } from './parcel.js'
import type { StreamPort } from './port.js'
import type { FrameMarks } from './stored.js'

export interface TrimInit {
  readonly world: World
  readonly log: Logger
  readonly stream: StreamPort
  readonly names: StreamNames
  /** The frames of one partition. */
  readonly subject: string
  readonly holdback: number
  readonly retain: number
  /**
   * Whether the checkpoints of this owner still stand, and what stands at this sequence is the frame that was finished there.
   * Rejects where the log is not the one that was read; false where nobody answered.
   */
  readonly stillStands: (sequence: number, marks: FrameMarks) => Promise<boolean>
  readonly failed: (error: unknown) => void
  readonly planted: readonly string[]
}

export interface Trim {
  /** A frame was finished; with a replay window its age is remembered. */
  seen(frame: ArrivedFrame): void
  /** Everything up to `sequence` is covered by checkpoints that are stored now. `marks`: by source, of the last frames up to there. */
  note(sequence: number, marks: FrameMarks): void
  readonly trimmedTo: number
  stop(): void
}

interface Allowed {
  readonly sequence: number
  readonly marks: FrameMarks
  readonly since: number
}

const purgeDeadline = 5_000
/** ms between two purges of a partition. */
const purgeEvery = 1_000
/** Places remembered in a replay window: beyond it is told in steps. */
const mostPlaces = 4_096

export function createTrim(init: TrimInit): Trim {
  const { world, stream, holdback, retain } = init
  /** Ascending in both. */
  const allowed: Allowed[] = []
  const places: Allowed[] = []
  let trimmedTo = 0
  let timer: Timer | null = null
  let over = false

  function remember(list: Allowed[], one: Allowed): void {
    const last = list.at(-1)
    if (last !== undefined && last.sequence >= one.sequence) return
    list.push(one)
    // The oldest of two neighbours goes: what it allowed is allowed a little later.
    if (list.length > mostPlaces) for (let at = 0; at < list.length - 1; at++) list.splice(at, 1)
  }

  /** The last of a list that is old enough; those before it are forgotten. */
  function oldest(list: Allowed[], age: number): Allowed | null {
    const until = world.monotonic() - age
    let count = 0
    while (count < list.length && list[count]!.since <= until) count++
    if (count > 1) list.splice(0, count - 1)
    return count === 0 ? null : list[0]!
  }

  function due(): Allowed | null {
    const covered = oldest(allowed, init.planted.includes('trim-without-holdback') ? 0 : holdback)
    if (retain === 0 || covered === null) return covered
    const old = oldest(places, retain)
    if (old === null) return null
    return covered.sequence <= old.sequence ? covered : old
  }

  function schedule(): void {
    if (timer !== null || over) return
    const open = allowed.at(-1)
    if (open === undefined || open.sequence <= trimmedTo) return
    timer = world.setTimer(
      Math.max(purgeEvery, Math.min(holdback, 30_000)),
      () => {
        timer = null
        void purge()
      },
      { background: true },
    )
  }

  async function purge(): Promise<void> {
    const one = due()
    if (one !== null && one.sequence > trimmedTo && !over && (await mayTrim(one))) {
      try {
        await stream.purge(
          init.planted.includes('trim-by-stream-sequence') ? init.names.subjects[0]! : init.subject,
          one.sequence + 1,
          purgeDeadline,
        )
        trimmedTo = one.sequence
      } catch (error) {
        init.log.debug({ subject: init.subject, error: String(error) }, 'the log could not be trimmed; tried again')
      }
    }
    schedule()
  }

  /**
   * A checkpoint that the servers had not synced may be gone by now, and other frames stand at its sequences. Another owner's may be
   * below it: its processor was put back, or is new.
   */
  async function mayTrim({ sequence, marks }: Allowed): Promise<boolean> {
    try {
      return (await init.stillStands(sequence, marks)) && !over
    } catch (error) {
      init.failed(error)
      return false
    }
  }

  return {
    seen(frame) {
      if (retain > 0)
        remember(places, {
          sequence: frame.sequence,
          marks: { [frame.source]: frame.mark },
          since: world.monotonic(),
        })
    },
    note(sequence, marks) {
      const one = { sequence, marks, since: world.monotonic() }
      if (retain > 0 && places.length === 0) remember(places, one)
      remember(allowed, one)
      schedule()
    },
    get trimmedTo() {
      return trimmedTo
    },
    stop() {
      over = true
      timer?.cancel()
    },
  }
}
