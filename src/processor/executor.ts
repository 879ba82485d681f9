/**
 * Keyed execution: runs a handler over the records of one partition so that event n+1 of a key starts after event n of
 * it has ended, with other keys beside it, up to `concurrency`.
 *
 * A handler that returns no promise costs none: its events never enter a queue. Everything that waits is bounded: handlers
 * that run (`concurrency`), events behind a busy key (`waitingPerSlot` for each slot), batches behind the sink. At a bound
 * the scan of the frames stops and goes on when something ends. Frames are finished in order.
 *
 * What handlers emit goes to a plain output as their events end. Before a fenced one it is held, frame by frame in the
 * order of the events, and leaves with the frame when all of its events have ended: what the sink has is then always a
 * prefix of the partition, of whole frames, and the checkpoint that is stored with it says which.
 */

import type { LaneVector } from '../checkpoint/checkpoint.js'
import type { ChangeEvent, Marker } from '../event/event.js'
import type { Frame } from '../event/frame.js'
import { operations } from '../event/layout.js'
import { openFrame } from '../event/open.js'
import type { Position } from '../event/position.js'
import { laneKey } from '../log/log.js'
import type { Matcher } from '../partition/filter.js'
import type { Assigned } from '../partition/owner.js'
import type { SinkItem } from '../sink/sink.js'
import type { World } from '../world/world.js'
import type { RetryDefinition } from './definition.js'
import type { FencedOutput, HeldFrame } from './fenced-output.js'
import type { Output } from './output.js'
import type { Emission } from './processor.js'
import { retryDelay } from './retry.js'

export interface ExecutorInit {
  readonly world: World
  readonly order: 'key' | 'none' | 'global'
  readonly concurrency: number
  readonly matcher: Matcher
  readonly retry: RetryDefinition
  /** Null: the event goes to the output as it is. */
  readonly handle: ((event: ChangeEvent) => Emission | Promise<Emission>) | null
  readonly output: Output | FencedOutput | null
  /** A marker has come. Its work counts as the frame's; it settles whatever happens. */
  readonly marked: ((marker: Marker) => Promise<void>) | null
  /** All frames up to this sequence are finished. */
  readonly finished: (sequence: number) => void
  /** The last retry failed. Resolves when the event is dealt with and its key may go on; never resolves where the partition stops. */
  readonly exhausted: (event: ChangeEvent, error: unknown, attempts: number) => Promise<void>
  readonly failed: (error: Error) => void
}

export interface ExecutorFigures {
  readonly done: number
  readonly skipped: number
  readonly markers: number
  readonly retries: number
  readonly active: number
  readonly waiting: number
  readonly retrying: number
  readonly latencyMs: number | null
}

export interface Executor {
  add(frames: readonly Assigned[]): void
  /** The output has taken something: frames may be finished, the scan may go on. */
  settled(): void
  /** The fenced output has committed this many of the frames that it was given, the oldest. */
  committed(frames: number): void
  /** Starts nothing new; what runs may end. */
  halt(): void
  /** Halts, and resolves when no handler runs any more. */
  settle(): Promise<void>
  /** Starts nothing new. Views on the frames are dead from now on. */
  stop(): void
  figures(): ExecutorFigures
}

interface Work {
  readonly sequence: number
  readonly frame: Frame | null
  readonly after: Position | null
  at: number
  scanned: boolean
  /** Events of it that are running, waiting or on their way to the sink. */
  open: number
  readonly lanes: LaneVector
  readonly lane: HeldFrame['lane']
  /** For a fenced output: where each of its events stands in the frame, by the event's slot. */
  readonly places: number[]
  readonly bytes: number
  /** For a fenced output: what each of its events has emitted, by the event's slot. */
  readonly held: Emission[]
  items: number
}

interface Waiting {
  readonly work: Work
  readonly event: ChangeEvent
  readonly slot: number
}

/** Events that may wait behind busy keys, for each handler that may run. */
const waitingPerSlot = 16

/** ms between two samples of the latency: reading an event's time costs more than the event. */
const latencyEvery = 100

/** Before a fenced output no further frame is begun while this many batches are held. */
const heldBatches = 4

const nobody: Waiting[] = []

export function createExecutor(init: ExecutorInit): Executor {
  const { world, handle, matcher, concurrency } = init
  const output = init.output?.kind === 'plain' ? init.output : null
  const fenced = init.output?.kind === 'fenced' ? init.output : null
  const keyed = init.order === 'key'
  const works: Work[] = []
  /** Ended, and on their way through a fenced output. */
  const leaving: Work[] = []
  let heldItems = 0
  /** Keys whose event runs, with the events behind it. */
  const busy = new Map<number, Waiting[]>()
  const maxWaiting = Math.max(64, concurrency * waitingPerSlot)
  let scanning = 0
  let active = 0
  let waiting = 0
  let retrying = 0
  let stalled = false
  let halted = false
  /** Handlers whose promise is open. */
  let running = 0
  let settling: (() => void) | null = null
  let stopped = false
  let done = 0
  let skipped = 0
  let markers = 0
  let retries = 0
  let latencyMs: number | null = null
  let latencyAt = Number.NEGATIVE_INFINITY

  function isStalled(): boolean {
    return halted || active >= concurrency || waiting >= maxWaiting || output?.full === true
  }

  function pump(): void {
    stalled = false
    while (scanning < works.length && !stopped) {
      const work = works[scanning]!
      // Only between frames: one that is begun must come to its end, or it could never leave.
      const held = fenced !== null && heldItems >= heldBatches * fenced.batchSize && work.at === work.frame?.begin
      if (held || !scan(work)) {
        stalled = true
        break
      }
      work.scanned = true
      scanning++
    }
    output?.flush()
    complete()
  }

  /** False where it had to stop before the end. */
  function scan(work: Work): boolean {
    const { frame, after } = work
    if (frame === null) return true
    const { end } = frame
    let at = work.at
    while (at < end) {
      if (isStalled() || stopped) {
        work.at = at
        return false
      }
      const here = at
      at = frame.next(at)
      if (after !== null && frame.compare(here, after) <= 0) skipped++
      else if (frame.isMarker(here)) mark(work, frame.item(here) as Marker)
      else if (matcher.open || wanted(frame, here)) dispatch(work, frame, here)
      else skipped++
    }
    work.at = at
    return true
  }

  function mark(work: Work, marker: Marker): void {
    markers++
    if (init.marked === null) return
    work.open++
    init.marked(marker).then(() => {
      work.open--
      if (!stopped) complete()
    }, init.failed)
  }

  function wanted(frame: Frame, at: number): boolean {
    return matcher.table(frame.namespace(at), frame.entity(at)) && matcher.operation(operations[frame.operation(at)]!)
  }

  function slotFor(work: Work, at: number): number {
    work.places.push(at)
    return work.held.push(null) - 1
  }

  function dispatch(work: Work, frame: Frame, at: number): void {
    const event = frame.item(at) as ChangeEvent
    const slot = fenced === null ? 0 : slotFor(work, at)
    if (handle === null) {
      emitAll(work, slot, event)
      done++
      return
    }
    if (keyed && busy.size > 0) {
      const hash = frame.keyHash(at)
      const queue = busy.get(hash)
      if (queue !== undefined) {
        waiting++
        work.open++
        if (queue === nobody) busy.set(hash, [{ work, event, slot }])
        else queue.push({ work, event, slot })
        return
      }
    }
    run(work, event, slot)
  }

  /** Runs a first attempt. True where it ended at once. */
  function run(work: Work, event: ChangeEvent, slot: number): boolean {
    let result: Emission | Promise<Emission>
    try {
      result = handle!(event)
    } catch (error) {
      hold(work, event)
      retry({ work, event, slot }, error, 1, world.monotonic())
      return false
    }
    if (!isPromise(result)) {
      emitAll(work, slot, result)
      done++
      return true
    }
    hold(work, event)
    running++
    result.then(
      (emission) => ended(work, event, slot, emission),
      (error) => {
        running--
        retry({ work, event, slot }, error, 1, world.monotonic())
      },
    )
    return false
  }

  function hold(work: Work, event: ChangeEvent): void {
    work.open++
    active++
    if (keyed) {
      const hash = event.keyHash
      if (!busy.has(hash)) busy.set(hash, nobody)
    }
  }

  function ended(work: Work, event: ChangeEvent, slot: number, emission: Emission): void {
    if (stopped) return
    running--
    emitAll(work, slot, emission)
    done++
    letGo(work, event)
  }

  /** The event has ended: the next of its key starts, frames may be finished, the scan may go on. */
  function letGo(work: Work, event: ChangeEvent): void {
    work.open--
    active--
    if (settling !== null && running === 0) settling()
    if (keyed && !halted) nextOf(event.keyHash)
    if (stalled || works[0]?.open === 0) pump()
    else output?.flush()
  }

  function nextOf(hash: number): void {
    const queue = busy.get(hash)
    if (queue === undefined) return
    while (queue.length > 0) {
      const { work, event, slot } = queue.shift()!
      waiting--
      work.open--
      // `busy` still holds the key: `run` finds it and keeps the queue.
      if (!run(work, event, slot)) return
    }
    busy.delete(hash)
  }

  function retry(waiting: Waiting, error: unknown, attempt: number, since: number): void {
    const { work, event, slot } = waiting
    if (settling !== null && running === 0) settling()
    if (halted || stopped) return
    const delay = retryDelay(init.retry, attempt, world.monotonic() - since, world.random())
    if (delay === null) {
      init.exhausted(event, error, attempt).then(
        () => {
          if (!stopped) letGo(work, event)
        },
        (failure: Error) => init.failed(failure),
      )
      return
    }
    retries++
    retrying++
    const again = () => {
      retrying--
      if (halted || stopped) return
      running++
      Promise.resolve()
        .then(() => handle!(event))
        .then(
          (emission) => ended(work, event, slot, emission),
          (failure) => {
            running--
            retry(waiting, failure, attempt + 1, since)
          },
        )
    }
    world.setTimer(delay, again, { background: true })
  }

  function emitAll(work: Work, slot: number, emission: Emission): void {
    if (emission === undefined || emission === null) return
    if (fenced !== null) {
      const count = Array.isArray(emission) ? emission.length : 1
      work.held[slot] = emission
      work.items += count
      heldItems += count
    } else if (output !== null) {
      if (Array.isArray(emission)) for (const item of emission as readonly SinkItem[]) output.push(item, work)
      else output.push(emission as SinkItem, work)
    }
  }

  function complete(): void {
    let count = 0
    while (count < works.length && works[count]!.scanned && works[count]!.open === 0) count++
    if (count === 0) return
    const gone = works.splice(0, count)
    scanning -= count
    if (fenced === null) finish(gone)
    else {
      for (const work of gone) leaving.push(work)
      fenced.leave(gone)
    }
  }

  function finish(gone: readonly Work[]): void {
    noteLatency(gone.at(-1)!)
    for (const work of gone) work.frame?.close()
    init.finished(gone.at(-1)!.sequence)
  }

  function noteLatency(work: Work): void {
    if (work.frame === null) return
    const now = world.monotonic()
    if (now - latencyAt < latencyEvery) return
    latencyAt = now
    const item = work.frame.item(work.frame.begin)
    if (item.type !== 'change' || item.occurredAt === null) return
    const occurred = Date.parse(item.occurredAt)
    if (!Number.isNaN(occurred)) latencyMs = Math.max(0, world.now() - occurred)
  }

  return {
    add(frames) {
      for (const { frame, after, skip, lanes } of frames) {
        // Written by this process and never out of its memory: the CRC is for frames that travel.
        const opened = skip ? null : openFrame(Buffer.from(frame.memory), frame.offset, frame.length, 'structure')
        const places: number[] = []
        if (skip) skipped++
        works.push({
          sequence: frame.sequence,
          frame: opened,
          after,
          at: opened?.begin ?? 0,
          scanned: false,
          open: 0,
          lanes,
          lane: fenced === null || opened === null ? null : laneOf(opened, places),
          places,
          bytes: frame.length,
          held: [],
          items: 0,
        })
      }
      if (!stalled) pump()
    },
    settled() {
      if (stopped) return
      if (stalled) pump()
      else complete()
    },
    committed(count) {
      if (stopped) return
      const gone = leaving.splice(0, count)
      for (const work of gone) heldItems -= work.items
      finish(gone)
      if (stalled) pump()
    },
    halt() {
      halted = true
    },
    settle() {
      halted = true
      return running === 0 ? Promise.resolve() : new Promise((resolve) => (settling = resolve))
    },
    stop() {
      stopped = true
      for (const work of leaving) work.frame?.close()
      for (const work of works) work.frame?.close()
    },
    figures: () => ({ done, skipped, markers, retries, active, waiting, retrying, latencyMs }),
  }
}

function laneOf(frame: Frame, places: readonly number[]): HeldFrame['lane'] {
  const { lane } = frame.header
  if (lane.ordered === false) return null
  return { key: laneKey(lane.source, lane.lane), positionOf: (slot) => frame.position(places[slot]!) }
}

function isPromise(value: unknown): value is Promise<Emission> {
  return typeof value === 'object' && value !== null && typeof (value as Promise<Emission>).then === 'function'
}
