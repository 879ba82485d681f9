/**
 * Looks on at the cluster's log from outside: terms that fall, and events that are stored twice. What is trimmed before it is
 * seen is not seen; what is seen is enough to tell.
 */
import { readFrameHeader } from '../../src/event/open.js'
import { comparePositions, formatPosition, type Position } from '../../src/event/position.js'
import { streamNames } from '../../src/log/jetstream/names.js'
import { createNatsStream } from '../../src/log/jetstream/nats-stream.js'
import { unpacker } from '../../src/log/jetstream/parcel.js'
import type { StoredMessage } from '../../src/log/jetstream/port.js'
import { decodeOwnership } from '../../src/log/jetstream/stored.js'
import { connectNats } from '../../src/wire/nats/connect.js'
import type { Logger } from '../../src/world/logger.js'
import { realWorld } from '../../src/world/real.js'

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} }
const window = 32 * 1024 * 1024

export interface LogWatch {
  /** What was wrong, in words; bounded. */
  readonly wrong: readonly string[]
  /** The highest term that was seen in a checkpoint. */
  term(subject: string): number
  /** How often a term has risen. */
  readonly seals: number
  readonly frames: number
  stop(): Promise<void>
}

const mostWrong = 20

/** Once the stream is there. */
export async function watchLog(servers: string, pipeline: string): Promise<LogWatch> {
  const names = streamNames(pipeline)
  const link = await connectNats({ servers, name: 'chaos.watch', world: realWorld, log: silent })
  const stream = createNatsStream(link, names, { log: silent })
  const wrong: string[] = []
  const terms = new Map<string, number>()
  const stored = new Map<string, Position>()
  let seals = 0
  let frames = 0

  function note(what: string): void {
    if (wrong.length < mostWrong) wrong.push(what)
  }

  function checkpoint({ subject, payload, sequence }: StoredMessage): void {
    if (subject === names.layout) return
    const { term } = decodeOwnership(payload, subject)
    const before = terms.get(subject) ?? 0
    if (term < before) note(`the term of ${subject} fell from ${before} to ${term} at sequence ${sequence}`)
    if (term > before) seals++
    terms.set(subject, Math.max(term, before))
  }

  const unpackers = new Map<string, ReturnType<typeof unpacker>>()
  function frame(message: StoredMessage): void {
    const { subject } = message
    if (!unpackers.has(subject)) unpackers.set(subject, unpacker())
    const arrived = unpackers.get(subject)!.take(message)
    if (arrived === null) return
    frames++
    const { lane, first, last } = readFrameHeader(Buffer.from(arrived.memory), arrived.offset)
    if (lane.ordered === false) return
    const key = `${subject} ${lane.source}/${lane.epoch}/${lane.lane}`
    const before = stored.get(key)
    if (before !== undefined && comparePositions(first, before) <= 0)
      note(`${key}: ${formatPosition(first)} was stored again behind ${formatPosition(before)}`)
    stored.set(key, last)
  }

  const readings = [
    { subject: `troupe.${pipeline}.ck.>`, take: checkpoint },
    { subject: `troupe.${pipeline}.evt.>`, take: frame },
  ].map(({ subject, take }) => {
    const reading = stream.read({
      subject,
      from: 1,
      window,
      message(message) {
        take(message)
        reading.credit(message.payload.length)
      },
      resumed() {},
      failed: (error) => note(`the log could not be watched: ${error.message}`),
    })
    return reading
  })
  return {
    wrong,
    term: (subject) => terms.get(subject) ?? 0,
    get seals() {
      return seals
    },
    get frames() {
      return frames
    },
    async stop() {
      for (const reading of readings) reading.stop()
      await link.close()
    },
  }
}
