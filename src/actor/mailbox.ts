/**
 * The queue of one actor: two lanes, system before user.
 *
 * The user lane is bounded by `capacity`. The system lane needs no number: it holds at most one entry for each thing
 * that the actor itself asked for (a watch, a timer key, a child).
 */
import type { Down, MailboxSpec } from './actor.js'

export const DEFAULT_CAPACITY = 1024

/** What the kernel tells an actor. A `timer` is void once its key was cancelled or set again. */
export type SystemMessage =
  | { readonly type: 'down'; readonly down: Down; readonly token: string | null }
  | { readonly type: 'timer'; readonly key: string; readonly message: unknown }

/** A first-in first-out queue in one array that doubles when it is full. */
export class Ring<T> {
  #items: (T | undefined)[] = new Array(8).fill(undefined)
  #head = 0
  size = 0

  push(item: T): void {
    if (this.size === this.#items.length) this.#grow()
    this.#items[(this.#head + this.size) & (this.#items.length - 1)] = item
    this.size++
  }

  /** The oldest item; undefined when empty, so look at `size` first where undefined is an item. */
  shift(): T | undefined {
    if (this.size === 0) return undefined
    const item = this.#items[this.#head]
    this.#items[this.#head] = undefined
    this.#head = (this.#head + 1) & (this.#items.length - 1)
    this.size--
    return item
  }

  #grow(): void {
    const items: (T | undefined)[] = new Array(this.#items.length * 2).fill(undefined)
    for (let i = 0; i < this.size; i++) items[i] = this.#items[(this.#head + i) & (this.#items.length - 1)]
    this.#items = items
    this.#head = 0
  }
}

export class Mailbox {
  readonly system = new Ring<SystemMessage>()
  readonly user = new Ring<unknown>()
  readonly capacity: number
  readonly full: 'drop' | 'fail'

  constructor(spec: MailboxSpec | undefined) {
    this.capacity = spec?.capacity ?? DEFAULT_CAPACITY
    this.full = spec?.full ?? 'drop'
  }

  /** False when the user lane is full. */
  offer(message: unknown): boolean {
    if (this.user.size >= this.capacity) return false
    this.user.push(message)
    return true
  }

  get size(): number {
    return this.user.size + this.system.size
  }
}
