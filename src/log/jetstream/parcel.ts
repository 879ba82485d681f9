/**
 * Frames as messages of the stream: one message each, or several of one subject in one batch where a frame is larger than
 * the server takes.
 *
 * Headers: `T-S` the source, `T-M` the frame's mark, `T-P` the mark of the frame of this source before it in this
 * partition (absent: there was none), `T-C` index and number of a chunk.
 */
import { formatPosition, parsePosition } from '../../event/position.js'
import { TroupeError } from '../../world/error.js'
import type { FrameMark } from '../log.js'
import type { StoredMessage, StreamMessage } from './port.js'

export interface Parcel {
  readonly source: string
  readonly mark: FrameMark
  readonly previous: FrameMark | null
}

/** A frame as it came out of the stream. */
export interface ArrivedFrame extends Parcel {
  /** Of its last message. */
  readonly sequence: number
  readonly memory: ArrayBufferLike
  readonly offset: number
  readonly length: number
  readonly storedAt: number
}

/** Bytes of a frame above which its event is refused. */
export const largestFrame = 256 * 1024 * 1024

export function chunksOf(length: number, maxMessage: number): number {
  return Math.max(1, Math.ceil(length / maxMessage))
}

/** As many messages as `chunksOf` says. */
export function pack(subject: string, parcel: Parcel, bytes: Uint8Array, maxMessage: number): StreamMessage[] {
  const { source, mark, previous } = parcel
  const headers: Record<string, string> = { 'T-S': source, 'T-M': formatPosition(mark) }
  if (previous !== null) headers['T-P'] = formatPosition(previous)
  const count = chunksOf(bytes.length, maxMessage)
  if (count === 1) return [{ subject, payload: bytes, headers }]
  return Array.from({ length: count }, (_, index) => ({
    subject,
    payload: bytes.subarray(index * maxMessage, (index + 1) * maxMessage),
    headers: { ...headers, 'T-C': `${index}/${count}` },
  }))
}

export interface Unpacker {
  /** Null while chunks are missing. @throws TroupeError `log-corrupt` */
  take(message: StoredMessage): ArrivedFrame | null
}

/** Joins the chunks of one subject, which lie one behind the other. A reading that begins among them waits for the next whole one. */
export function unpacker(): Unpacker {
  let chunks: Uint8Array[] = []
  return {
    take(message) {
      const { headers, sequence, payload, storedAt } = message
      const parcel = parcelOf(message)
      const chunk = headers['T-C']
      if (chunk === undefined) {
        chunks = []
        return {
          ...parcel,
          sequence,
          memory: payload.buffer,
          offset: payload.byteOffset,
          length: payload.length,
          storedAt,
        }
      }
      const [index, count] = chunk.split('/').map(Number) as [number, number]
      if (index === 0) chunks = []
      if (index !== chunks.length) return null
      chunks.push(payload)
      if (chunks.length < count) return null
      const whole = new Uint8Array(chunks.reduce((sum, one) => sum + one.length, 0))
      let at = 0
      for (const one of chunks.splice(0)) {
        whole.set(one, at)
        at += one.length
      }
      return { ...parcel, sequence, memory: whole.buffer, offset: 0, length: whole.length, storedAt }
    },
  }
}

/** @throws TroupeError `log-corrupt` */
export function parcelOf({ headers, subject, sequence }: StoredMessage): Parcel {
  const source = headers['T-S']
  const mark = headers['T-M']
  const previous = headers['T-P']
  if (source === undefined || mark === undefined)
    throw new TroupeError({
      code: 'log-corrupt',
      message: `message ${sequence} of ${subject} is no frame of Troupe’s`,
      place: subject,
      remedy: 'somebody else publishes to the subjects of the pipeline: forbid it by permissions',
      permanent: true,
    })
  return { source, mark: parsePosition(mark), previous: previous === undefined ? null : parsePosition(previous) }
}
