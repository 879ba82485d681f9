/**
 * The entries of a group that this reader has appended and not yet acknowledged: what arrives again and is among them is
 * dropped. By id, never by "at or below": entries of a dead reader arrive after their successors.
 *
 * Kept as the obligations themselves, some two bytes an id; looked into only when an id comes that is not new, for which
 * a set is made and kept while an exchange of claims goes on. Bounded by the log's credits, in a cluster by what may wait for
 * its holdback, and by what is acknowledged during one exchange.
 */
import type { EntryId } from './entry-id.js'
import { type KnownIds, knownIds } from './known-ids.js'
import { countReceipt, receiptBuilder, visitReceipt } from './receipts.js'

export interface Unfinished {
  readonly pending: number
  add(stream: number, id: EntryId): void
  has(stream: string, id: EntryId): boolean
  /** Entries of this stream; cheap. */
  count(stream: string): number
  /** The ids since the last call, now part of an append. */
  take(): Uint8Array | null
  /** The oldest `count` appends are confirmed and about to be acknowledged. */
  confirmed(count: number): void
  /** The oldest `count` confirmed ones are acknowledged. */
  acknowledged(count: number): void
  /** While `run` is under way what is acknowledged is still known: an entry may have been claimed just before. */
  during<T>(run: () => Promise<T>): Promise<T>
}

/** @param outstanding obligations of appends that the log still holds from before this reader */
export function unfinished(streams: readonly string[], outstanding: readonly Uint8Array[]): Unfinished {
  const builder = receiptBuilder(streams)
  const appended: Uint8Array[] = [...outstanding]
  const confirmed: Uint8Array[] = []
  /** Acknowledged while an exchange was under way: what it brings may have been claimed before. */
  let retained: Uint8Array[] = []
  let known: KnownIds | null = null
  let exchanges = 0

  function look(): KnownIds {
    if (known !== null) return known
    const set = knownIds()
    const { add } = set
    for (const receipt of retained) visitReceipt(receipt, add)
    for (const receipt of confirmed) visitReceipt(receipt, add)
    for (const receipt of appended) visitReceipt(receipt, add)
    builder.visit(add)
    known = set
    return set
  }

  return {
    get pending() {
      return builder.count
    },
    count(stream) {
      let sum = builder.countOf(streams.indexOf(stream))
      const add = (name: string, count: number) => {
        if (name === stream) sum += count
      }
      for (const receipt of appended) countReceipt(receipt, add)
      for (const receipt of confirmed) countReceipt(receipt, add)
      return sum
    },
    add(stream, id) {
      builder.add(stream, id)
      known?.add(streams[stream]!, id)
    },
    has: (stream, id) => look().has(stream, id),
    take() {
      const bytes = builder.take()
      if (bytes !== null) appended.push(bytes)
      return bytes
    },
    confirmed(count) {
      confirmed.push(...appended.splice(0, count))
    },
    acknowledged(count) {
      const gone = confirmed.splice(0, count)
      if (exchanges > 0) retained.push(...gone)
      else known = null
    },
    async during(run) {
      exchanges++
      try {
        return await run()
      } finally {
        if (--exchanges === 0) {
          known = null
          retained = []
        }
      }
    },
  }
}
