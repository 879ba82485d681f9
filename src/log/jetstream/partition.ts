/**
 * The log as the owner of one partition sees it: a seal over the checkpoints of its processors, an ordered reading for
 * each of them (one for all that stand at the same place), their checkpoints in one batch, and trimming.
 *
 * A processor is given frames under numbers of its own, from 1 and without a hole; where they lie in the stream only this
 * file knows. Trimming is behind the slowest checkpoint of this partition, by name and subject, and a holdback old: a
 * checkpoint that the servers have not synced may be lost while the trim that it allowed is not.
 */
import type { LaneVector } from '../../checkpoint/checkpoint.js'
import { readFrameHeader } from '../../event/open.js'
import type { Position } from '../../event/position.js'
import type { TroupeError } from '../../world/error.js'
import type { Logger } from '../../world/logger.js'
import { sleep } from '../../world/sleep.js'
import type { Timer, World } from '../../world/world.js'
import { advanceLanes } from '../lanes.js'
import type { DeliveredFrame, FrameMark } from '../log.js'
import { createDeparted } from './departed.js'
import { createFeeds } from './feeds.js'
import { type Checkpointed, closedMeanwhile, createFence, type FenceFigures, isSought, toLogError } from './fence.js'
import { createHistory, lostTail } from './history.js'
import type { StreamNames } from './names.js'
import type { ArrivedFrame } from './parcel.js'
import { answerWithin, type StoredMessage, type StreamPort } from './port.js'
import { decodeProcessor, encodeProcessor, type FrameMarks, firstProcessor, type StoredProcessor } from './stored.js'
import { createTrim } from './trim.js'

export interface PartitionLogInit {
  readonly world: World
  readonly log: Logger
  readonly stream: StreamPort
  readonly names: StreamNames
  readonly scope: string
  readonly partition: number
  readonly processors: readonly { readonly name: string; readonly start: 'earliest' | 'latest' }[]
  readonly owner: string
  /** ms between checkpoints. */
  readonly checkpointInterval: number
  /** As of the writer: what is younger is not trimmed, for the checkpoint that allows it may be lost while the trim is not. */
  readonly holdback: number
  /** ms for which processed frames are kept for a replay. */
  readonly retain: number
  /** Bytes that one processor may have unfinished. */
  readonly window: number
  /** Processors that are paused by order when this begins. */
  readonly paused?: readonly string[]
  /** Frames for one processor, in order, under numbers of its own without a hole. */
  readonly deliver: (processor: string, frames: readonly DeliveredFrame[]) => void
  /** This owner is over: fenced, or the log does not hold what it should. Called once. */
  readonly failed: (error: Error) => void
  readonly planted?: readonly string[]
}

export interface PartitionLog {
  /** Seals: from now on no earlier owner can commit. */
  open(): Promise<void>
  /**
   * A processor has started (again): where it stands, and everything that it has not finished, with what will be delivered
   * following on.
   */
  attach(processor: string): {
    readonly lanes: LaneVector
    readonly finished: number
    readonly frames: readonly DeliveredFrame[]
  }
  /** This processor has finished every frame up to this number of its own. */
  finished(processor: string, sequence: number): void
  /** A processor has stopped for good: nobody waits for it. */
  halted(processor: string): void
  /**
   * These are paused by order, all others are not. Who is paused finishes what it was given and is given nothing more; its
   * checkpoint stays, and trim and window treat it as one that is slow.
   */
  pause(processors: readonly string[]): void
  /** Somebody may have put a processor elsewhere from outside: where it is so, this owner ends in order, with `sought`. */
  lookForSeek(): Promise<void>
  /** Resolves when a read has shown that no other owner has sealed; fails this owner where one has. */
  stillOwns(): Promise<void>
  /** Writes a checkpoint now, if there is something to write. Resolves when it is stored. */
  checkpoint(): Promise<void>
  /** Delivers nothing more, waits within the deadline for what was delivered, writes the last checkpoint, ends. */
  close(deadlineMs: number): Promise<void>
  figures(): PartitionLogFigures
}

export interface PartitionLogFigures extends FenceFigures {
  readonly scope: string
  readonly partition: number
  readonly term: number
  readonly trimmedTo: number
  readonly processors: Readonly<
    Record<
      string,
      {
        /** Sequences of the stream. */
        readonly finished: number
        readonly checkpoint: number
        readonly delivered: number
        readonly unfinished: number
        readonly paused: boolean
        /** Number of the reading that it shares. */
        readonly reading: number
      }
    >
  >
  /** Checkpoints of processors that the pipeline no longer has: they pin the log until they are retired. */
  readonly departed: readonly string[]
}

interface Following {
  readonly name: string
  readonly subject: string
  lanes: Record<string, { epoch: bigint; position: Position }>
  marks: Record<string, FrameMark>
  /** Sequence of the stream up to which everything is finished. */
  sequence: number
  /** It reads everything retained again, some of which a late purge may take away meanwhile: that is no gap. */
  anew: boolean
  /** As it was last stored. */
  stored: number
  storedMarks: FrameMarks
  dirty: boolean
  halted: boolean
  attached: boolean
  paused: boolean
  /** Its checkpoint was moved from outside: ours is not written any more. */
  sought: boolean
  /** Delivered and not finished, with the number that it has for the processor. */
  pending: { readonly number: number; readonly frame: ArrivedFrame; readonly delivered: DeliveredFrame }[]
  /** Number of the last frame that is there for it, that it was given, and that it has finished. */
  given: number
  sent: number
  done: number
}

/** Bytes finished since the last checkpoint that make one due. */
const checkpointBytes = 64 * 1024 * 1024
/** ms for which an owner whose processor was put elsewhere waits for what the others have in hand. */
const seekWithin = 5_000

export function createPartitionLog(init: PartitionLogInit): PartitionLog {
  const { world, log, stream, names, scope, partition, owner, planted = [] } = init
  const place = `partition ${scope}.${partition}`
  const fence = createFence({ world, stream, owner, place, planted })
  const frames = names.frames(scope, partition)
  const history = createHistory(stream, frames)
  const following = new Map<string, Following>()
  let commits = 0
  let finishedBytes = 0
  let checkpointTimer: Timer | null = null
  /** Those who ask at the same time whether we still own this are told by one read. */
  let permit: Promise<void> | null = null
  let writing: Promise<void> | null = null
  let over = false
  let told = false
  /** The history that was read is lost; nothing of it is finished any more. */
  let left = false
  let closing: (() => void) | null = null
  let closed: Promise<void> = Promise.resolve()
  const trim = createTrim({
    world,
    log,
    stream,
    names,
    subject: frames,
    holdback: init.holdback,
    retain: init.retain,
    async stillStands(sequence, marks) {
      if (!(await stillStands())) return false
      const found = await history.whatStands(sequence, marks)
      if (found === 'other') throw lostTail(place, sequence, sequence)
      return true
    },
    // What the others have in hand is not let go for it.
    failed: (error) => (isSought(error) ? void lookForSeek() : fail(error)),
    planted,
  })
  const departed = createDeparted({
    ...init,
    has: (processor) => following.has(processor),
    looked: noteTrim,
    failed: fail,
  })
  const feeds = createFeeds({
    stream,
    subject: frames,
    place,
    window: init.window,
    deliver: (name, arrived) => give(following.get(name)!, arrived),
    rewound: (last, delivered) => void leaveHistory(lostTail(place, last, delivered)),
    resumed: lookBack,
    failed: (error) => void leaveGap(error),
  })

  async function stillStands(): Promise<boolean> {
    return (await Promise.all(subjects().map(fence.stillStands))).every((answered) => answered)
  }

  function subjects(): string[] {
    return [...following.values()].map(({ subject }) => subject)
  }

  /** A read that had begun before somebody asked tells him nothing. */
  function stillOwns(): Promise<void> {
    permit ??= new Promise<void>((resolve) => world.defer(resolve))
      .then(() => {
        permit = null
        return fence.stillOwns(subjects())
      })
      .catch((error) => {
        fail(error)
        throw error
      })
    return permit
  }

  function fail(error: unknown): void {
    if (over) return
    end()
    tell(error)
  }

  function tell(error: unknown): void {
    if (told) return
    told = true
    init.failed(toLogError(error, place))
  }

  function end(): void {
    over = true
    feeds.stop()
    fence.close()
    trim.stop()
    checkpointTimer?.cancel()
    departed.stop()
    closing?.()
  }

  // Lost tails -----------------------------------------------------------------------------------------------------

  async function lookBack(delivered: number, marks: FrameMarks): Promise<boolean> {
    for (let attempt = 0; !over; attempt++)
      try {
        if (await history.isAsRead(delivered, marks)) return true
        await leaveHistory(lostTail(place, delivered, delivered))
        return false
      } catch (error) {
        if (attempt >= 10) throw error
        await sleep(world, 200)
      }
    return false
  }

  /**
   * What was finished in a history that is lost may already stand in checkpoints, whose own sequence survived. Their
   * positions are true; their marks and sequences are of frames that are no more, and would hide those that stand there now.
   */
  async function leaveHistory(error: TroupeError): Promise<void> {
    if (over || left) return
    left = true
    feeds.stop()
    try {
      await checkpoint()
    } catch (other) {
      fail(other)
      return
    }
    fail(error)
  }

  /** A successor trims what it has finished: to its predecessor that looks like a gap. */
  async function leaveGap(error: Error): Promise<void> {
    const [first] = following.values()
    try {
      for (let attempt = 0; attempt < 10 && !over && first !== undefined; attempt++) {
        if (await fence.stillStands(first.subject)) break
        await sleep(world, 200)
      }
      for (const one of following.values())
        if (one.anew || (await history.whatStands(one.sequence, one.marks)) === 'other') {
          await leaveHistory(lostTail(place, one.sequence, one.sequence))
          return
        }
    } catch (other) {
      fail(other)
      return
    }
    fail(error)
  }

  // Opening --------------------------------------------------------------------------------------------------------

  async function open(): Promise<void> {
    const subjects = init.processors.map(({ name }) => names.processor(name, scope, partition))
    const sealed = await fence.seal(subjects, async (found, term) => {
      const begins = init.processors.some(({ start }, index) => found[index] === null && start === 'latest')
      const last = begins ? await stream.last(frames, answerWithin) : null
      return init.processors.map(({ name, start }, index) => {
        const stored = storedOf(found[index]!, subjects[index]!)
        const begun: StoredProcessor = {
          ...(stored ?? { ...firstProcessor, sequence: start === 'latest' ? (last?.sequence ?? 0) : 0 }),
          term,
          owner,
          commit: 0,
          at: Math.floor(world.now()),
        }
        const known = planted.includes('ignore-the-checkpoint') ? firstProcessor : begun
        following.set(name, follow(name, subjects[index]!, known))
        return { subject: subjects[index]!, payload: encodeProcessor(begun) }
      })
    })
    await Promise.all([...following.values()].map((one) => enterHistory(one, sealed)))
    if (over) throw closedMeanwhile(place)
    for (const one of following.values()) {
      feeds.follow(one.name, one.sequence, one.marks)
    }
    for (const one of following.values()) if (one.paused) sayPaused(one)
    departed.begin()
    schedule()
  }

  /**
   * A checkpoint may speak of frames that the log has lost since: then everything that it retains is read, and placed by its
   * positions. Who names a sequence that the log has only now reached, with our seal, has read another history.
   */
  async function enterHistory(one: Following, sealed: number): Promise<void> {
    if (one.sequence < sealed && (await history.isAsRead(one.sequence, one.marks))) return
    log.warn(
      { partition: `${scope}.${partition}`, processor: one.name, sequence: one.sequence },
      'the checkpoint speaks of frames that the log has lost: everything retained is read again',
    )
    one.anew = true
    one.marks = {}
    one.sequence = 0
    one.stored = 0
    one.storedMarks = {}
    one.dirty = true
  }

  function follow(name: string, subject: string, stored: StoredProcessor): Following {
    return {
      name,
      subject,
      lanes: { ...stored.lanes },
      marks: { ...stored.marks },
      sequence: stored.sequence,
      anew: stored.sequence === 0 && Object.keys(stored.lanes).length > 0,
      stored: stored.sequence,
      storedMarks: stored.marks,
      dirty: false,
      halted: false,
      attached: false,
      paused: init.paused?.includes(name) === true,
      sought: false,
      pending: [],
      given: 0,
      sent: 0,
      done: 0,
    }
  }

  // Delivering -----------------------------------------------------------------------------------------------------

  function give(one: Following, arrived: readonly ArrivedFrame[]): void {
    if (over || closing !== null || one.halted) return
    for (const frame of arrived) {
      const number = ++one.given
      const { memory, offset, length, mark } = frame
      const delivered: DeliveredFrame = { sequence: number, memory, offset, length, mark }
      one.pending.push({ number, frame, delivered })
    }
    send(one)
  }

  /** What is there for it and was not given yet. */
  function send(one: Following): void {
    if (!one.attached || one.paused || one.sent === one.given) return
    const { sent } = one
    one.sent = one.given
    let at = one.pending.length
    while (at > 0 && one.pending[at - 1]!.number > sent) at--
    init.deliver(
      one.name,
      one.pending.slice(at).map(({ delivered }) => delivered),
    )
  }

  function finished(name: string, number: number): void {
    const one = following.get(name)
    if (one === undefined || over || left || number <= one.done || number > one.given) return
    let count = 0
    while (count < one.pending.length && one.pending[count]!.number <= number) count++
    const gone = one.pending.splice(0, count)
    one.done = number
    for (const { frame } of gone) {
      const header = readFrameHeader(Buffer.from(frame.memory), frame.offset)
      advanceLanes(one.lanes, header, frame.mark)
      one.marks[frame.source] = frame.mark
      one.sequence = frame.sequence
      finishedBytes += frame.length
      trim.seen(frame)
    }
    one.dirty = true
    feeds.finished(name, gone.at(-1)!.frame)
    if (finishedBytes >= checkpointBytes) void checkpoint()
    if (closing !== null && nothingPending()) closing()
  }

  function nothingPending(): boolean {
    for (const one of following.values()) {
      const [oldest] = one.pending
      if (oldest !== undefined && oldest.number <= one.sent && !one.halted) return false
    }
    return true
  }

  // Checkpoints ----------------------------------------------------------------------------------------------------

  function schedule(): void {
    if (over) return
    checkpointTimer = world.setTimer(init.checkpointInterval, () => {
      checkpoint().finally(schedule)
    })
  }

  /** One at a time; a call while one is under way waits for the next. */
  async function checkpoint(): Promise<void> {
    while (writing !== null) await writing
    if (over) return
    writing = write().finally(() => {
      writing = null
    })
    await writing
  }

  async function write(): Promise<void> {
    if (left)
      for (const one of following.values()) {
        one.marks = {}
        one.sequence = 0
        one.dirty = true
      }
    const dirty = [...following.values()].filter((one) => one.dirty && !one.sought)
    if (dirty.length === 0) return
    finishedBytes = 0
    const number = ++commits
    const checkpoints: Checkpointed[] = []
    const reached: Pick<Following, 'stored' | 'storedMarks'>[] = []
    for (const one of dirty) {
      one.dirty = false
      reached.push({ stored: one.sequence, storedMarks: { ...one.marks } })
      checkpoints.push({ subject: one.subject, payload: encodeProcessor(stateOf(one, number)) })
    }
    try {
      await fence.commit(number, [], checkpoints)
    } catch (error) {
      if (!over) fail(error)
      return
    }
    for (const [index, one] of dirty.entries()) Object.assign(one, reached[index])
    noteTrim()
  }

  function stateOf(one: Following, commit: number): StoredProcessor {
    return {
      term: fence.term,
      owner,
      commit,
      lanes: one.lanes,
      marks: one.marks,
      sequence: one.sequence,
      at: Math.floor(world.now()),
    }
  }

  /** Behind the slowest checkpoint of all that have one here, those that left too. */
  function noteTrim(): void {
    if (over || departed.found === null) return
    let slowest: { readonly sequence: number; readonly marks: FrameMarks } | null = null
    for (const { stored, storedMarks } of following.values())
      if (slowest === null || stored < slowest.sequence) slowest = { sequence: stored, marks: storedMarks }
    for (const one of departed.found.values()) if (slowest === null || one.sequence < slowest.sequence) slowest = one
    if (slowest !== null) trim.note(slowest.sequence, slowest.marks)
  }

  /** What the others have in hand is finished and stored first, so that nothing comes to them twice. */
  async function lookForSeek(): Promise<void> {
    let found: unknown
    for (const one of following.values())
      try {
        if (over || closing !== null) return
        await fence.stillStands(one.subject)
      } catch (error) {
        if (!isSought(error)) return fail(error)
        one.sought = true
        // From where it was put it needs what was finished here.
        trim.stop()
        found = error
      }
    if (found === undefined || over || closing !== null) return
    await close(seekWithin)
    tell(found)
  }

  function sayPaused({ name, paused }: Following): void {
    log.info(
      { partition: `${scope}.${partition}`, processor: name },
      paused ? 'paused by order' : 'goes on: no order pauses it any more',
    )
  }

  function pause(processors: readonly string[]): void {
    for (const one of following.values()) {
      const paused = processors.includes(one.name)
      if (paused === one.paused) continue
      one.paused = paused
      sayPaused(one)
      if (paused) continue
      // The word of a seek may not have come.
      void lookForSeek().then(() => {
        if (!over && closing === null) send(one)
      })
    }
  }

  /** Asked again with 0 it waits no longer. */
  function close(deadlineMs: number): Promise<void> {
    if (over) return Promise.resolve()
    if (closing === null) closed = closeWithin(deadlineMs)
    else if (deadlineMs === 0) closing()
    return closed
  }

  async function closeWithin(deadlineMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = world.setTimer(deadlineMs, resolve)
      closing = () => {
        timer.cancel()
        resolve()
      }
      if (nothingPending()) closing()
    })
    if (over) return
    feeds.stop()
    const last = checkpoint()
    const timer = world.setTimer(Math.max(1_000, deadlineMs), end)
    await last
    timer.cancel()
    end()
  }

  return {
    open,
    attach(name) {
      const one = following.get(name)
      if (one === undefined) throw new RangeError(`${place} has no processor ${name}`)
      one.attached = true
      one.halted = false
      one.sent = one.paused ? one.done : one.given
      const frames = one.paused ? [] : one.pending.map(({ delivered }) => delivered)
      return { lanes: { ...one.lanes }, finished: one.done, frames }
    },
    finished,
    halted(name) {
      const one = following.get(name)
      if (one === undefined) return
      one.halted = true
      // Its frames are not waited for, and are not finished: they come again when it starts anew.
      feeds.leave(name)
      if (closing !== null && nothingPending()) closing()
    },
    pause,
    lookForSeek,
    stillOwns,
    checkpoint,
    close,
    figures: () => ({
      ...fence.figures,
      scope,
      partition,
      term: fence.term,
      trimmedTo: trim.trimmedTo,
      processors: Object.fromEntries(
        [...following.values()].map((one) => {
          const { feed, delivered } = feeds.place(one.name)
          return [
            one.name,
            {
              finished: one.sequence,
              checkpoint: one.stored,
              delivered,
              unfinished: one.pending.length,
              paused: one.paused,
              reading: feed,
            },
          ]
        }),
      ),
      departed: [...(departed.found?.keys() ?? [])],
    }),
  }
}

function storedOf(message: StoredMessage | null, subject: string): StoredProcessor | null {
  return message === null ? null : decodeProcessor(message.payload, subject)
}
