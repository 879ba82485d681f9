/**
 * What one partition of the log retains, frame by frame, for one processor: the heads alone are kept.
 *
 * It may take as long as it advances. Where its owner trims meanwhile what was to be read, nothing of it is retained.
 */
import { readFrameHeader } from '../../event/open.js'
import { unpacker } from '../../log/jetstream/parcel.js'
import { partitionKey } from '../../log/log.js'
import { TroupeError } from '../../world/error.js'
import type { Timer } from '../../world/world.js'
import { answerWithin, type ClusterAccess } from './connect.js'
import type { RetainedFrame } from './seek-target.js'

/** ms without a message: then nothing more is waited for. */
const silentFor = 60_000
/** ms without a message: then it is asked whether there is still one to come. */
const askAfter = 3_000

export async function readRetained(
  { stream, names, world, definition }: Pick<ClusterAccess, 'stream' | 'names' | 'world' | 'definition'>,
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
    let heard = world.monotonic()
    let over = false
    let watch: Timer
    const done = (error: Error | null): void => {
      if (over) return
      over = true
      watch.cancel()
      reading.stop()
      if (error === null) resolve()
      else reject(error)
    }
    const look = async (): Promise<void> => {
      const silence = world.monotonic() - heard
      if (silence >= silentFor) return done(silenceError(partitionKey(set, partition)))
      const trimmed = silence >= askAfter && (await isTrimmed())
      if (over) return
      if (trimmed) {
        frames.length = 0
        return done(null)
      }
      watch = world.setTimer(askAfter, () => void look())
    }
    // Who does not answer is asked again, until the silence has lasted too long.
    const isTrimmed = async (): Promise<boolean> => {
      const first = await stream.first(subject, answerWithin).catch(() => undefined)
      return first === null || (first !== undefined && first.sequence > end)
    }
    watch = world.setTimer(askAfter, () => void look())
    const reading = stream.read({
      subject,
      from: 1,
      window: 4 * 1024 * 1024,
      message(message) {
        if (over) return
        heard = world.monotonic()
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

function silenceError(partition: string): TroupeError {
  return new TroupeError({
    code: 'cluster-unreadable',
    message: `of the frames of the log none came for ${silentFor / 1000} s`,
    place: `partition ${partition}`,
    remedy: 'look at the NATS servers, and try again',
  })
}
