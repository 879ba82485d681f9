/** What one partition of the log retains, frame by frame, for one processor: the heads alone are kept. */
import { readFrameHeader } from '../../event/open.js'
import { unpacker } from '../../log/jetstream/parcel.js'
import { partitionKey } from '../../log/log.js'
import { TroupeError } from '../../world/error.js'
import { answerWithin, type ClusterAccess } from './connect.js'
import type { RetainedFrame } from './seek-target.js'

/** ms for one partition. */
const readWithin = 120_000

export async function readRetained(
  { stream, names, world, definition }: ClusterAccess,
  processor: string,
  set: string,
  partition: number,
): Promise<readonly RetainedFrame[]> {
  const { from } = definition.processors[processor]!
  const subject = names.frames(set, partition)
  const end = (await stream.last(subject, answerWithin))?.sequence ?? 0
  if (end === 0) return []
  const frames: RetainedFrame[] = []
  const unpack = unpacker()
  await new Promise<void>((resolve, reject) => {
    const late = world.setTimer(readWithin, () =>
      done(
        new TroupeError({
          code: 'cluster-unreadable',
          message: 'the frames of the log could not be read in time',
          place: `partition ${partitionKey(set, partition)}`,
          remedy: 'look at the NATS servers, and try again',
        }),
      ),
    )
    const done = (error: Error | null): void => {
      late.cancel()
      reading.stop()
      if (error === null) resolve()
      else reject(error)
    }
    const reading = stream.read({
      subject,
      from: 1,
      window: 4 * 1024 * 1024,
      message(message) {
        reading.credit(message.payload.length)
        if (message.sequence > end) return done(null)
        try {
          const frame = unpack.take(message)
          if (frame !== null) {
            const { lane, first, last, previous, count } = readFrameHeader(Buffer.from(frame.memory), frame.offset)
            const reads = from.length === 0 || from.includes(lane.source)
            const { sequence, storedAt, source } = frame
            const follows = frame.previous !== null
            frames.push({
              sequence,
              storedAt,
              source,
              lane: lane.lane,
              ordered: lane.ordered !== false,
              first,
              last,
              previous,
              follows,
              events: reads ? count : 0,
            })
          }
        } catch (error) {
          return done(error as Error)
        }
        if (message.sequence === end) done(null)
      },
      resumed: () => {},
      failed: done,
    })
  })
  return frames
}
