/**
 * A World in which nothing happens by chance: a virtual clock, a seeded random, timers and turns in one queue.
 *
 * Promises: the same seed and the same program give the same run. Timers fire by due time, those of one time in the
 * order of their setting. Time passes only between events, so a thousand virtual hours cost what their events cost.
 * Does not make I/O deterministic: under this World there is none.
 */
import { TroupeError } from './error.js'
import type { Timer, World } from './world.js'

export interface SimulatedWorld extends World {
  readonly seed: number
  /** Events that have run so far. */
  readonly steps: number
  /**
   * Runs events until `done` says so, checked after each, or until nothing is left.
   * @param limit most events; default 200,000
   * @returns whether `done` was reached
   * @throws TroupeError `simulation-endless` at the limit
   */
  run(done: () => boolean, limit?: number): Promise<boolean>
  /** A whole number in [0, bound). */
  pick(bound: number): number
}

/** Where virtual time begins: 2026-01-01T00:00:00Z. */
const EPOCH_MS = 1_767_225_600_000
const DEFAULT_LIMIT = 200_000

interface Event {
  readonly due: number
  readonly order: number
  run: (() => void) | undefined
}

export function simulatedWorld(seed: number): SimulatedWorld {
  const random = seededRandom(seed)
  const queue = eventQueue()
  let clock = 0
  let order = 0
  let steps = 0

  function at(due: number, run: () => void): Timer {
    const event: Event = { due, order: order++, run }
    queue.push(event)
    return {
      cancel() {
        event.run = undefined
      },
    }
  }

  return {
    seed,
    get steps() {
      return steps
    },
    now: () => EPOCH_MS + Math.floor(clock),
    monotonic: () => clock,
    random,
    pick: (bound) => Math.floor(random() * bound),
    randomBytes(length) {
      const bytes = new Uint8Array(length)
      for (let i = 0; i < length; i++) bytes[i] = Math.floor(random() * 256)
      return bytes
    },
    setTimer: (ms, run) => at(clock + Math.max(0, ms), run),
    defer(run) {
      at(clock, run)
    },
    run(done, limit = DEFAULT_LIMIT) {
      const end = steps + limit
      /** Runs the next event, unless this is the end; gives how it ended. */
      function step(): boolean | null {
        if (done()) return true
        let event = queue.pop()
        while (event !== undefined && event.run === undefined) event = queue.pop()
        if (event === undefined) return false
        if (++steps > end)
          throw new TroupeError({
            code: 'simulation-endless',
            message: `seed ${seed}: not done after ${limit} events, at ${clock} ms`,
            remedy: 'something keeps itself busy; replay the seed',
          })
        clock = event.due
        event.run!()
        return null
      }
      return new Promise((resolve, reject) => {
        const next = (): void => {
          try {
            const ended = step()
            if (ended === null) settle(steps, next)
            else resolve(ended)
          } catch (error) {
            reject(error)
          }
        }
        settle(steps, next)
      })
    },
  }
}

/** Turns after which real I/O gets a chance, for whoever still loads a module. */
const BREATH = 1_024

const soon = Promise.resolve()

/**
 * Lets promises run until none is left, then goes on: a tick that is asked for from a microtask is served only when no
 * microtask waits (one that is asked for from a tick comes before them).
 */
function settle(steps: number, next: () => void): void {
  if (steps % BREATH === 0) setImmediate(next)
  else void soon.then(() => process.nextTick(next))
}

/** mulberry32: small, quick, and good enough to shuffle events. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** A binary heap by due time, then by order. */
function eventQueue(): { push(event: Event): void; pop(): Event | undefined } {
  const heap: Event[] = []
  const before = (a: Event, b: Event): boolean => a.due < b.due || (a.due === b.due && a.order < b.order)
  return {
    push(event) {
      let at = heap.push(event) - 1
      while (at > 0) {
        const parent = (at - 1) >> 1
        if (before(heap[parent]!, event)) break
        heap[at] = heap[parent]!
        at = parent
      }
      heap[at] = event
    },
    pop() {
      const first = heap[0]
      const last = heap.pop()
      if (first === undefined || last === undefined || heap.length === 0) return first
      let at = 0
      for (;;) {
        let child = at * 2 + 1
        if (child >= heap.length) break
        if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
        if (!before(heap[child]!, last)) break
        heap[at] = heap[child]!
        at = child
      }
      heap[at] = last
      return first
    },
  }
}
