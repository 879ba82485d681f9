/**
 * The way between two threads, as one of them sees it.
 *
 * What is posted in one turn of the event loop travels in one batch, in order. At most `LINK_CAPACITY` messages are on
 * the way out: user messages beyond are refused, the kernel's own always pass (they are bounded by what they speak of).
 */
import type { World } from '../../world/world.js'

export const LINK_CAPACITY = 65_536
/** A batch of this size goes at once. */
const BATCH = 512
/** The receiver says what it took with its next batch, at the latest after so many. */
const OWED = 4_096

export interface Batch<T> {
  /** So many of the receiver's own messages have arrived here since the last batch. */
  readonly taken: number
  readonly messages: readonly T[]
}

export interface Link<T> {
  post(message: T): void
  /** A user message; false when the link is full. */
  offer(message: T): boolean
  /** A batch has come from the other side. */
  received(batch: Batch<unknown>): void
  close(): void
}

export interface LinkPort<T> {
  /** @throws when something in the batch cannot be cloned */
  send(batch: Batch<T>): void
  /** This message cannot be cloned, so it was left out. */
  unsendable(message: T, error: Error): void
}

export function createLink<T>(world: World, port: LinkPort<T>): Link<T> {
  let messages: T[] = []
  let onTheWay = 0
  let owed = 0
  let scheduled = false
  let closed = false

  function flush(): void {
    scheduled = false
    if (closed || (messages.length === 0 && owed < OWED)) return
    const sending = messages
    const taken = owed
    messages = []
    owed = 0
    try {
      port.send({ taken, messages: sending })
    } catch {
      // One bad message must not take its neighbours along.
      if (taken > 0) port.send({ taken, messages: [] })
      for (const message of sending) sendAlone(message)
    }
  }

  function sendAlone(message: T): void {
    try {
      port.send({ taken: 0, messages: [message] })
    } catch (error) {
      onTheWay--
      port.unsendable(message, error as Error)
    }
  }

  function schedule(): void {
    if (scheduled) return
    scheduled = true
    world.defer(flush)
  }

  function post(message: T): void {
    if (closed) return
    onTheWay++
    messages.push(message)
    if (messages.length >= BATCH) flush()
    else schedule()
  }

  return {
    post,
    offer(message) {
      if (closed || onTheWay >= LINK_CAPACITY) return false
      post(message)
      return true
    },
    received(batch) {
      onTheWay -= batch.taken
      owed += batch.messages.length
      if (owed >= OWED) schedule()
    },
    close() {
      closed = true
      messages = []
    },
  }
}
