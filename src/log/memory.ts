/**
 * The memory log as a state machine: no I/O, no clock. Inputs are appends, progress and completed checkpoints; what
 * must be done about them comes back as return values, and log-actor.ts does it.
 *
 * Three marks move through it, each behind the one before:
 *   appended ≥ finished (by every processor of the partition) ≥ confirmed (finished, and its checkpoint flushed).
 * A frame's memory is given back when it is finished. A source hears only of what is confirmed: the longest prefix of
 * its appends, in append order, whose frames are all finished and whose checkpoint is durable.
 */
import type {
  CheckpointBatch,
  LanePosition,
  LaneVector,
  Obligation,
  ProcessorCheckpoint,
  ReaderCheckpoint,
  ReaderState,
} from '../checkpoint/checkpoint.js'
import type { FrameHeader } from '../event/frame.js'
import { comparePositions } from '../event/position.js'
import {
  type Append,
  type DeliveredFrame,
  laneKey,
  type Opened,
  type PartitionSet,
  partitionKey,
  type Slab,
} from './log.js'

/** One append on its way from finished to confirmed. */
interface Entry {
  readonly receipt: number
  readonly term: number
  readonly number: number
  readonly slab: Slab | null
  readonly state: ReaderState
  readonly obligation: Uint8Array | null
  /** Last positions that its frames bring, by partition and lane: becomes `previous` once confirmed. */
  readonly brought: readonly { readonly key: string; readonly lane: string; readonly at: LanePosition }[]
  readonly bytes: number
  /** Frames not yet finished by every processor. */
  open: number
}

interface HeldFrame {
  readonly frame: DeliveredFrame
  readonly source: SourceLog
  readonly entry: Entry
  readonly lane: string
  readonly ordered: boolean
  readonly at: LanePosition
}

interface ProcessorProgress {
  /** Sequence of the last frame that it has finished, with all before it. */
  finished: number
  lanes: Record<string, LanePosition>
  dirty: boolean
}

interface PartitionLog {
  readonly set: string
  readonly partition: number
  readonly key: string
  readonly processors: Map<string, ProcessorProgress>
  /** Unfinished frames, oldest first, from sequence `first`. */
  frames: HeldFrame[]
  first: number
  next: number
  halted: boolean
}

interface SourceLog {
  readonly name: string
  term: number
  /** Number of the last append of this term. */
  number: number
  /** Appends not yet confirmed, in order. */
  entries: Entry[]
  /** State and vectors of the last append; null until there was one in this log's life. */
  tail: ReaderState | null
  appended: Record<string, LanePosition>
  tailPrevious: Record<string, Record<string, LanePosition>>
  /** State of the last append whose checkpoint is durable: the source may have been told. */
  confirmedState: ReaderState | null
  /** Vectors as of the last flush that was begun. */
  confirmedPrevious: Record<string, Record<string, LanePosition>>
  /** Stored and not yet discharged. */
  obligations: Obligation[]
  held: Map<string, number>
  discharged: number[]
}

export interface Delivery {
  readonly set: string
  readonly partition: number
  readonly frames: DeliveredFrame[]
}

/** Credits and slabs that go back to one source's reader. */
export interface Return {
  readonly source: string
  readonly term: number
  readonly bytes: { key: string; bytes: number }[]
  readonly slabs: Slab[]
}

/** A checkpoint to be written, and what may be said once it is durable. */
export interface Flush {
  readonly number: number
  readonly batch: CheckpointBatch
}

export interface Confirmation {
  readonly source: string
  readonly term: number
  readonly number: number
  readonly state: ReaderState
  readonly receipts: readonly Obligation[]
}

export interface MemoryLog {
  /** Seals: the next term of this source. Its `Opened` may be given out once the returned batch is durable. */
  openReader(source: string): { readonly opened: Opened; readonly batch: CheckpointBatch }
  /** Null where the append is refused: it comes from an older term, or one before it is missing. */
  append(append: Append, headers: readonly FrameHeader[]): Delivery[] | null
  /** Everything unfinished of a partition, and where its processors stand. */
  attach(
    set: string,
    partition: number,
  ): {
    readonly processors: Record<string, { lanes: LaneVector; finished: number }>
    readonly frames: DeliveredFrame[]
  }
  finished(set: string, partition: number, processor: string, sequence: number): Return[]
  /** Until it is attached again, what this partition holds is not waited for by `drained`. */
  halted(set: string, partition: number): void
  discharge(source: string, term: number, receipts: readonly number[]): void
  /** The next checkpoint; null when nothing has changed or one is under way. */
  beginFlush(): Flush | null
  completeFlush(number: number): Confirmation[]
  /** Bytes finished since the last flush was begun: a checkpoint is due at 64 MiB. */
  readonly finishedBytes: number
  /** Nothing is left to finish, to flush or to confirm, but for what halted partitions hold back. */
  readonly drained: boolean
  /** Number of the last append of all, and of the oldest that is not confirmed (infinite if there is none). */
  readonly lastReceipt: number
  readonly oldestReceipt: number
  figures(): LogFigures
}

export interface LogFigures {
  readonly partitions: readonly { set: string; partition: number; frames: number; bytes: number; sequence: number }[]
  readonly sources: readonly {
    source: string
    term: number
    unconfirmed: number
    bytes: number
    confirmed: ReaderState | null
  }[]
}

export interface MemoryLogInit {
  readonly sets: readonly PartitionSet[]
  readonly processors: readonly ProcessorCheckpoint[]
  readonly readers: readonly ReaderCheckpoint[]
}

export function createMemoryLog(init: MemoryLogInit): MemoryLog {
  const partitions = new Map<string, PartitionLog>()
  for (const set of init.sets)
    for (let partition = 0; partition < set.partitions; partition++) {
      const key = partitionKey(set.name, partition)
      partitions.set(key, {
        set: set.name,
        partition,
        key,
        processors: new Map(set.processors.map((name) => [name, { finished: 0, lanes: {}, dirty: false }])),
        frames: [],
        first: 1,
        next: 1,
        halted: false,
      })
    }
  for (const stored of init.processors) {
    const progress = partitions.get(partitionKey(stored.set, stored.partition))?.processors.get(stored.processor)
    if (progress !== undefined) progress.lanes = { ...stored.lanes }
  }
  const sources = new Map<string, SourceLog>()
  let receipts = 0
  for (const stored of init.readers) {
    sources.set(stored.source, newSource(stored.source, stored))
    for (const obligation of stored.obligations) receipts = Math.max(receipts, obligation.receipt)
  }

  let finishedBytes = 0
  let flushNumber = 0
  /** Per source the number of leading entries that the flush under way covers. */
  let flushing: { readonly number: number; readonly covered: ReadonlyMap<SourceLog, number> } | null = null

  function sourceOf(name: string): SourceLog {
    const known = sources.get(name)
    if (known !== undefined) return known
    const source = newSource(name, null)
    sources.set(name, source)
    return source
  }

  function partitionOf(set: string, partition: number): PartitionLog {
    const found = partitions.get(partitionKey(set, partition))
    if (found === undefined) throw new RangeError(`the log has no partition ${set}.${partition}`)
    return found
  }

  /** Finished frames leave from the front; their credits go back at once, their confirmation waits for the flush. */
  function release(partition: PartitionLog): Return[] {
    let floor = Number.POSITIVE_INFINITY
    for (const progress of partition.processors.values()) floor = Math.min(floor, progress.finished)
    const count = Math.min(partition.frames.length, floor - partition.first + 1)
    if (count <= 0) return []
    const returns = new Map<SourceLog, Return>()
    for (const held of partition.frames.splice(0, count)) {
      const { source, entry } = held
      const back = returns.get(source) ?? {
        source: source.name,
        term: source.term,
        bytes: [{ key: partition.key, bytes: 0 }],
        slabs: [],
      }
      returns.set(source, back)
      back.bytes[0]!.bytes += held.frame.length
      finishedBytes += held.frame.length
      source.held.set(partition.key, (source.held.get(partition.key) ?? 0) - held.frame.length)
      entry.open--
      if (entry.open === 0 && entry.slab !== null) back.slabs.push(entry.slab)
    }
    partition.first += count
    return [...returns.values()]
  }

  return {
    openReader(name) {
      const source = sourceOf(name)
      source.term++
      source.number = 0
      const outstanding: Obligation[] = []
      for (const entry of source.entries)
        if (entry.obligation !== null) outstanding.push({ receipt: entry.receipt, bytes: entry.obligation })
      const alive = source.tail !== null
      const opened: Opened = {
        term: source.term,
        checkpoint: {
          source: name,
          state: source.confirmedState,
          previous: copyVectors(source.confirmedPrevious),
          obligations: [...source.obligations],
          term: source.term,
        },
        tail: source.tail,
        appended: alive ? { ...source.appended } : {},
        previous: copyVectors(alive ? source.tailPrevious : source.confirmedPrevious),
        outstanding,
        held: Object.fromEntries(source.held),
      }
      return { opened, batch: { readers: [{ source: name, term: source.term }] } }
    },

    append(append, headers) {
      const source = sourceOf(append.source)
      if (append.term !== source.term || append.number !== source.number + 1) return null
      source.number = append.number
      receipts++
      const brought: Entry['brought'][number][] = []
      let bytes = 0
      for (const [index, place] of append.frames.entries()) {
        const header = headers[index]!
        bytes += place.length
        brought.push({
          key: partitionKey(place.set, place.partition),
          lane: laneKey(append.source, header.lane.lane),
          at: { epoch: header.lane.epoch, position: header.last },
        })
      }
      const entry: Entry = {
        receipt: receipts,
        term: append.term,
        number: append.number,
        slab: append.slab,
        state: append.state,
        obligation: append.obligation,
        brought,
        bytes,
        open: append.frames.length,
      }
      source.entries.push(entry)
      source.tail = append.state
      const deliveries = new Map<string, Delivery>()
      for (const [index, place] of append.frames.entries()) {
        const { key, lane, at } = brought[index]!
        const partition = partitionOf(place.set, place.partition)
        const frame: DeliveredFrame = {
          sequence: partition.next++,
          memory: append.slab!.memory,
          offset: place.offset,
          length: place.length,
        }
        partition.frames.push({ frame, source, entry, lane, ordered: headers[index]!.lane.ordered !== false, at })
        source.held.set(key, (source.held.get(key) ?? 0) + place.length)
        advance(source.appended, headers[index]!.lane.lane, at)
        advanceIn(source.tailPrevious, key, lane, at)
        const delivery = deliveries.get(key)
        if (delivery === undefined) deliveries.set(key, { set: place.set, partition: place.partition, frames: [frame] })
        else delivery.frames.push(frame)
      }
      return [...deliveries.values()]
    },

    attach(set, partition) {
      const found = partitionOf(set, partition)
      found.halted = false
      const processors: Record<string, { lanes: LaneVector; finished: number }> = {}
      for (const [name, progress] of found.processors)
        processors[name] = { lanes: { ...progress.lanes }, finished: progress.finished }
      return { processors, frames: found.frames.map((held) => held.frame) }
    },

    finished(set, partition, processor, sequence) {
      const found = partitionOf(set, partition)
      const progress = found.processors.get(processor)
      // A sequence that was never given out, or an older report that arrives late, changes nothing.
      if (progress === undefined || sequence <= progress.finished || sequence >= found.next) return []
      for (let at = Math.max(progress.finished + 1, found.first); at <= sequence; at++) {
        const held = found.frames[at - found.first]!
        if (held.ordered) advance(progress.lanes, held.lane, held.at)
      }
      progress.finished = sequence
      progress.dirty = true
      return release(found)
    },

    halted(set, partition) {
      partitionOf(set, partition).halted = true
    },

    discharge(name, term, done) {
      const source = sourceOf(name)
      if (term !== source.term) return
      const gone = new Set(done)
      source.obligations = source.obligations.filter((obligation) => !gone.has(obligation.receipt))
      source.discharged.push(...done)
    },

    beginFlush() {
      if (flushing !== null) return null
      const processors: ProcessorCheckpoint[] = []
      for (const partition of partitions.values())
        for (const [processor, progress] of partition.processors) {
          if (!progress.dirty) continue
          progress.dirty = false
          processors.push({
            processor,
            set: partition.set,
            partition: partition.partition,
            lanes: { ...progress.lanes },
          })
        }
      const readers: NonNullable<CheckpointBatch['readers']>[number][] = []
      const covered = new Map<SourceLog, number>()
      for (const source of sources.values()) {
        let count = 0
        while (count < source.entries.length && source.entries[count]!.open === 0) count++
        const discharge = source.discharged.splice(0)
        if (count === 0 && discharge.length === 0) continue
        covered.set(source, count)
        const oblige: Obligation[] = []
        for (const entry of source.entries.slice(0, count)) {
          for (const { key, lane, at } of entry.brought) advanceIn(source.confirmedPrevious, key, lane, at)
          if (entry.obligation !== null) oblige.push({ receipt: entry.receipt, bytes: entry.obligation })
        }
        readers.push({
          source: source.name,
          ...(count === 0
            ? {}
            : { state: source.entries[count - 1]!.state, previous: copyVectors(source.confirmedPrevious) }),
          ...(oblige.length === 0 ? {} : { oblige }),
          ...(discharge.length === 0 ? {} : { discharge }),
        })
      }
      if (processors.length === 0 && readers.length === 0) return null
      finishedBytes = 0
      flushing = { number: ++flushNumber, covered }
      return { number: flushNumber, batch: { processors, readers } }
    },

    completeFlush(number) {
      if (flushing === null || flushing.number !== number) return []
      const confirmations: Confirmation[] = []
      for (const [source, count] of flushing.covered) {
        if (count === 0) continue
        const gone = source.entries.splice(0, count)
        const fulfilled: Obligation[] = []
        for (const entry of gone)
          if (entry.obligation !== null) fulfilled.push({ receipt: entry.receipt, bytes: entry.obligation })
        source.obligations.push(...fulfilled)
        const last = gone.at(-1)!
        source.confirmedState = last.state
        confirmations.push({
          source: source.name,
          term: source.term,
          number: last.term === source.term ? last.number : 0,
          state: last.state,
          receipts: fulfilled,
        })
      }
      flushing = null
      return confirmations
    },

    get finishedBytes() {
      return finishedBytes
    },

    get lastReceipt() {
      return receipts
    },

    get oldestReceipt() {
      let oldest = Number.POSITIVE_INFINITY
      for (const source of sources.values()) oldest = Math.min(oldest, source.entries[0]?.receipt ?? oldest)
      return oldest
    },

    get drained() {
      if (flushing !== null) return false
      for (const partition of partitions.values()) {
        if (partition.frames.length > 0 && !partition.halted) return false
        for (const progress of partition.processors.values()) if (progress.dirty) return false
      }
      for (const source of sources.values())
        if (source.discharged.length > 0 || source.entries[0]?.open === 0) return false
      return true
    },

    figures() {
      return {
        partitions: [...partitions.values()].map((partition) => ({
          set: partition.set,
          partition: partition.partition,
          frames: partition.frames.length,
          bytes: partition.frames.reduce((sum, held) => sum + held.frame.length, 0),
          sequence: partition.next - 1,
        })),
        sources: [...sources.values()].map((source) => ({
          source: source.name,
          term: source.term,
          unconfirmed: source.entries.length,
          bytes: [...source.held.values()].reduce((sum, bytes) => sum + bytes, 0),
          confirmed: source.confirmedState,
        })),
      }
    },
  }
}

function newSource(name: string, stored: ReaderCheckpoint | null): SourceLog {
  return {
    name,
    term: stored?.term ?? 0,
    number: 0,
    entries: [],
    tail: null,
    appended: {},
    tailPrevious: copyVectors(stored?.previous ?? {}),
    confirmedState: stored?.state ?? null,
    confirmedPrevious: copyVectors(stored?.previous ?? {}),
    obligations: [...(stored?.obligations ?? [])],
    held: new Map(),
    discharged: [],
  }
}

/** The later of two places: frames of one append may lie in any order, and a late entry never moves a mark back. */
function advance(vector: Record<string, LanePosition>, lane: string, at: LanePosition): void {
  const known = vector[lane]
  if (known === undefined || at.epoch > known.epoch) vector[lane] = at
  else if (at.epoch === known.epoch && comparePositions(at.position, known.position) > 0) vector[lane] = at
}

function advanceIn(
  vectors: Record<string, Record<string, LanePosition>>,
  key: string,
  lane: string,
  at: LanePosition,
): void {
  let vector = vectors[key]
  if (vector === undefined) {
    vector = {}
    vectors[key] = vector
  }
  advance(vector, lane, at)
}

function copyVectors(vectors: Readonly<Record<string, LaneVector>>): Record<string, Record<string, LanePosition>> {
  return Object.fromEntries(Object.entries(vectors).map(([key, lanes]) => [key, { ...lanes }]))
}
