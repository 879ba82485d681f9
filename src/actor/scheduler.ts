/**
 * Gives actors of one thread their turns.
 *
 * A cell with mail waits here; it handles a small batch and goes to the back. All cells together get a slice of the
 * event loop's turn, bounded in messages and in time; then I/O has its turn (`world.defer`). Work begins in a
 * microtask, so a message told from a socket's callback is handled before the loop goes on.
 */
import type { World } from '../world/world.js'
import { Ring } from './mailbox.js'

/** Messages that one actor handles before the next actor's turn. */
export const BATCH = 64
/** Messages that all actors handle before I/O gets its turn. */
export const SLICE = 4096
/** The same in milliseconds, looked at after each batch. */
export const SLICE_MS = 4

export interface Runnable {
  /** True while it waits in the scheduler; the scheduler's own mark. */
  queued: boolean
  /** Handles up to `limit` messages and says how many. */
  run(limit: number): number
  readonly runnable: boolean
}

export class Scheduler {
  readonly #world: World
  readonly #queue = new Ring<Runnable>()
  #slice = 0
  #until = 0
  #inTurn = false
  #awake = false

  constructor(world: World) {
    this.#world = world
  }

  schedule(cell: Runnable): void {
    if (cell.queued) return
    cell.queued = true
    this.#queue.push(cell)
    if (!this.#awake) this.#wake()
  }

  #wake(): void {
    if (!this.#inTurn) {
      this.#inTurn = true
      this.#slice = SLICE
      this.#until = this.#world.monotonic() + SLICE_MS
      this.#world.defer(this.#nextTurn)
    }
    if (this.#slice <= 0) return
    this.#awake = true
    queueMicrotask(this.#drain)
  }

  readonly #drain = (): void => {
    while (this.#slice > 0) {
      const cell = this.#queue.shift()
      if (cell === undefined) break
      cell.queued = false
      this.#slice -= Math.max(1, cell.run(Math.min(BATCH, this.#slice)))
      if (cell.runnable) this.schedule(cell)
      if (this.#world.monotonic() > this.#until) this.#slice = 0
    }
    this.#awake = false
  }

  readonly #nextTurn = (): void => {
    this.#inTurn = false
    if (this.#queue.size > 0) this.#wake()
  }
}
