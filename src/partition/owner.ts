/**
 * The consumer of one partition: takes its frames from the log, decides for each processor what of them is new, hands
 * them on in order, and tells the log what each processor has finished.
 *
 * It keeps what a processor has not finished, so that a processor that was restarted gets it again. It never trusts the
 * log to begin where it was asked to: each frame is placed by its positions. Where a processor's sink stores the checkpoint
 * with the work, that checkpoint alone places its frames, whatever the log's says.
 */
import { defineActor, type Ref } from '../actor/actor.js'
import type { LanePosition, LaneVector } from '../checkpoint/checkpoint.js'
import type { FrameHeader } from '../event/frame.js'
import { readFrameHeader } from '../event/open.js'
import { formatPosition, type Position } from '../event/position.js'
import { runOf } from '../log/lanes.js'
import { type DeliveredFrame, type LogMessage, laneKey, type OwnerMessage } from '../log/log.js'
import { TroupeError } from '../world/error.js'
import type { World } from '../world/world.js'
import { afterFrame, lanesBehind, passesOver, placeFrame } from './progress.js'

export interface PartitionProcessor {
  readonly name: string
  /** The sources that it reads; empty: all. Frames of others pass it by. */
  readonly from: readonly string[]
}

export interface ConsumerArgs {
  readonly set: string
  readonly partition: number
  readonly processors: readonly PartitionProcessor[]
  readonly log: string
}

/** One frame for one processor. */
export interface Assigned {
  readonly frame: DeliveredFrame
  /** Skip records at or before this; null: none. */
  readonly after: Position | null
  /** Nothing in it is new: finish it without opening it. */
  readonly skip: boolean
  /** Where the processor stands when it has finished the frame. */
  readonly lanes: LaneVector
}

/** What the consumer tells a processor. */
export interface ProcessorMessage {
  readonly type: 'work'
  /** As the processor gave it when it joined: work meant for its predecessor is not its own. */
  readonly session: number
  readonly frames: readonly Assigned[]
}

export type ConsumerMessage =
  | OwnerMessage
  /** A processor has started (again) and wants everything that it has not finished. */
  | {
      readonly type: 'join'
      readonly processor: string
      readonly path: string
      readonly session: number
      /** The checkpoint in its sink; null: the sink stores checkpoints and has none; absent: it stores none. */
      readonly lanes?: LaneVector | null
    }
  /** A processor has stopped for good: its partition can drain no further. */
  | { readonly type: 'halted' }
  | { readonly type: 'done'; readonly processor: string; readonly sequence: number; readonly session: number }

interface Joined {
  readonly ref: Ref<ProcessorMessage>
  readonly session: number
  readonly sink: LaneVector | null | undefined
}

interface Reading {
  readonly from: readonly string[]
  joined: Joined | null
  /** Lanes after the last frame that was finished, and after the last that was placed. */
  done: LaneVector
  lanes: LaneVector
  /** Lanes in which its sink stands behind what was finished, with the place of the latter, until a frame tells whether that matters. */
  behind: Map<string, LanePosition>
  finished: number
  /** Not finished, in order. Placed once it has joined: only then it is known where it stands. */
  frames: DeliveredFrame[]
  work: Assigned[]
}

export const consumer = defineActor<ConsumerArgs, ConsumerMessage>(
  { module: import.meta.url, export: 'consumer' },
  (context, args) => {
    const log = context.ref<LogMessage>(args.log)
    const readings = new Map<string, Reading>()
    const early: ({ readonly processor: string } & Joined)[] = []
    /** Number of the attachment; 0 before it. */
    let session = 0
    let next = 0

    function place(frames: readonly DeliveredFrame[]): void {
      if (frames.length === 0) return
      if (next > 0 && frames[0]!.sequence !== next)
        throw new TroupeError({
          code: 'frames-missed',
          message: `frame ${frames[0]!.sequence} came where ${next} was due; the log gives them again`,
          place: context.path,
        })
      next = frames.at(-1)!.sequence + 1
      for (const [processor, reading] of readings) {
        const fresh = frames.filter(({ sequence }) => sequence > reading.finished)
        if (fresh.length === 0) continue
        for (const frame of fresh) reading.frames.push(frame)
        if (reading.joined !== null) assign(processor, reading, reading.joined, fresh)
      }
    }

    function assign(processor: string, reading: Reading, joined: Joined, frames: readonly DeliveredFrame[]): void {
      const assigned: Assigned[] = []
      for (const frame of frames) {
        const header = readFrameHeader(Buffer.from(frame.memory), frame.offset)
        if (reading.behind.size > 0) checkBehind(processor, reading, header, frame)
        const placement = placeFrame(header, reading.lanes, frame.mark)
        if (placement.kind === 'gap') throw gap(processor, header.lane.source, placement)
        if (placement.kind !== 'none') reading.lanes = afterFrame(header, reading.lanes, frame.mark)
        assigned.push({
          frame,
          after: placement.kind === 'after' ? placement.after : null,
          skip: placement.kind === 'none' || !reads(reading, header.lane.source),
          lanes: reading.lanes,
        })
      }
      for (const one of assigned) reading.work.push(one)
      if (assigned.length > 0) send(joined, assigned)
    }

    /** The sink stands behind what was finished: that is mended by frames that come again, and by nothing else. */
    function checkBehind(processor: string, reading: Reading, header: FrameHeader, frame: DeliveredFrame): void {
      const lane = laneKey(header.lane.source, header.lane.lane)
      for (const [key, other] of reading.behind) {
        if (key !== lane && runOf(key)?.lane !== lane) continue
        const own = reading.lanes[key]
        if (passesOver(header, own, other, frame.mark)) throw sinkBehind(processor, key, own, other)
        reading.behind.delete(key)
      }
    }

    function send({ ref, session }: Joined, frames: readonly Assigned[]): void {
      ref.tell({ type: 'work', session, frames })
    }

    function gap(processor: string, source: string, at: { at: Position; previous: Position }): TroupeError {
      return new TroupeError({
        code: 'log-gap',
        message: `events of source ${source} between ${formatPosition(at.at)} and ${formatPosition(at.previous)} are missing`,
        place: `processor ${processor}, partition ${args.set}.${args.partition}`,
        remedy: 'the checkpoints and the log do not belong together: put back the data directory that fits',
        permanent: true,
      })
    }

    function sinkBehind(
      processor: string,
      lane: string,
      at: LanePosition | undefined,
      finished: LanePosition,
    ): TroupeError {
      return new TroupeError({
        code: 'sink-behind',
        message: `the checkpoint in the sink stands at ${at === undefined ? 'nothing' : formatPosition(at.position)} of ${lane}, but everything up to ${formatPosition(finished.position)} had been committed to it and does not come again: the sink has lost data`,
        place: `processor ${processor}, partition ${args.set}.${args.partition}`,
        remedy:
          'put the newer data of the sink back; to go on without what is missing, remove the checkpoint in the sink (docs/sinks.md)',
        permanent: true,
      })
    }

    function join(processor: string, joined: Joined): void {
      const reading = readings.get(processor)
      if (reading === undefined) return
      reading.joined = joined
      reading.work = []
      reading.behind.clear()
      if (joined.sink === null && Object.keys(reading.done).length > 0)
        context.log.warn(
          { processor, set: args.set, partition: args.partition },
          'the sink has no checkpoint of this partition: it is new to it, or was lost; going on from the checkpoint of the log',
        )
      if (joined.sink != null) {
        reading.behind = lanesBehind(joined.sink, reading.done)
        reading.done = joined.sink
      }
      reading.lanes = reading.done
      assign(processor, reading, joined, reading.frames)
    }

    const token = incarnationOf(context.world)
    log.tell({
      type: 'attach',
      set: args.set,
      partition: args.partition,
      owner: context.path,
      token,
      processors: args.processors.map(({ name }) => name),
    })

    return {
      receive(message) {
        switch (message.type) {
          case 'attached':
            if (message.token !== token) return
            session = message.session
            readings.clear()
            for (const { name, from } of args.processors) {
              const known = message.processors[name]
              readings.set(name, {
                from,
                joined: null,
                done: known?.lanes ?? {},
                lanes: known?.lanes ?? {},
                behind: new Map(),
                finished: known?.finished ?? 0,
                frames: [],
                work: [],
              })
            }
            for (const { processor, ...joined } of early.splice(0)) join(processor, joined)
            place(message.frames)
            return
          case 'frames':
            // Before `attached` these are part of it.
            if (session > 0) place(message.frames)
            return
          case 'join': {
            const { path, session: theirs, lanes } = message
            const joined: Joined = { ref: context.ref<ProcessorMessage>(path), session: theirs, sink: lanes }
            if (session > 0) join(message.processor, joined)
            else early.push({ processor: message.processor, ...joined })
            return
          }
          case 'halted':
            log.tell({ type: 'halted', set: args.set, partition: args.partition, session })
            return
          case 'done': {
            const reading = readings.get(message.processor)
            if (reading?.joined?.session !== message.session || message.sequence <= reading.finished) return
            reading.finished = message.sequence
            let gone = 0
            while (gone < reading.work.length && reading.work[gone]!.frame.sequence <= message.sequence) gone++
            if (gone > 0) reading.done = reading.work[gone - 1]!.lanes
            reading.work.splice(0, gone)
            reading.frames.splice(0, gone)
            log.tell({
              type: 'finished',
              set: args.set,
              partition: args.partition,
              processor: message.processor,
              sequence: message.sequence,
              session,
            })
            return
          }
        }
      },
      inspect() {
        return {
          set: args.set,
          partition: args.partition,
          waiting: Math.max(0, ...[...readings.values()].map((reading) => reading.frames.length)),
        }
      },
    }
  },
)

/** A number that tells one incarnation of an actor from the others at its path. */
export function incarnationOf(world: World): number {
  return Buffer.from(world.randomBytes(6)).readUIntBE(0, 6)
}

function reads({ from }: Reading, source: string): boolean {
  return from.length === 0 || from.includes(source)
}
