/**
 * Removes from the stream what every processor of a partition has finished: by subject, never by sequence alone, a
 * holdback after the checkpoint that allows it, and where a replay window is asked for, when the window has passed.
 */
import type { Logger } from '../../world/logger.js'
import type { Timer, World } from '../../world/world.js'
import type { StreamNames } from './names.js'
import type { ArrivedFrame } from './parcel.js'
import type { StreamPort } from './port.js'

export interface TrimInit {
  readonly world: World
  readonly log: Logger
  readonly stream: StreamPort
  readonly names: StreamNames
  /** The frames of one partition. */
  readonly subject: string
  readonly holdback: number
  readonly retain: number
  /** Whether the checkpoints of this owner still stand. Rejects where they do not. */
  readonly stillStands: () => Promise<boolean>
  readonly failed: (error: unknown) => void
  readonly planted: readonly string[]
}

export interface Trim {
  /** A frame was finished; with a replay window its age is remembered. */
  seen(frame: ArrivedFrame): void
  /** Everything up to `sequence` is covered by checkpoints that are stored now. */
  note(sequence: number): void
  readonly trimmedTo: number
  stop(): void
}

interface Allowed {
  readonly sequence: number
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
  let allowed: Allowed[] = []
  let places: Allowed[] = []
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

  function due(): number {
    const now = world.monotonic()
    let sequence = 0
    let count = 0
    while (count < allowed.length && allowed[count]!.since + holdback <= now) sequence = allowed[count++]!.sequence
    if (count > 1) allowed = allowed.slice(count - 1)
    if (retain === 0) return sequence
    let old = 0
    count = 0
    while (count < places.length && places[count]!.since + retain <= now) old = places[count++]!.sequence
    if (count > 1) places = places.slice(count - 1)
    return Math.min(sequence, old)
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
    const sequence = due()
    if (sequence > trimmedTo && !over && (await mayTrim())) {
      try {
        await stream.purge(
          init.planted.includes('trim-by-stream-sequence') ? init.names.subjects[0]! : init.subject,
          sequence + 1,
          purgeDeadline,
        )
        trimmedTo = sequence
      } catch (error) {
        init.log.debug({ subject: init.subject, error: String(error) }, 'the log could not be trimmed; tried again')
      }
    }
    schedule()
  }

  /** A checkpoint that the servers had not synced may be gone by now, and other frames stand at its sequences. */
  async function mayTrim(): Promise<boolean> {
    if (holdback === 0) return true
    try {
      return (await init.stillStands()) && !over
    } catch (error) {
      init.failed(error)
      return false
    }
  }

  return {
    seen(frame) {
      if (retain > 0) remember(places, { sequence: frame.sequence, since: world.monotonic() })
    },
    note(sequence) {
      if (retain > 0 && places.length === 0) remember(places, { sequence, since: world.monotonic() })
      remember(allowed, { sequence, since: world.monotonic() })
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
