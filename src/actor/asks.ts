/**
 * Questions that wait for an answer, on the thread of those who asked. Bounded by their deadlines: none waits for ever.
 */
import type { Timer, World } from '../world/world.js'
import { askTimeout } from './failure.js'

export type Outcome = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly error: Error }

/** A message in a mailbox whose sender waits for the answer. `origin` names the sender's thread. */
export class Asked {
  readonly message: unknown
  readonly origin: string
  readonly id: number

  constructor(message: unknown, origin: string, id: number) {
    this.message = message
    this.origin = origin
    this.id = id
  }
}

/**
 * A message that came from another node and has not been checked yet; a question or not (`id` 0: nobody waits). It is
 * an `Asked` so that a message of this thread costs no more than before.
 */
export class Foreign extends Asked {
  /** The node that it came from. */
  readonly node: string

  constructor(message: unknown, origin: string, id: number, node: string) {
    super(message, origin, id)
    this.node = node
  }
}

/** A message as it goes into a mailbox: told or asked, from this system or from another node. */
export function arrived(
  message: unknown,
  ask: { readonly origin: string; readonly id: number } | undefined,
  from: { readonly node: string; readonly origin: string } | undefined,
): unknown {
  if (from !== undefined) return new Foreign(message, ask?.origin ?? from.origin, ask?.id ?? 0, from.node)
  return ask === undefined ? message : new Asked(message, ask.origin, ask.id)
}

interface Pending {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
  readonly timer: Timer
}

export class Asks {
  readonly #world: World
  readonly #pending = new Map<number, Pending>()
  #next = 1

  constructor(world: World) {
    this.#world = world
  }

  /** Opens a question; `onTimeout` tells whoever keeps a record of it elsewhere. */
  open(path: string, deadlineMs: number, onTimeout: (id: number) => void): { id: number; answer: Promise<unknown> } {
    const id = this.#next++
    const answer = new Promise<unknown>((resolve, reject) => {
      const timer = this.#world.setTimer(deadlineMs, () => {
        if (!this.#pending.delete(id)) return
        reject(askTimeout(path, deadlineMs))
        onTimeout(id)
      })
      this.#pending.set(id, { resolve, reject, timer })
    })
    return { id, answer }
  }

  /** The first answer counts; one that comes after the deadline is dropped. */
  settle(id: number, outcome: Outcome): void {
    const pending = this.#pending.get(id)
    if (pending === undefined) return
    this.#pending.delete(id)
    pending.timer.cancel()
    if (outcome.ok) pending.resolve(outcome.value)
    else pending.reject(outcome.error)
  }

  get size(): number {
    return this.#pending.size
  }

  /** Forgets all without an answer: their thread is gone. */
  drop(): void {
    for (const pending of this.#pending.values()) pending.timer.cancel()
    this.#pending.clear()
  }
}
