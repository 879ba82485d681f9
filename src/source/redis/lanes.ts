/**
 * The lanes of one reader: each stream's place, and the way of its entries from a reply into the output.
 *
 * A flush happens inside `record`, behind the record that filled its frame. So a lane's mark moves before `record` is
 * called: the mark that the flush asks for covers exactly what it carries.
 */
import { blankHead, type RecordHead } from '../../event/frame.js'
import { hashBytes } from '../../event/hash.js'
import { operationOf } from '../../event/layout.js'
import { ENTRY_STRIDE, type EntryBatch, entryFields } from '../../wire/resp-entries.js'
import type { LaneOutput } from '../source.js'
import { compareIds, copyId, type EntryId, parseId, timeOf } from './entry-id.js'

export interface Lane {
  readonly stream: string
  readonly epoch: bigint
  readonly out: LaneOutput
  /** Hash of the stream's name: the key of entries that have none. */
  readonly keyHash: number
  /** Highest id that was recorded (or dropped as known). */
  readonly high: EntryId
  /** Hash of the entry at `high`; null where it was never read. */
  hash: number | null
  /** Entries added to the stream up to `high`; null where unknown. */
  added: number | null
  /** Entries up to here were appended before this reader lived: not recorded again. */
  readonly skipTo: EntryId | null
  /** At this id `added` must be this number: whatever is missing was removed before we read it. */
  check: { readonly id: EntryId; readonly added: number } | null
  /** Where and when `added` was last found right. */
  verified: { id: EntryId; at: number }
  /** Where the entry at `high` lies while its batch is valid; -1 when `hash` is of it. */
  bodyStart: number
  bodyEnd: number
}

export interface RecorderOptions {
  readonly lanes: readonly Lane[]
  /** An entry at or below its lane's `high`: null to drop it, else whether it is late. */
  readonly below: (lane: Lane, id: EntryId) => 'drop' | 'late'
  /** Called for each entry before it is recorded (or left out because nobody wants it). */
  readonly accepted: ((stream: number, id: EntryId) => void) | null
  /** An entry whose body is gone although its id was handed out. */
  readonly deleted: (lane: Lane, id: EntryId) => void
  /** `missing` entries between `lane.verified.id` and here were removed before we read them. */
  readonly missing: (lane: Lane, missing: number) => void
}

export interface Recorder {
  record(batch: EntryBatch): void
  /** The hash of the entry at the lane's `high`. */
  hashOf(lane: Lane): number | null
  readonly entries: number
  readonly late: number
  readonly dropped: number
}

export function recorder(options: RecorderOptions): Recorder {
  const { lanes, accepted } = options
  let entries = 0
  let late = 0
  let dropped = 0
  let bytes: Uint8Array = new Uint8Array(0)
  // The head is the id, too: an entry's id is parsed into it.
  const head: RecordHead = { ...blankHead(), operation: operationOf.append }

  function settleHash(lane: Lane): void {
    if (lane.bodyStart < 0) return
    lane.hash = hashBytes(bytes, lane.bodyStart, lane.bodyEnd)
    lane.bodyStart = -1
  }

  /** `added` is the count up to the last entry before, or at, the check's id. */
  function verify(lane: Lane): void {
    const { check } = lane
    if (check === null) return
    lane.check = null
    if (lane.added !== null && lane.added < check.added) options.missing(lane, check.added - lane.added)
    lane.added = check.added
  }

  return {
    record(batch) {
      bytes = batch.bytes
      const { ranges, count } = batch
      let lane: Lane | undefined
      let stream = -1
      let wanted = true
      for (let slot = 0, end = count * ENTRY_STRIDE; slot < end; slot += ENTRY_STRIDE) {
        if (ranges[slot] !== stream) {
          stream = ranges[slot]!
          if (lane !== undefined) settleHash(lane)
          lane = lanes[stream]!
          wanted = lane.out.wants(0, 'append')
        }
        const into = lane!
        parseId(bytes, ranges[slot + entryFields.idStart]!, ranges[slot + entryFields.idEnd]!, head)
        const bodyStart = ranges[slot + entryFields.bodyStart]!
        if (bodyStart < 0) {
          options.deleted(into, head)
          continue
        }
        head.late = false
        const above = compareIds(head, into.high) > 0
        if (!above) {
          if (options.below(into, head) === 'drop') {
            dropped++
            continue
          }
          head.late = true
          late++
        }
        if (into.check !== null && above && compareIds(head, into.check.id) > 0) verify(into)
        const bodyEnd = ranges[slot + entryFields.bodyEnd]!
        entries++
        if (above) {
          copyId(head, into.high)
          into.bodyStart = bodyStart
          into.bodyEnd = bodyEnd
          if (into.added !== null) into.added++
        }
        if (accepted !== null) accepted(stream, head)
        if (!wanted || (into.skipTo !== null && compareIds(head, into.skipTo) <= 0)) continue
        const keyStart = ranges[slot + entryFields.keyStart]!
        head.keyHash = keyStart < 0 ? into.keyHash : hashBytes(bytes, keyStart, ranges[slot + entryFields.keyEnd]!)
        head.timeMicros = timeOf(head)
        into.out.record(head, bytes, bodyStart, bodyEnd)
      }
      if (lane !== undefined) settleHash(lane)
      for (const one of lanes) if (one.check !== null && compareIds(one.high, one.check.id) >= 0) verify(one)
    },
    hashOf(lane) {
      settleHash(lane)
      return lane.hash
    },
    get entries() {
      return entries
    },
    get late() {
      return late
    },
    get dropped() {
      return dropped
    },
  }
}
