/**
 * Whether the stream that we find is the one that we left: the epoch rule and the measure of what was trimmed.
 *
 * Pure: takes what Redis says of itself and what our state remembers, gives a verdict. docs/redis-streams.md, "What may be lost".
 */
import { compareIds, type EntryId, isZero } from './entry-id.js'

/** What XINFO STREAM and INFO replication said, at one moment. */
export interface StreamFacts {
  readonly exists: boolean
  readonly length: number
  /** Highest id ever given; 0-0 for a stream that is not there. */
  readonly lastGenerated: EntryId
  /** Entries ever added; null below Redis 7. */
  readonly entriesAdded: number | null
  /** Highest id that XDEL removed; null below Redis 7. */
  readonly maxDeleted: EntryId | null
  readonly first: EntryId | null
}

export interface ReplicationFacts {
  readonly id: string
  /** The history that this server took over from, as after a failover; null if none. */
  readonly secondId: string | null
}

/** What our state remembers of a lane. */
export interface LaneMemory {
  readonly epoch: bigint
  readonly id: EntryId
  /** Hash of the entry at `id`; null where we never read one (we began at the stream's end). */
  readonly hash: number | null
  /** Entries added up to `id`, as far as we know. */
  readonly added: number | null
}

/** The entry at our position, as it is now: its hash, or that it is not there. */
export type EntryNow = { readonly found: true; readonly hash: number } | { readonly found: false }

export type Continuity = { readonly same: true } | { readonly same: false; readonly why: string }

/**
 * Stricter than the replication id alone where that id changed: a failover may have rolled back what we read, and other
 * entries may stand in its place.
 */
export function continuityOf(
  memory: LaneMemory,
  stored: string,
  replication: ReplicationFacts,
  facts: StreamFacts,
  entry: EntryNow,
): Continuity {
  const broken = (why: string): Continuity => ({ same: false, why })
  if (isZero(memory.id)) return { same: true }
  if (compareIds(facts.lastGenerated, memory.id) < 0)
    return broken(facts.exists ? 'its last id lies before our position' : 'the stream is gone')
  if (entry.found && memory.hash !== null && entry.hash !== memory.hash)
    return broken('another entry stands at our position')
  if (facts.entriesAdded !== null && memory.added !== null && facts.entriesAdded < memory.added)
    return broken('fewer entries were ever added than we had read')
  if (replication.id === stored || entry.found) return { same: true }
  // Another replication id, and our entry is not there: only trimming or XDEL explains that.
  if (facts.first === null || compareIds(memory.id, facts.first) < 0) {
    if (facts.entriesAdded !== null || replication.secondId === stored) return { same: true }
    return broken('the replication id changed and nothing shows that the history is the same')
  }
  if (facts.maxDeleted !== null && compareIds(memory.id, facts.maxDeleted) <= 0) return { same: true }
  return broken('the replication id changed and the entry at our position is not there')
}

/**
 * How many entries behind our position were removed before we read them: 0 for none, null where some may have been and
 * the number cannot be known.
 */
export function trimmedBehind(memory: Pick<LaneMemory, 'id' | 'added'>, facts: StreamFacts): number | null {
  if (compareIds(facts.lastGenerated, memory.id) <= 0) return 0
  if (facts.first !== null && compareIds(facts.first, memory.id) <= 0) return 0
  if (facts.entriesAdded === null || memory.added === null) return isZero(memory.id) ? 0 : null
  return Math.max(0, facts.entriesAdded - facts.length - memory.added)
}

/** No epoch is ever used twice, not even after our store lost its tail. */
export function nextEpoch(stored: bigint, nowMs: number): bigint {
  const seconds = BigInt(Math.floor(nowMs / 1000))
  return stored + 1n > seconds ? stored + 1n : seconds
}
