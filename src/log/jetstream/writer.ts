/**
 * The log as one reader sees it: what it appends is stored in the stream in atomic batches, each ending with the reader's
 * checkpoint, which is at once progress, ownership and commit.
 *
 * One batch is under way; the next is gathered meanwhile. Credits come back when an append is stored. The source is
 * told of it a holdback later: what the servers have acknowledged and not yet synced may be lost with them, and must
 * then still be at the source. At 80 % of the stream's bound nothing is appended until it has drained.
 */
import type { LaneVector, Obligation, ReaderCheckpoint, ReaderState } from '../../checkpoint/checkpoint.js'
import type { FrameHeader } from '../../event/frame.js'
import { readFrameHeader } from '../../event/open.js'
import { comparePositions, formatPosition } from '../../event/position.js'
import { TroupeError } from '../../world/error.js'
import type { Logger } from '../../world/logger.js'
import { sleep } from '../../world/sleep.js'
import type { World } from '../../world/world.js'
import {
  type Append,
  type FrameMark,
  laneKey,
  type Opened,
  type PartitionSet,
  partitionKey,
  type ReaderMessage,
} from '../log.js'
import { createCover } from './cover.js'
import { createFence, type FenceFigures, toLogError } from './fence.js'
import { createHoldback } from './holdback.js'
import type { StreamNames } from './names.js'
import { createObligations } from './obligations.js'
import { chunksOf, largestFrame, pack } from './parcel.js'
import { answerWithin, batchLimits, type StreamMessage, type StreamPort } from './port.js'
import { culprit, mark } from './room.js'
import { createSettling } from './settling.js'
import { decodeReader, encodeReader, firstReader, type StoredReader } from './stored.js'

export interface LogWriterInit {
  readonly world: World
  readonly log: Logger
  readonly stream: StreamPort
  readonly names: StreamNames
  readonly source: string
  /** The sets that this source is routed to, with the processors whose checkpoints `settled` waits for. */
  readonly sets: readonly PartitionSet[]
  /** Tells one incarnation of a writer from every other; in every checkpoint that it writes. */
  readonly owner: string
  /** ms between a commit and the moment at which the source may be told of it: how long the servers may keep it unsynced. 0: they sync before they answer. */
  readonly holdback: number
  /** Most bytes of payload in one message. */
  readonly maxMessage: number
  /** Its driver must be told of single appends: obligations are looked for, and may be appended. */
  readonly obliges: boolean
  readonly tell: (message: ReaderMessage) => void
  /** Asks the owners to write their checkpoints now. */
  readonly hurry: () => void
  /** This writer is over: fenced, the log has lost its tail, or it cannot be written at all. Called once. */
  readonly failed: (error: Error) => void
  /** For chaos and simulation: faults planted on purpose. */
  readonly planted?: readonly string[]
}

export interface LogWriter {
  /** Seals: from now on no earlier writer of this source can commit. */
  open(): Promise<Opened>
  append(append: Append): void
  discharge(receipts: readonly number[]): void
  /** Somebody waits for everything appended to be processed: `settled` is told when it is. */
  hurry(): void
  /** Resolves when a read has shown that no other writer of this source has sealed; fails this one where one has. */
  stillOwns(): Promise<void>
  /** Stores what was appended, as far as that is possible within the deadline, and ends. */
  close(deadlineMs: number): Promise<void>
  figures(): LogWriterFigures
}

export interface LogWriterFigures extends FenceFigures {
  readonly term: number
  readonly sequence: number
  readonly waitingBytes: number
  /** Committed and held back: appends, and ms of the oldest. */
  readonly heldBack: number
  readonly heldBackMs: number
  /** Obligations in the log, and bytes of those that the source was not told of. */
  readonly undischarged: number
  readonly owedBytes: number
  /** Nothing is stored until confirmations have come: too much waits for the holdback. */
  readonly waitsForHoldback: boolean
  /** While the log is at its mark: the processor that keeps it there, as `processor scope.partition`. Else null. */
  readonly stoppedBy: string | null
  readonly streamBytes: number
  readonly streamLimit: number
}

/** A frame of an append that waits for its batch. */
interface Waiting {
  readonly append: Append
  readonly headers: readonly FrameHeader[]
  readonly bytes: number
  readonly messages: number
}

/** Bytes appended, and ms, after which the stream is looked at again. */
const lookBytes = 8 * 1024 * 1024
const lookEvery = 1_000

export function createLogWriter(init: LogWriterInit): LogWriter {
  const { world, log, stream, names, source, owner, maxMessage, planted = [] } = init
  const place = `source ${source}`
  const fence = createFence({ world, stream, owner, place, planted })
  const subject = names.reader(source)
  let stored: StoredReader = firstReader
  const previous = new Map<string, Record<string, { epoch: bigint; position: FrameMark }>>()
  const marks = new Map<string, FrameMark>()
  const queue: Waiting[] = []
  let queuedBytes = 0
  let receipts = 0
  let frames = 0n
  let appended = 0
  let confirmed: ReaderState | null = null
  let committing = false
  let sequence = 0
  let over = false
  let lookedAt = Number.NEGATIVE_INFINITY
  let lookedBytes = 0
  let streamBytes = 0
  let streamLimit = Number.POSITIVE_INFINITY
  let stoppedBy: string | null = null
  const idle: (() => void)[] = []
  const holdback = createHoldback({
    world,
    holdback: init.holdback,
    stillStands,
    confirm(state, receipts) {
      confirmed = state
      init.tell({ type: 'confirmed', term: fence.term, number: 0, state, receipts })
    },
    failed: fail,
  })
  const obligations = createObligations({
    world,
    log,
    stream,
    subject: names.obligations(source),
    source,
    place,
    holdback: init.holdback,
    maxMessage,
    stillStands,
    failed: fail,
  })
  const settling = createSettling({
    world,
    log,
    source,
    cover: () => createCover({ stream, names, sets: init.sets, demands: previous, deadlineMs: answerWithin }),
    hurry: init.hurry,
    settled: (number) => init.tell({ type: 'settled', term: fence.term, number }),
  })

  function stillStands(): Promise<boolean> {
    return fence.stillStands(subject)
  }

  function fail(error: unknown): void {
    if (over) return
    end()
    init.failed(toLogError(error, place))
  }

  function end(): void {
    over = true
    fence.close()
    holdback.stop()
    obligations.stop()
    settling.stop()
    for (const resolve of idle.splice(0)) resolve()
  }

  // Opening --------------------------------------------------------------------------------------------------------

  async function open(): Promise<Opened> {
    sequence = await fence.seal(
      [subject],
      ([found], term) => {
        const known = found === null ? firstReader : decodeReader(found!.payload, subject)
        stored = { ...known, term, owner, commit: 0, run: nextRun(known.run, world) }
        return [{ subject, payload: encodeReader(stored) }]
      },
      init.obliges ? [obligations.end] : [],
    )
    receipts = stored.receipt
    confirmed = stored.confirmed
    for (const [key, lanes] of Object.entries(stored.previous)) previous.set(key, { ...lanes })
    for (const [key, at] of Object.entries(stored.marks)) marks.set(key, at)
    const kept = init.obliges ? await obligations.read(sequence - 1) : []
    if (kept.length > 0 || stored.state !== null) holdback.find(stored.state ?? {}, kept)
    return openedFrom(source, stored, kept)
  }

  async function stillOwns(): Promise<void> {
    try {
      await fence.stillOwns([subject])
    } catch (error) {
      fail(error)
      throw error
    }
  }

  // Appending ------------------------------------------------------------------------------------------------------

  function append(one: Append): void {
    if (over) return
    if (one.term !== fence.term || one.number !== appended + 1) {
      log.warn({ source, term: one.term, number: one.number }, 'an append was refused: one before it is missing')
      return
    }
    appended = one.number
    const headers = one.frames.map((place) => readFrameHeader(Buffer.from(one.slab!.memory), place.offset))
    let bytes = one.obligation?.length ?? 0
    let messages = one.obligation === null ? 0 : chunksOf(one.obligation.length, maxMessage)
    for (const { length } of one.frames) {
      bytes += length
      messages += chunksOf(length, maxMessage)
    }
    queue.push({ append: one, headers, bytes, messages })
    queuedBytes += bytes
    if (planted.includes('confirm-on-receive'))
      init.tell({ type: 'confirmed', term: fence.term, number: 0, state: one.state, receipts: [] })
    pump()
  }

  function pump(): void {
    if (committing || over || queue.length === 0) return
    committing = true
    store().then(
      () => {
        committing = false
        if (queue.length === 0) for (const resolve of idle.splice(0)) resolve()
        pump()
      },
      (error) => fail(error),
    )
  }

  async function store(): Promise<void> {
    await obligations.room()
    await waitForRoom()
    if (over) return
    const batch = nextBatch()
    for (const one of batch) {
      mustFit(one)
      lookedBytes += one.bytes
    }
    const { messages, obliged, state } = assemble(batch)
    const number = stored.commit + 1
    const next: StoredReader = {
      ...stored,
      commit: number,
      state,
      confirmed,
      previous: Object.fromEntries(previous),
      marks: Object.fromEntries(marks),
      receipt: receipts,
    }
    const end = await fence.commit(number, messages, [{ subject, payload: encodeReader(next) }])
    if (over) return
    stored = next
    sequence = end
    const first = end - messages.length
    for (const { index, ...obligation } of obliged) obligations.keep(obligation, first + index)
    release(
      batch,
      obliged.map(({ receipt, bytes }) => ({ receipt, bytes })),
      state,
    )
  }

  function nextBatch(): Waiting[] {
    let count = 0
    let messages = 1
    let bytes = 0
    for (const one of queue) {
      if (count > 0 && (messages + one.messages > batchLimits.messages || bytes + one.bytes > batchLimits.bytes)) break
      count++
      messages += one.messages
      bytes += one.bytes
    }
    return queue.splice(0, count)
  }

  /**
   * What no batch can hold is a row, for the router flushes long before. It is named, so that it can be found at the source.
   *
   * @throws TroupeError `event-too-large`
   */
  function mustFit({ append, headers, bytes, messages }: Waiting): void {
    const sizes = append.frames.map(({ length }) => length)
    const largest = Math.max(0, ...sizes)
    // One for the checkpoint.
    const fitsBatch = messages < batchLimits.messages && bytes <= batchLimits.alone && largest <= largestFrame
    if (append.frames.length === 0 || (fitsBatch && bytes <= mark * streamLimit)) return
    const { lane, last } = headers[sizes.indexOf(largest)]!
    throw new TroupeError({
      code: 'event-too-large',
      message: `the event ${formatPosition(last)} of lane ${lane.lane} is too large to be stored in one step: its frame has ${largest} bytes, its append ${bytes} in ${messages} messages`,
      place,
      remedy: fitsBatch
        ? `raise cluster.maxBytes: readers fill four fifths of it (${streamLimit} bytes now)`
        : `leave the column out of the publication, or raise max_payload on the NATS servers; ${largestFrame} bytes in ${batchLimits.messages - 1} messages are the most`,
      permanent: true,
    })
  }

  function assemble(batch: readonly Waiting[]) {
    const messages: StreamMessage[] = []
    const obliged: (Obligation & { readonly index: number })[] = []
    for (const { append, headers } of batch) {
      for (const [index, place] of append.frames.entries()) {
        const header = headers[index]!
        const key = partitionKey(place.set, place.partition)
        const frameMark: FrameMark = { major: BigInt(stored.run), minor: ++frames, part: 0 }
        const bytes = new Uint8Array(append.slab!.memory, place.offset, place.length)
        const parcel = { source, mark: frameMark, previous: marks.get(key) ?? null }
        for (const message of pack(names.frames(place.set, place.partition), parcel, bytes, maxMessage))
          messages.push(message)
        marks.set(key, frameMark)
        if (header.lane.ordered !== false) advance(key, header)
      }
      if (append.obligation !== null) {
        receipts++
        const obligation: Obligation = { receipt: receipts, bytes: append.obligation }
        messages.push(...obligations.messages(obligation))
        obliged.push({ ...obligation, index: messages.length - 1 })
      }
    }
    return { messages, obliged, state: batch.at(-1)!.append.state }
  }

  function advance(key: string, header: FrameHeader): void {
    let vector = previous.get(key)
    if (vector === undefined) {
      vector = {}
      previous.set(key, vector)
    }
    const lane = laneKey(source, header.lane.lane)
    const known = vector[lane]
    const { epoch } = header.lane
    if (known === undefined || epoch > known.epoch || comparePositions(header.last, known.position) > 0)
      vector[lane] = { epoch, position: header.last }
  }

  function release(batch: readonly Waiting[], fulfilled: readonly Obligation[], state: ReaderState): void {
    const bytes = new Map<string, number>()
    for (const { append } of batch)
      for (const place of append.frames) {
        const key = partitionKey(place.set, place.partition)
        bytes.set(key, (bytes.get(key) ?? 0) + place.length)
      }
    for (const one of batch) queuedBytes -= one.bytes
    const { number } = batch.at(-1)!.append
    init.tell({
      type: 'returned',
      term: fence.term,
      bytes: [...bytes].map(([key, count]) => ({ key, bytes: count })),
      slabs: batch.flatMap(({ append }) => (append.slab === null ? [] : [append.slab])),
    })
    init.tell({ type: 'stored', term: fence.term, number })
    holdback.hold(state, fulfilled)
    settling.stored(number)
  }

  // Room -----------------------------------------------------------------------------------------------------------

  async function waitForRoom(): Promise<void> {
    for (;;) {
      if (over) return
      const full = fence.figures.fullSince !== null
      if (!full && lookedBytes < lookBytes && world.monotonic() - lookedAt < lookEvery) break
      try {
        const state = await stream.state(answerWithin)
        streamBytes = state.bytes
        streamLimit = state.maxBytes
        lookedAt = world.monotonic()
        lookedBytes = 0
        fence.figures.fullSince = null
      } catch {
        // Who cannot look cannot append either: the commit will tell.
        break
      }
      if (streamBytes < mark * streamLimit) break
      const before = stoppedBy
      stoppedBy = await culprit(stream, names, init.sets).catch(() => before ?? 'unknown')
      if (before === null)
        log.warn(
          { source, bytes: streamBytes, limit: streamLimit, processor: stoppedBy },
          'the log is at its mark: the reader waits until it has drained',
        )
      await sleep(world, lookEvery / 2)
    }
    if (stoppedBy !== null) log.info({ source, bytes: streamBytes, limit: streamLimit }, 'the log has room again')
    stoppedBy = null
  }

  return {
    open,
    append,
    discharge: obligations.discharge,
    hurry: () => settling.want(appended),
    stillOwns,
    async close(deadlineMs) {
      // What waits for confirmations waits longer than any stop.
      const storing = (committing || queue.length > 0) && !obligations.figures().waitsForHoldback
      if (!over && storing)
        await new Promise<void>((resolve) => {
          const timer = world.setTimer(deadlineMs, resolve)
          idle.push(() => {
            timer.cancel()
            resolve()
          })
        })
      end()
    },
    figures: () => ({
      ...fence.figures,
      term: fence.term,
      sequence,
      waitingBytes: queuedBytes,
      ...holdback.figures(),
      ...obligations.figures(),
      stoppedBy,
      streamBytes,
      streamLimit,
    }),
  }
}

const runRandom = 2 ** 20
const highestSecond = 2 ** 32

/**
 * Higher than every run that the log knows, and unlike any that it may have lost with its tail: two runs of one second, or
 * two that follow the same lost one, differ in what was drawn.
 */
function nextRun(known: number, world: World): number {
  const seconds = Math.min(highestSecond, Math.floor(world.now() / 1000))
  const second = Math.max(Math.floor(known / runRandom) + 1, seconds)
  return second * runRandom + Math.floor(world.random() * runRandom)
}

/** The checkpoint in the stream is the last append: everything before it is stored, nothing behind it. */
function openedFrom(source: string, stored: StoredReader, kept: readonly Obligation[]): Opened {
  const checkpoint: ReaderCheckpoint = {
    source,
    state: stored.confirmed,
    previous: stored.previous,
    // Held back first: they are told to the source when they are confirmed.
    obligations: [],
    term: stored.term,
  }
  return {
    term: stored.term,
    checkpoint,
    tail: stored.state,
    appended: lastByLane(source, stored.previous),
    previous: stored.previous,
    outstanding: kept,
    held: {},
  }
}

function lastByLane(
  source: string,
  previous: Readonly<Record<string, LaneVector>>,
): Record<string, LaneVector[string]> {
  const last: Record<string, LaneVector[string]> = {}
  for (const lanes of Object.values(previous))
    for (const [key, at] of Object.entries(lanes)) {
      const lane = key.slice(source.length + 1)
      const known = last[lane]
      if (known === undefined || at.epoch > known.epoch) last[lane] = at
      else if (at.epoch === known.epoch && comparePositions(at.position, known.position) > 0) last[lane] = at
    }
  return last
}
