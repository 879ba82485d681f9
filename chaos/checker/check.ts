/**
 * The verdict on a run: what a writer's ledger says was committed against what an append-only sink holds, in its order.
 *
 * - lost: a committed (key, counter) that is not in the sink
 * - duplicated: a (key, counter) seen again
 * - reordered: a first appearance below one seen before, or a run of repeats with a hole in it. A replay may begin
 *   anywhere below, any number of times, but then goes on without skipping what it had passed before.
 * - phantom: in the sink and committed by nobody
 * - late: marked as such by Troupe. Where that can be (group mode: an entry that another consumer had taken away), it counts
 *   as present, and its place proves nothing; anywhere else the mark itself is counted as reordered
 *
 * Holds one number per record in memory. Knows nothing of Troupe.
 */
import type { LedgerContents } from '../ledger/format.js'

/** One record of the sink, in the sink's order. */
export interface SinkEntry {
  readonly key: string
  readonly counter: number
  readonly late?: boolean
}

export interface Verdict {
  /** Committed changes in the ledger. */
  readonly events: number
  /** Records in the sink. */
  readonly records: number
  readonly lost: number
  readonly duplicated: number
  readonly reordered: number
  readonly phantom: number
  readonly late: number
  /** The most times that one key was replayed. */
  readonly replays: number
  /** Up to 10 of each kind, for people. */
  readonly examples: readonly string[]
}

const mostExamples = 10

/**
 * Counters that were committed, per key, ascending.
 * @throws Error where an intent has no outcome: settle it first, it may not be dropped
 */
export function committedCounters(ledgers: readonly LedgerContents[]): Map<string, Set<number>> {
  const committed = new Map<string, Set<number>>()
  for (const ledger of ledgers) {
    for (const intent of ledger.intents) {
      const outcome = ledger.outcomes.get(intent.intent)
      if (outcome === undefined)
        throw new Error(`intent ${intent.intent} of lane ${intent.lane} is open: settle it first`)
      if (!outcome) continue
      for (const [key, counter] of intent.changes) {
        const counters = committed.get(key)
        if (counters === undefined) committed.set(key, new Set([counter]))
        else if (counters.has(counter)) throw new Error(`the ledger has ${key} ${counter} twice`)
        else counters.add(counter)
      }
    }
  }
  return committed
}

/** Reads the sink to its end. `ofGroup`: whether a key's entries came through a consumer group; no other can be late. */
export async function check(
  committed: ReadonlyMap<string, ReadonlySet<number>>,
  sink: AsyncIterable<SinkEntry> | Iterable<SinkEntry>,
  ofGroup: (key: string) => boolean = () => false,
): Promise<Verdict> {
  const seen = new Map<string, number[]>()
  const lateOnes = new Map<string, number[]>()
  const notes = createNotes()
  let records = 0
  let phantom = 0
  let late = 0
  let undue = 0
  for await (const { key, counter, late: isLate } of sink) {
    records++
    if (committed.get(key)?.has(counter) !== true) {
      phantom++
      notes.add('phantom', `${key} ${counter}`)
      continue
    }
    const where = isLate === true ? lateOnes : seen
    if (isLate === true) {
      late++
      if (!ofGroup(key)) {
        undue++
        notes.add('reordered', `${key} ${counter} is marked as late, and is not of a consumer group`)
      }
    }
    const counters = where.get(key)
    if (counters === undefined) where.set(key, [counter])
    else counters.push(counter)
  }

  let events = 0
  let lost = 0
  let duplicated = 0
  let reordered = undue
  let replays = 0
  for (const [key, counters] of committed) {
    events += counters.size
    const appeared = seen.get(key) ?? []
    const lateHere = lateOnes.get(key) ?? []
    const distinct = new Set(appeared)
    const present = new Set([...appeared, ...lateHere])
    duplicated += appeared.length + lateHere.length - present.size
    for (const counter of counters) {
      if (present.has(counter)) continue
      lost++
      notes.add('lost', `${key} ${counter}`)
    }
    const order = orderOf(appeared, distinct)
    reordered += order.reordered
    replays = Math.max(replays, order.replays)
    if (order.firstBreach !== null) notes.add('reordered', `${key} ${order.firstBreach}`)
  }
  return { events, records, lost, duplicated, reordered, phantom, late, replays, examples: notes.list() }
}

/** One key: ranks are taken among the counters that appeared at all, so that a loss is not counted as a reorder too. */
function orderOf(appeared: readonly number[], distinct: ReadonlySet<number>) {
  const rank = new Map([...distinct].sort((a, b) => a - b).map((counter, index) => [counter, index]))
  const met = new Set<number>()
  let highest = -1
  let previous = -1
  let reordered = 0
  let replays = 0
  let firstBreach: string | null = null
  for (const counter of appeared) {
    const at = rank.get(counter)!
    const first = !met.has(at)
    met.add(at)
    const late = first && at < highest
    // A first appearance above a hole is no breach by itself: what is missing appears later and is counted as late then.
    const skips = first ? previous < highest && at !== previous + 1 : at > previous + 1
    if (late || skips) {
      reordered++
      firstBreach ??= `${late ? 'first seen after' : 'skips what lies after'} ${previous < 0 ? 'nothing' : nameOf(rank, previous)}, at ${counter}`
    }
    if (!first && at <= previous) replays++
    highest = Math.max(highest, at)
    // One record out of its place is one breach: what follows it is judged as if it had not been there.
    previous = late ? highest : at
  }
  return { reordered, replays, firstBreach }
}

function nameOf(rank: ReadonlyMap<number, number>, wanted: number): number | string {
  for (const [counter, at] of rank) if (at === wanted) return counter
  return '?'
}

function createNotes() {
  const byKind = new Map<string, string[]>()
  return {
    add(kind: string, text: string) {
      const notes = byKind.get(kind) ?? []
      if (notes.length < mostExamples) notes.push(`${kind}: ${text}`)
      byKind.set(kind, notes)
    },
    list: () => [...byKind.values()].flat(),
  }
}
