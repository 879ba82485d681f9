/**
 * The router: takes the records of one reader, puts each into the frame of its partition in every set that wants it, and
 * flushes frames to the log.
 *
 * It promises order (records of a lane and a partition leave in the order in which they came), the `previous` chain, and
 * a bound: when a partition or the source has its credits outstanding, `blocked` is true until frames are finished.
 * A flush goes out when a frame is full, when all frames together are, when 2 ms have passed since its first record, or at once when the socket has
 * nothing more, the log nothing of ours, and the last flush is 2 ms ago.
 *
 * To a cluster's log what is not full waits for the flush that is on its way, and leaves `pace` after it. There each frame is a message
 * that three servers sync, whatever it holds: many small ones fill servers and nodes without carrying more.
 */
import type { LanePosition, ReaderState } from '../checkpoint/checkpoint.js'
import type { Operation } from '../event/event.js'
import {
  blankHead,
  type FrameWriter,
  frameLimits,
  type LaneSpec,
  type RecordHead,
  type TableSpec,
} from '../event/frame.js'
import { markerOperation, noTable, operations } from '../event/layout.js'
import type { LossWindow } from '../event/marker.js'
import { encodeLossWindow } from '../event/marker-codec.js'
import { comparePositions } from '../event/position.js'
import { createFrameWriter } from '../event/writer.js'
import { type Append, type FramePlace, laneKey, type Opened, partitionKey, type ReaderMessage } from '../log/log.js'
import type { LaneOutput, SourceOutput, SourceReader } from '../source/source.js'
import type { Timer, World } from '../world/world.js'
import { createMatcher, type Filter, type Matcher } from './filter.js'
import { createSlabPool } from './slabs.js'

/** A set as one source sees it: the filters of the processors that read this source. */
export interface RoutedSet {
  readonly name: string
  readonly partitions: number
  readonly filters: readonly Filter[]
}

export interface Credits {
  /** Bytes of one partition that may be unfinished at once. */
  readonly partition: number
  /** Bytes of this source that may be unfinished at once. */
  readonly source: number
}

export interface RouterInit {
  readonly world: World
  readonly source: string
  readonly sets: readonly RoutedSet[]
  readonly credits: Credits
  readonly opened: Opened
  readonly send: (append: Append) => void
  /** The log is a cluster's: frames grow while an append is on its way, and for its pace, instead of leaving 2 ms after their first record. */
  readonly patient?: boolean
  /** Asks the log to checkpoint soon. */
  readonly hurry: () => void
}

export interface Router extends SourceOutput {
  /** The reader whose marks the flushes carry; set once it is open. */
  attach(reader: Pick<SourceReader, 'mark'>): void
  receive(message: ReaderMessage): void
  /** From now on always blocked: nothing more is to be read. What is recorded is flushed. */
  quiesce(): void
  figures(): RouterFigures
}

export interface RouterFigures {
  readonly events: number
  readonly bytes: number
  readonly flushes: number
  readonly lossWindows: number
  readonly outstanding: number
  readonly blocked: boolean
  readonly newestMicros: number | null
}

/** ms after its first record at which a flush goes out. */
const flushAfterMs = 2

/**
 * ms from one flush to the next in a cluster, twice what storing the last one took and within these: what is recorded after a
 * silence does not wait, and a log that is slow is given fewer and larger batches. With as many bytes gathered nothing waits.
 */
const pace = { least: 20, most: 50, bytes: 128 * 1024 } as const

/**
 * What makes a flush go out, whatever it waits for: a cluster's log stores it as one batch of at most 900 messages and some 16
 * MiB. A large record comes on top: at 1 MiB a message there is room for 256 of them.
 */
const flushLimits = { bytes: 12 * 1024 * 1024, frames: 512 } as const

const markerHead: RecordHead = { ...blankHead(), operation: markerOperation.lossWindow, table: noTable }

interface Slot {
  readonly lane: LaneSpec
  readonly set: RoutedSet
  readonly partition: number
  readonly key: string
  readonly writer: ReturnType<typeof createFrameWriter>
  dirty: boolean
}

export function createRouter(init: RouterInit): Router {
  const { world, credits, patient = false } = init
  const sets = init.sets.filter((set) => set.filters.length > 0)
  const matchers = new Map(sets.map((set) => [set, set.filters.map((filter) => createMatcher(filter))]))
  const slabs = createSlabPool(credits.source)
  const lanes = new Map<string, LaneOutput>()
  const listeners: (() => void)[] = []
  const dirty: Slot[] = []
  const previous = new Map<string, Record<string, LanePosition>>(
    Object.entries(init.opened.previous).map(([key, vector]) => [key, { ...vector }]),
  )
  const held = new Map<string, number>(Object.entries(init.opened.held))
  let outstanding = [...held.values()].reduce((sum, bytes) => sum + bytes, 0)
  let reader: Pick<SourceReader, 'mark'> | null = null
  let number = 0
  /** Numbers of the last appends that the log keeps, and that are processed. */
  let storedTo = 0
  let settledTo = 0
  let pendingTimer: Timer | null = null
  let quiesced = false
  let full = false
  let flushedAt = Number.NEGATIVE_INFINITY
  /** What storing the last flush took. */
  let storingMs = 0
  let sentState = ''
  /** Of the last append. */
  let lastState = init.opened.tail ?? init.opened.checkpoint.state
  /** Bytes of the frames that are not flushed. */
  let gathered = 0
  let markers = 0
  const waiters: Record<'stored' | 'settled', { readonly number: number; readonly resolve: () => void }[]> = {
    stored: [],
    settled: [],
  }
  const figures = { events: 0, bytes: 0, flushes: 0, lossWindows: 0, newestMicros: Number.NaN }

  function isFull(): boolean {
    if (outstanding >= credits.source) return true
    for (const bytes of held.values()) if (bytes >= credits.partition) return true
    return false
  }

  function markDirty(slot: Slot): void {
    slot.dirty = true
    dirty.push(slot)
    if (pendingTimer === null) flushIn(Math.max(flushAfterMs, restOfPace()))
  }

  function flushIn(ms: number): void {
    pendingTimer = world.setTimer(ms, () => {
      pendingTimer = null
      // What is on its way comes back as `stored` or not at all; then this reader ends.
      if (!patient || storedTo === number) flush()
    })
  }

  function flushWhenPaced(): void {
    const rest = restOfPace()
    if (rest > 0) flushIn(rest)
    else flush()
  }

  /** ms until the next flush may leave; 0 and less: it may. */
  function restOfPace(): number {
    if (!patient || gathered >= pace.bytes) return 0
    return flushedAt + Math.min(pace.most, Math.max(pace.least, 2 * storingMs)) - world.monotonic()
  }

  function flush(): void {
    if (reader === null) return
    pendingTimer?.cancel()
    pendingTimer = null
    const { state, obligation } = reader.mark()
    if (dirty.length === 0 && obligation === null) {
      const text = JSON.stringify(state)
      if (text === sentState) return
      sentState = text
    } else sentState = ''
    send(state, obligation)
  }

  /** What is gathered goes out before the mark can cover it: after a crash it comes again. */
  function flushPart(): void {
    if (lastState === null) flush()
    else if (reader !== null) send(lastState, null)
  }

  function send(state: ReaderState, obligation: Uint8Array | null): void {
    let size = 0
    for (const slot of dirty) size += slot.writer.size
    const slab = size === 0 ? null : slabs.take(size)
    const frames: FramePlace[] = []
    let offset = 0
    if (slab !== null) {
      const target = Buffer.from(slab.memory)
      for (const slot of dirty) {
        const end = finish(slot, target, offset)
        frames.push({ set: slot.set.name, partition: slot.partition, offset, length: end - offset })
        held.set(slot.key, (held.get(slot.key) ?? 0) + end - offset)
        outstanding += end - offset
        offset = end
      }
    }
    dirty.length = 0
    gathered = 0
    lastState = state
    figures.flushes++
    figures.bytes += offset
    number++
    flushedAt = world.monotonic()
    init.send({
      type: 'append',
      source: init.source,
      term: init.opened.term,
      number,
      slab,
      frames,
      state,
      obligation,
    })
    full = isFull()
  }

  function finish(slot: Slot, target: Buffer, offset: number): number {
    const lane = laneKey(init.source, slot.lane.lane)
    let vector = previous.get(slot.key)
    if (vector === undefined) {
      vector = {}
      previous.set(slot.key, vector)
    }
    const before = vector[lane]
    const { epoch } = slot.lane
    const end = slot.writer.finishInto(
      target,
      offset,
      before === undefined || before.epoch !== epoch ? null : before.position,
    )
    const last = slot.writer.last()!
    if (before === undefined || before.epoch !== epoch || comparePositions(last, before.position) > 0)
      vector[lane] = { epoch, position: last }
    slot.writer.reset()
    slot.dirty = false
    return end
  }

  function isFrameFull(writer: FrameWriter): boolean {
    return writer.events >= frameLimits.events || writer.size >= frameLimits.bytes
  }

  function openLane(spec: LaneSpec): LaneOutput {
    const tables = new Map<number, TableSpec>()
    /** By set: slots of its partitions, made when first used, and by table a bit for each wanted operation. */
    const routes = sets.map((set) => ({
      set,
      slots: new Array<Slot | undefined>(set.partitions),
      wanted: [] as number[],
    }))
    let wantedByAny: number[] = []

    function slotOf(route: (typeof routes)[number], partition: number): Slot {
      const known = route.slots[partition]
      if (known !== undefined) return known
      const writer = createFrameWriter(spec)
      for (const table of tables.values()) writer.table(table)
      const slot: Slot = {
        lane: spec,
        set: route.set,
        partition,
        key: partitionKey(route.set.name, partition),
        writer,
        dirty: false,
      }
      route.slots[partition] = slot
      return slot
    }

    function put(slot: Slot, head: RecordHead, body: Uint8Array, start: number, end: number): boolean {
      const before = slot.dirty ? slot.writer.size : 0
      slot.writer.record(head, body, start, end)
      gathered += slot.writer.size - before
      if (!slot.dirty) markDirty(slot)
      return isFrameFull(slot.writer) || gathered >= flushLimits.bytes || dirty.length >= flushLimits.frames
    }

    return {
      spec,
      table(table) {
        tables.set(table.index, table)
        wantedByAny = []
        for (const route of routes) {
          route.wanted[table.index] = wantedOperations(matchers.get(route.set)!, table)
          for (const slot of route.slots) slot?.writer.table(table)
        }
        for (const index of tables.keys())
          wantedByAny[index] = routes.reduce((bits, route) => bits | (route.wanted[index] ?? 0), 0)
      },
      wants(table, operation) {
        return ((wantedByAny[table] ?? 0) & (1 << operations.indexOf(operation))) !== 0
      },
      record(head, body, start, end) {
        let frameIsFull = false
        const bit = 1 << head.operation
        for (const route of routes) {
          if (((route.wanted[head.table] ?? 0) & bit) === 0) continue
          const partition = route.set.partitions === 1 ? 0 : head.keyHash % route.set.partitions
          if (put(slotOf(route, partition), head, body, start, end)) frameIsFull = true
        }
        figures.events++
        if (!Number.isNaN(head.timeMicros)) figures.newestMicros = head.timeMicros
        if (frameIsFull || (patient && storedTo === number && gathered >= pace.bytes)) flush()
      },
      async barrier(head, body, start, end) {
        // Copied now: the caller's chunk may be gone when the waiting is over.
        const kept = Uint8Array.prototype.slice.call(body, start, end)
        const keptHead = { ...head }
        await settled()
        const bit = 1 << keptHead.operation
        for (const route of routes)
          if (((route.wanted[keptHead.table] ?? 0) & bit) !== 0) put(slotOf(route, 0), keptHead, kept, 0, kept.length)
        figures.events++
        await settled()
      },
    }
  }

  /** Resolves when everything recorded until now is processed and checkpointed. */
  function settled(): Promise<void> {
    flush()
    if (settledTo >= number) return Promise.resolve()
    init.hurry()
    return waitFor('settled')
  }

  function stored(): Promise<void> {
    flush()
    if (storedTo >= number) return Promise.resolve()
    // A cluster's log stores at once; that of one process only with its next checkpoint.
    if (!patient) init.hurry()
    return waitFor('stored')
  }

  function waitFor(what: 'stored' | 'settled'): Promise<void> {
    const target = number
    return new Promise((resolve) => waiters[what].push({ number: target, resolve }))
  }

  function wake(what: 'stored' | 'settled', reached: number): void {
    const list = waiters[what]
    while (list.length > 0 && list[0]!.number <= reached) list.shift()!.resolve()
  }

  function unblock(): void {
    if (full && !isFull()) {
      full = false
      if (!quiesced) for (const listener of listeners) listener()
    }
  }

  return {
    attach(opened) {
      reader = opened
      if (dirty.length > 0) flush()
    },
    lane(spec) {
      const key = `${spec.epoch}/${spec.lane}`
      const known = lanes.get(key)
      if (known !== undefined) return known
      const lane = openLane(spec)
      lanes.set(key, lane)
      return lane
    },
    get blocked() {
      return full || quiesced
    },
    onUnblocked(listener) {
      listeners.push(listener)
    },
    idle() {
      // Behind a busy source each flush would hold a handful of events: those wait for the timer.
      if (dirty.length === 0 || outstanding > 0 || restOfPace() > 0) return
      if (world.monotonic() - flushedAt >= flushAfterMs) flush()
    },
    flush,
    settled,
    stored,
    get quiet() {
      return dirty.length === 0 && outstanding === 0 && storedTo === number
    },
    lossWindow(lane, window: LossWindow) {
      figures.lossWindows++
      // A lane of its own: a marker's position is no position of the lane that it speaks of.
      const spec: LaneSpec = { ...lane.spec, lane: `${lane.spec.lane}.markers`, codec: 'marker', ordered: false }
      const body = encodeLossWindow(window)
      const head: RecordHead = { ...markerHead, majorLow: init.opened.term, minorLow: ++markers }
      for (const set of sets)
        for (let partition = 0; partition < set.partitions; partition++) {
          if (dirty.length >= flushLimits.frames) flushPart()
          const slot: Slot = {
            lane: spec,
            set,
            partition,
            key: partitionKey(set.name, partition),
            writer: createFrameWriter(spec),
            dirty: false,
          }
          slot.writer.record(head, body, 0, body.length)
          markDirty(slot)
        }
    },
    receive(message) {
      if (message.term !== init.opened.term) return
      if (message.type === 'returned') {
        for (const { key, bytes } of message.bytes) {
          held.set(key, Math.max(0, (held.get(key) ?? 0) - bytes))
          outstanding = Math.max(0, outstanding - bytes)
        }
        for (const slab of message.slabs) slabs.giveBack(slab)
        unblock()
        return
      }
      if (storedTo < number && message.number === number) storingMs = world.monotonic() - flushedAt
      storedTo = Math.max(storedTo, message.number)
      wake('stored', storedTo)
      if (message.type === 'stored') {
        const timed = pendingTimer !== null && gathered < pace.bytes
        if (storedTo === number && dirty.length > 0 && !timed) flushWhenPaced()
        return
      }
      settledTo = Math.max(settledTo, message.number)
      wake('settled', settledTo)
    },
    quiesce() {
      quiesced = true
      flush()
    },
    figures() {
      return {
        ...figures,
        newestMicros: Number.isNaN(figures.newestMicros) ? null : figures.newestMicros,
        outstanding,
        blocked: full || quiesced,
      }
    },
  }
}

/** One bit for each operation of this table that some processor of the set wants. */
function wantedOperations(matchers: readonly Matcher[], table: TableSpec): number {
  let bits = 0
  for (const matcher of matchers) {
    if (!matcher.table(table.namespace, table.entity)) continue
    operations.forEach((operation: Operation, index: number) => {
      if (matcher.operation(operation)) bits |= 1 << index
    })
  }
  return bits
}
