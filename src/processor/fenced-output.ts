/**
 * The output before a sink that stores the checkpoint with the work: takes frames whose events have all ended, in order,
 * and commits them, several at once, each commit with the lanes behind its last frame.
 *
 * One commit at a time; while it is on its way the next one grows. An item that the sink will never take is dealt with
 * before the checkpoint passes it, and a crash in between deals with it again. A frame whose items are more than a commit
 * holds is cut between two events, and the checkpoint then stands inside of it; in a lane without an order it cannot be.
 */
import type { LaneVector } from '../checkpoint/checkpoint.js'
import type { ChangeEvent } from '../event/event.js'
import type { Position } from '../event/position.js'
import { type FencedWriter, type RefusedItem, type SinkItem, SinkRefusal } from '../sink/sink.js'
import { TroupeError } from '../world/error.js'
import type { Emission } from './processor.js'

/** A frame whose events have ended. */
export interface HeldFrame {
  /** What each event has emitted, in the order of the events. */
  readonly held: readonly Emission[]
  readonly items: number
  /** Where the processor stands behind it. */
  readonly lanes: LaneVector
  /** Its lane in `lanes`, and where in it an event stands, by its place in `held`; null where the lane has no order. */
  readonly lane: { readonly key: string; positionOf(slot: number): Position } | null
  readonly bytes: number
}

export interface FencedOutputInit {
  readonly writer: FencedWriter
  /** So many frames, the oldest of those given, took effect. */
  readonly committed: (frames: number) => void
  /** An item that the sink will never take. Resolves when it is dealt with; a rejection fails the processor. */
  readonly refused: (event: ChangeEvent, error: Error) => Promise<void>
  readonly failed: (error: Error) => void
}

export interface FencedOutput {
  readonly kind: 'fenced'
  readonly batchSize: number
  leave(frames: readonly HeldFrame[]): void
  readonly emitted: number
  readonly inFlight: number
  /** Commits nothing more; what is in flight may arrive. */
  halt(): void
  /** Resolves when the commit in flight is over, and what it refused against expectation is dealt with. */
  settle(): Promise<void>
  close(): Promise<void>
}

/** Bytes of frames in one commit; a frame is at most 128 KiB, or one larger event. */
const commitBytes = 1024 * 1024

export function createFencedOutput(init: FencedOutputInit): FencedOutput {
  const { writer } = init
  const { mostItems = Number.POSITIVE_INFINITY } = writer
  const waiting: HeldFrame[] = []
  let waitingItems = 0
  let inFlightItems = 0
  let busy = false
  let halted = false
  let emitted = 0
  let stored = writer.lanes
  let underWay: Promise<unknown> = Promise.resolve()

  async function deal(items: readonly SinkItem[], refused: readonly RefusedItem[]): Promise<void> {
    for (const { index, message } of refused) {
      const item = items[index]!
      await init.refused(item.type === 'record' ? item.event : item, new Error(message))
    }
  }

  async function commitOnce(items: readonly SinkItem[], lanes: LaneVector): Promise<void> {
    const failed = await writer.commit(items, lanes)
    emitted += items.length - failed.length
    await deal(items, failed)
  }

  /** False where it was halted before anything took effect. */
  async function write(all: readonly SinkItem[], lanes: LaneVector): Promise<boolean> {
    let items = all
    // Each turn has at least one item less.
    for (;;) {
      try {
        const commit = commitOnce(items, lanes)
        underWay = commit.catch(() => {})
        await commit
        return true
      } catch (error) {
        if (!(error instanceof SinkRefusal)) throw error
        // Its events can no longer be read; they come again.
        if (halted) return false
        await deal(items, error.refused)
        if (halted) return false
        const gone = new Set(error.refused.map(({ index }) => index))
        items = items.filter((_, index) => !gone.has(index))
      }
    }
  }

  /** Whole frames, at least one, up to a batch. */
  function take(): readonly HeldFrame[] {
    let items = 0
    let bytes = 0
    let count = 0
    while (count < waiting.length) {
      const next = waiting[count]!
      if (count > 0 && (items >= writer.batchSize || bytes >= commitBytes || items + next.items > mostItems)) break
      items += next.items
      bytes += next.bytes
      count++
    }
    return waiting.splice(0, count)
  }

  /** False where it was halted before all of it took effect. */
  async function writeParts(frame: HeldFrame): Promise<boolean> {
    for (const part of cut(frame, mostItems)) if (halted || !(await write(part.items, part.lanes))) return false
    return true
  }

  function next(): void {
    if (busy || halted || waiting.length === 0) return
    const frames = take()
    const { lanes } = frames.at(-1)!
    const items = frames.reduce((sum, frame) => sum + frame.items, 0)
    waitingItems -= items
    // Frames that bring nothing new, of which the sink knows already.
    if (items === 0 && lanes === stored) {
      init.committed(frames.length)
      next()
      return
    }
    busy = true
    inFlightItems = items
    // A frame with too many items is alone.
    const written = items <= mostItems ? write(itemsOf(frames), lanes) : writeParts(frames[0]!)
    written
      .then((written) => {
        busy = false
        inFlightItems = 0
        if (!written) return
        stored = lanes
        init.committed(frames.length)
        next()
      })
      .catch((error: Error) => {
        busy = false
        halted = true
        init.failed(error)
      })
  }

  return {
    kind: 'fenced',
    batchSize: writer.batchSize,
    leave(frames) {
      for (const frame of frames) {
        waiting.push(frame)
        waitingItems += frame.items
      }
      next()
    },
    get emitted() {
      return emitted
    },
    get inFlight() {
      return inFlightItems + waitingItems
    },
    halt() {
      halted = true
    },
    async settle() {
      await underWay
    },
    async close() {
      halted = true
      await writer.close()
    },
  }
}

function itemsOf(frames: readonly HeldFrame[]): SinkItem[] {
  const items: SinkItem[] = []
  for (const { held } of frames) for (const emission of held) items.push(...emittedBy(emission))
  return items
}

function emittedBy(emission: Emission): readonly SinkItem[] {
  if (emission === null || emission === undefined) return []
  return Array.isArray(emission) ? (emission as readonly SinkItem[]) : [emission as SinkItem]
}

interface Part {
  readonly items: readonly SinkItem[]
  readonly lanes: LaneVector
}

/**
 * The frame in parts of at most `most` items, cut between events; each with the lanes behind its last event.
 * @throws TroupeError `output-too-large`
 */
export function cut({ held, lanes, lane }: HeldFrame, most: number): Part[] {
  if (lane === null) throw tooLarge('a frame of a lane without an order, which cannot be cut,', most)
  const parts: Part[] = []
  let items: SinkItem[] = []
  for (const [slot, emission] of held.entries()) {
    const emitted = emittedBy(emission)
    if (emitted.length > most) throw tooLarge(`one event has become ${emitted.length} items, which`, most)
    if (items.length + emitted.length > most) {
      const behind = { epoch: lanes[lane.key]!.epoch, position: lane.positionOf(slot - 1) }
      parts.push({ items, lanes: { ...lanes, [lane.key]: behind } })
      items = []
    }
    items.push(...emitted)
  }
  parts.push({ items, lanes })
  return parts
}

function tooLarge(what: string, most: number): TroupeError {
  return new TroupeError({
    code: 'output-too-large',
    message: `${what} is more than one commit of the sink holds (${most})`,
    remedy: 'let the handler make fewer records of one event, or write to another kind of sink',
    permanent: true,
  })
}
