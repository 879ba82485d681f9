/**
 * What is stored and not yet told to the source: each state waits a holdback, and then until a read has shown that it stands.
 *
 * What was acknowledged may have been lost since, and an idle reader would not notice. States that were stored closely one
 * after the other are told as one, so that what waits is bounded however busy the reader is.
 */
import type { Obligation, ReaderState } from '../../checkpoint/checkpoint.js'
import type { Timer, World } from '../../world/world.js'

export interface HoldbackInit {
  readonly world: World
  /** ms; 0: what is stored is told at once. */
  readonly holdback: number
  /** Whether the last commit still stands; false where nobody answered. Rejects where this owner is over. */
  readonly stillStands: () => Promise<boolean>
  readonly confirm: (state: ReaderState, receipts: readonly Obligation[]) => void
  readonly failed: (error: unknown) => void
}

export interface Holdback {
  /** Found at a takeover: how long ago it was stored nobody can tell by a clock of his own. Told later than this call, in any case. */
  find(state: ReaderState, receipts: readonly Obligation[]): void
  /** Stored now. */
  hold(state: ReaderState, receipts: readonly Obligation[]): void
  stop(): void
  /** States that wait, and ms for which the oldest has. */
  figures(): { readonly heldBack: number; readonly heldBackMs: number }
}

interface Held {
  readonly since: number
  storedAt: number
  state: ReaderState
  readonly receipts: Obligation[]
}

/** Steps in which a holdback is told: as many states wait at most, and one more. */
const mostSteps = 1_000

export function createHoldback(init: HoldbackInit): Holdback {
  const { world, holdback } = init
  const held: Held[] = []
  let timer: Timer | null = null
  let over = false

  function schedule(): void {
    if (timer !== null || over || held.length === 0) return
    const due = Math.max(0, held[0]!.storedAt + holdback - world.monotonic())
    // Many appends a second share one confirmation.
    timer = world.setTimer(Math.max(due, Math.min(1_000, holdback / 20)), () => {
      timer = null
      confirmDue().then(schedule, init.failed)
    })
  }

  async function confirmDue(): Promise<void> {
    const until = world.monotonic() - holdback
    if (holdback > 0 && !(await init.stillStands())) return
    if (!over) confirm(until)
  }

  function confirm(until: number): void {
    let count = 0
    while (count < held.length && held[count]!.storedAt <= until) count++
    if (count === 0) return
    const gone = held.splice(0, count)
    init.confirm(
      gone.at(-1)!.state,
      gone.flatMap(({ receipts }) => receipts),
    )
  }

  return {
    find(state, receipts) {
      const now = world.monotonic()
      held.push({ since: now, storedAt: now, state, receipts: [...receipts] })
      schedule()
    },
    hold(state, receipts) {
      const storedAt = world.monotonic()
      const last = held.at(-1)
      if (last !== undefined && storedAt - last.since < holdback / mostSteps) {
        last.storedAt = storedAt
        last.state = state
        last.receipts.push(...receipts)
      } else held.push({ since: storedAt, storedAt, state, receipts: [...receipts] })
      if (holdback === 0) confirm(storedAt)
      else schedule()
    },
    stop() {
      over = true
      timer?.cancel()
    },
    figures: () => ({
      heldBack: held.length,
      heldBackMs: held.length === 0 ? 0 : Math.round(world.monotonic() - held[0]!.storedAt),
    }),
  }
}
