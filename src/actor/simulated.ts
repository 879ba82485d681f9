/**
 * An actor system under a simulated World: the same kernel, cells, supervisors and protocol between threads, with
 * threads that are kernels in this process.
 *
 * Messages between two actors keep their order; between others they overtake each other by random delays, and so do
 * the batches of different threads. What crosses a "thread" is cloned, as between real ones.
 */
import type { Logger } from '../world/logger.js'
import type { SimulatedWorld } from '../world/simulated.js'
import { Counters } from './counters.js'
import { type Delay, Kernel } from './kernel.js'
import type { NodeOptions } from './node/link.js'
import type { Planted } from './supervision.js'
import { type MortalSystem, systemOn } from './system.js'
import type { RunningThread, ThreadDriver } from './thread/driver.js'
import type { Batch } from './thread/link.js'
import { threadLogger } from './thread/thread-logger.js'
import type { ToHost } from './thread/to-host.js'
import type { ToThread } from './thread/to-thread.js'
import { createUplink, type Uplink } from './thread/uplink.js'

export interface SimulatedOptions {
  readonly world: SimulatedWorld
  readonly log: Logger
  /** Longest delay of a message, ms of virtual time; default 5. */
  readonly maxDelayMs?: number
  readonly planted?: readonly Planted[]
  /** Makes it one of several systems, over a simulated network. */
  readonly node?: NodeOptions
}

export function createSimulatedSystem(options: SimulatedOptions): MortalSystem {
  const { world, log, maxDelayMs = 5, planted = [], node } = options
  const delay = orderedDelay(world, maxDelayMs)
  return systemOn(simulatedThreads(options, delay), {
    world,
    log,
    delay,
    planted,
    ...(node === undefined ? {} : { node }),
  })
}

/** Random delays that keep the order of each pair. */
function orderedDelay(world: SimulatedWorld, maxDelayMs: number): Delay {
  const last = new Map<string, number>()
  return (from, to, run) => {
    const pair = `${from}>${to}`
    // A step that no rounding can swallow keeps the second of a pair behind the first.
    const due = Math.max(world.monotonic() + world.random() * maxDelayMs, (last.get(pair) ?? 0) + 0.001)
    last.set(pair, due)
    world.setTimer(due - world.monotonic(), run)
  }
}

function simulatedThreads(options: SimulatedOptions, delay: Delay): ThreadDriver {
  const { world, planted = [] } = options
  return {
    start(birth, events): RunningThread {
      let dead = false
      let uplink: Uplink | undefined
      const kernel = new Kernel({
        thread: birth.thread,
        origin: birth.origin,
        world,
        log: threadLogger(() => uplink),
        counters: new Counters(birth.counters),
        delay,
        planted,
        ...(birth.identity === undefined ? {} : { identity: birth.identity }),
      })
      const up = (batch: Batch<ToHost>): void => {
        const copy = cloned(batch)
        delay(birth.origin, 'host', () => {
          if (!dead) events.received(copy)
        })
      }
      uplink = createUplink(kernel, up)
      kernel.elsewhere = uplink
      return {
        post(batch: Batch<ToThread>) {
          const copy = cloned(batch)
          delay('host', birth.origin, () => {
            if (!kernel.halted) uplink.receive(copy)
          })
        },
        terminate(detail) {
          if (kernel.halted) return
          kernel.halt()
          // What it had sent may still arrive; its death comes after.
          delay(birth.origin, 'host', () => {
            dead = true
            events.died(detail)
          })
        },
      }
    },
  }
}

/** Structured clone's rules at a fraction of its price: plain data by hand, shared memory shared, the rest by the real one. */
function cloned<T>(value: T): T {
  if (typeof value === 'function' || typeof value === 'symbol') return structuredClone(value)
  if (typeof value !== 'object' || value === null || value instanceof SharedArrayBuffer) return value
  if (Array.isArray(value)) return value.map(cloned) as T
  if (Object.getPrototypeOf(value) !== Object.prototype) return structuredClone(value)
  const copy: Record<string, unknown> = {}
  for (const key of Object.keys(value)) copy[key] = cloned((value as Record<string, unknown>)[key])
  return copy as T
}
