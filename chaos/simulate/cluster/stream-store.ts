/**
 * What the simulated broker has stored: one log of messages by sequence and subject, with rollups, purges and expected
 * sequences, and with a memory of every step, so that the steps that no disk had can be forgotten: their messages are gone, what
 * they removed is there again, and their sequences are used a second time. A purge may have reached the disk before the
 * messages that were stored earlier: then what it removed stays away.
 */
import type { StoredMessage, StreamMessage } from '../../../src/log/jetstream/port.js'
import type { SimulatedWorld } from '../../../src/world/simulated.js'

export interface Stored {
  readonly message: StoredMessage
  /** On the monotonic clock. */
  readonly at: number
  removedAt: number
}

interface Step {
  readonly at: number
  readonly added: readonly Stored[]
  readonly removed: readonly Stored[]
}

/** Told of every change of the store, at once: the checker. */
export interface StoreObserver {
  stored(messages: readonly Stored[]): void
  /** Forgotten by the broker, newest first. */
  lost(messages: readonly Stored[]): void
  purged(messages: readonly Stored[]): void
}

export interface StreamStore {
  readonly lastSequence: number
  /** Gives the sequence of the last message; null where an expected sequence is not the last one. */
  append(messages: readonly StreamMessage[]): number | null
  purge(subject: string, keep: number): void
  /** Forgets up to `most` of the last steps, none of them at or before `since`. Gives the number of messages lost. */
  forget(most: number, since: number): number
  /** The last message of a subject, as it was at that time. */
  last(subject: string, at?: number): StoredMessage | null
  /** The message that stands at a sequence. */
  at(sequence: number): StoredMessage | null
  /** Messages of exactly this subject from a sequence on. */
  from(subject: string, sequence: number, most: number): StoredMessage[]
  subjects(filter: string): string[]
  bytes(): number
  count(): number
}

export function createStreamStore(world: SimulatedWorld, observer: StoreObserver): StreamStore {
  const bySubject = new Map<string, Stored[]>()
  const bySequence = new Map<number, Stored>()
  /** Subjects and sequences of what was forgotten. */
  const lostPlaces = new Set<string>()
  const steps: Step[] = []
  let lastSequence = 0

  function lastOf(subject: string, at = Number.POSITIVE_INFINITY): Stored | undefined {
    const list = bySubject.get(subject)
    if (list === undefined) return undefined
    for (let index = list.length - 1; index >= 0; index--) {
      const one = list[index]!
      if (one.at <= at && one.removedAt > Math.min(at, Number.MAX_VALUE)) return one
    }
    return undefined
  }

  function place(message: StreamMessage, at: number, removed: Stored[]): Stored {
    const { subject, payload, headers = {} } = message
    let list = bySubject.get(subject)
    if (list === undefined) {
      list = []
      bySubject.set(subject, list)
    }
    if (message.rollup === true)
      for (const old of list)
        if (old.removedAt === Number.POSITIVE_INFINITY) {
          old.removedAt = at
          removed.push(old)
        }
    const stored: Stored = {
      message: { subject, sequence: ++lastSequence, payload, headers, storedAt: world.now() },
      at,
      removedAt: Number.POSITIVE_INFINITY,
    }
    list.push(stored)
    bySequence.set(lastSequence, stored)
    return stored
  }

  /**
   * A known hole, and closed here: where a tail was lost, somebody else's checkpoint may come to stand at the very sequence
   * that a lost one had, and whoever still expects that one is not refused. docs/cluster.md says so.
   */
  function skipForged(messages: readonly StreamMessage[]): void {
    while (messages.some(({ subject }, index) => lostPlaces.has(`${subject}@${lastSequence + 1 + index}`)))
      lastSequence++
  }

  return {
    get lastSequence() {
      return lastSequence
    },
    append(messages) {
      for (const { subject, expect } of messages)
        if (expect !== undefined && (lastOf(subject)?.message.sequence ?? 0) !== expect) return null
      const at = world.monotonic()
      const removed: Stored[] = []
      skipForged(messages)
      const added = messages.map((message) => place(message, at, removed))
      steps.push({ at, added, removed })
      observer.stored(added)
      return lastSequence
    },
    purge(filter, keep) {
      const at = world.monotonic()
      const removed: Stored[] = []
      for (const [subject, list] of bySubject) {
        if (!matches(filter, subject)) continue
        for (const one of list) {
          if (one.message.sequence >= keep) break
          if (one.removedAt !== Number.POSITIVE_INFINITY) continue
          one.removedAt = at
          removed.push(one)
        }
      }
      if (removed.length === 0) return
      steps.push({ at, added: [], removed })
      observer.purged(removed)
    },
    forget(most, since) {
      const lost: Stored[] = []
      for (let count = 0; count < most && steps.length > 0 && steps.at(-1)!.at > since; count++) {
        const step = steps.pop()!
        const isPurge = step.added.length === 0
        if (!isPurge || world.random() < 0.5) for (const one of step.removed) one.removedAt = Number.POSITIVE_INFINITY
        for (const one of [...step.added].reverse()) {
          bySubject.get(one.message.subject)!.pop()
          lastSequence = one.message.sequence - 1
          bySequence.delete(one.message.sequence)
          if (one.message.subject.includes('.ck.')) lostPlaces.add(`${one.message.subject}@${one.message.sequence}`)
          lost.push(one)
        }
      }
      if (lost.length > 0) observer.lost(lost)
      return lost.length
    },
    last: (subject, at) => lastOf(subject, at)?.message ?? null,
    at(sequence) {
      const found = bySequence.get(sequence)
      return found === undefined || found.removedAt !== Number.POSITIVE_INFINITY ? null : found.message
    },
    from(subject, sequence, most) {
      const found: StoredMessage[] = []
      const list = bySubject.get(subject) ?? []
      let index = list.length
      while (index > 0 && list[index - 1]!.message.sequence >= sequence) index--
      for (; index < list.length && found.length < most; index++)
        if (list[index]!.removedAt === Number.POSITIVE_INFINITY) found.push(list[index]!.message)
      return found
    },
    subjects: (filter) =>
      [...bySubject.keys()].filter((subject) => matches(filter, subject) && lastOf(subject) !== undefined),
    bytes() {
      let bytes = 0
      for (const list of bySubject.values())
        for (const one of list) if (one.removedAt === Number.POSITIVE_INFINITY) bytes += one.message.payload.length + 64
      return bytes
    },
    count() {
      let count = 0
      for (const list of bySubject.values())
        for (const one of list) if (one.removedAt === Number.POSITIVE_INFINITY) count++
      return count
    },
  }
}

/** NATS wildcards: `*` is one token, `>` the rest. */
function matches(filter: string, subject: string): boolean {
  if (filter === subject) return true
  const wanted = filter.split('.')
  const tokens = subject.split('.')
  for (const [index, token] of wanted.entries()) {
    if (token === '>') return tokens.length > index
    if (token !== '*' && token !== tokens[index]) return false
  }
  return wanted.length === tokens.length
}
