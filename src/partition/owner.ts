/**
 * The consumer of one partition: takes its frames from the log, decides for each processor what of them is new, hands
 * them on in order, and tells the log what each processor has finished.
 *
 * It keeps what a processor has not finished, so that a processor that was restarted gets it again. It never trusts the
 * log to begin where it was asked to: each frame is placed by its positions.
 */
import { defineActor } from '../actor/actor.js'
import type { LaneVector } from '../checkpoint/checkpoint.js'
import { readFrameHeader } from '../event/open.js'
import { formatPosition, type Position } from '../event/position.js'
import type { DeliveredFrame, LogMessage, OwnerMessage } from '../log/log.js'
import { TroupeError } from '../world/error.js'
import { afterFrame, placeFrame } from './progress.js'

export interface ConsumerArgs {
  readonly set: string
  readonly partition: number
  readonly processors: readonly string[]
  readonly log: string
}

/** One frame for one processor. */
export interface Assigned {
  readonly frame: DeliveredFrame
  /** Skip records at or before this; null: none. */
  readonly after: Position | null
  /** Nothing in it is new: finish it without opening it. */
  readonly skip: boolean
}

/** What the consumer tells a processor. */
export type ProcessorMessage = { readonly type: 'work'; readonly frames: readonly Assigned[] }

export type ConsumerMessage =
  | OwnerMessage
  /** A processor has started (again) and wants everything that it has not finished. */
  | { readonly type: 'join'; readonly processor: string; readonly path: string }
  | { readonly type: 'done'; readonly processor: string; readonly sequence: number }

interface Reading {
  path: string | null
  /** Lanes after the last frame that was placed. */
  lanes: LaneVector
  finished: number
  /** Placed and not finished, in order. */
  work: Assigned[]
}

export const consumer = defineActor<ConsumerArgs, ConsumerMessage>(
  { module: import.meta.url, export: 'consumer' },
  (context, args) => {
    const log = context.ref<LogMessage>(args.log)
    const readings = new Map<string, Reading>()
    const early: { processor: string; path: string }[] = []
    let attached = false

    function place(frames: readonly DeliveredFrame[]): void {
      if (frames.length === 0) return
      for (const [processor, reading] of readings) {
        const assigned: Assigned[] = []
        for (const frame of frames) {
          if (frame.sequence <= reading.finished) continue
          const header = readFrameHeader(Buffer.from(frame.memory), frame.offset)
          const placement = placeFrame(header, reading.lanes)
          if (placement.kind === 'gap') throw gap(processor, header.lane.source, placement)
          reading.lanes = afterFrame(header, reading.lanes)
          assigned.push({
            frame,
            after: placement.kind === 'after' ? placement.after : null,
            skip: placement.kind === 'none',
          })
        }
        for (const one of assigned) reading.work.push(one)
        if (reading.path !== null && assigned.length > 0)
          context.ref<ProcessorMessage>(reading.path).tell({ type: 'work', frames: assigned })
      }
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

    function join(processor: string, path: string): void {
      const reading = readings.get(processor)
      if (reading === undefined) return
      reading.path = path
      if (reading.work.length > 0) context.ref<ProcessorMessage>(path).tell({ type: 'work', frames: [...reading.work] })
    }

    log.tell({ type: 'attach', set: args.set, partition: args.partition, owner: context.path })

    return {
      receive(message) {
        switch (message.type) {
          case 'attached':
            attached = true
            readings.clear()
            for (const processor of args.processors) {
              const known = message.processors[processor]
              readings.set(processor, {
                path: null,
                lanes: known?.lanes ?? {},
                finished: known?.finished ?? 0,
                work: [],
              })
            }
            for (const { processor, path } of early.splice(0)) join(processor, path)
            place(message.frames)
            return
          case 'frames':
            // Before `attached` these are part of it.
            if (attached) place(message.frames)
            return
          case 'join':
            if (attached) join(message.processor, message.path)
            else early.push({ processor: message.processor, path: message.path })
            return
          case 'done': {
            const reading = readings.get(message.processor)
            if (reading === undefined || message.sequence <= reading.finished) return
            reading.finished = message.sequence
            let gone = 0
            while (gone < reading.work.length && reading.work[gone]!.frame.sequence <= message.sequence) gone++
            reading.work.splice(0, gone)
            log.tell({
              type: 'finished',
              set: args.set,
              partition: args.partition,
              processor: message.processor,
              sequence: message.sequence,
            })
            return
          }
        }
      },
      inspect() {
        return {
          set: args.set,
          partition: args.partition,
          waiting: Math.max(0, ...[...readings.values()].map((reading) => reading.work.length)),
        }
      },
    }
  },
)
