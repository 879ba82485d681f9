/**
 * A node of the simulated cluster: a World of its own that dies with a crash, stands still while the node is paused
 * (SIGSTOP), and whose wall clock may be wrong. Its monotonic clock goes on during a pause, as it does on Linux.
 *
 * What a paused node had sent goes on without it; what arrives for it waits, and so do its timers. When it wakes, either
 * may come first.
 */
import type { SimulatedWorld } from '../../../src/world/simulated.js'
import type { World } from '../../../src/world/world.js'

/** One incarnation: from a start to a crash. */
export interface Life {
  readonly node: SimulatedNode
  readonly world: World
  readonly dead: boolean
  /** Something comes from outside: now, when the node wakes, or never. Keeps its order. */
  arrive(run: () => void): void
}

export interface SimulatedNode {
  readonly name: string
  readonly life: Life
  readonly paused: boolean
  readonly up: boolean
  /** Until when it cannot reach the broker, on the monotonic clock. */
  cutUntil: number
  crash(): void
  start(): void
  pause(): void
  resume(): void
  /** Moves its wall clock by so many ms. */
  jump(ms: number): void
}

export function createNode(world: SimulatedWorld, name: string): SimulatedNode {
  let skew = 0
  let paused = false
  let up = true
  let arrivals: (() => void)[] = []
  let timers: (() => void)[] = []
  let life: Life & { end(): void }

  function newLife(): Life & { end(): void } {
    let dead = false
    const guarded = (run: () => void, queue: 'arrivals' | 'timers'): void => {
      if (dead) return
      if (!paused) run()
      else if (queue === 'arrivals') arrivals.push(() => guarded(run, queue))
      else timers.push(() => guarded(run, queue))
    }
    return {
      node,
      get dead() {
        return dead
      },
      world: {
        now: () => world.now() + skew,
        monotonic: () => world.monotonic(),
        random: () => world.random(),
        randomBytes: (length) => world.randomBytes(length),
        setTimer(ms, run) {
          let cancelled = false
          const timer = world.setTimer(ms, () =>
            guarded(() => {
              if (!cancelled) run()
            }, 'timers'),
          )
          return {
            cancel() {
              cancelled = true
              timer.cancel()
            },
          }
        },
        defer: (run) => world.defer(() => guarded(run, 'timers')),
      },
      arrive: (run) => guarded(run, 'arrivals'),
      end() {
        dead = true
      },
    }
  }

  const node: SimulatedNode = {
    name,
    get life() {
      return life
    },
    get paused() {
      return paused
    },
    get up() {
      return up
    },
    cutUntil: 0,
    crash() {
      life.end()
      up = false
      paused = false
      arrivals = []
      timers = []
    },
    start() {
      life.end()
      life = newLife()
      up = true
    },
    pause() {
      paused = true
    },
    resume() {
      if (!paused) return
      paused = false
      const first = world.random() < 0.5
      const waiting = first ? [...arrivals, ...timers] : [...timers, ...arrivals]
      arrivals = []
      timers = []
      // Each is a turn of its own, as it would be in the event loop.
      for (const run of waiting) world.setTimer(0, run)
    },
    jump(ms) {
      skew += ms
    },
  }
  life = newLife()
  return node
}
