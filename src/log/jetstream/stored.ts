/**
 * Checkpoints as they stand in the stream: JSON, so that an operator can read them with any client.
 *
 * Each names its term and the incarnation that wrote it with the number of that write: whoever must know whether an
 * attempt of its own is stored finds out by reading.
 */
import type { LaneVector, ReaderState } from '../../checkpoint/checkpoint.js'
import { loadVector, loadVectors, type StoredVector, storeVector, storeVectors } from '../../checkpoint/vector.js'
import { formatPosition, parsePosition } from '../../event/position.js'
import { messageOf, TroupeError } from '../../world/error.js'
import type { FrameMark } from '../log.js'

/** What makes a checkpoint a fence. */
export interface Ownership {
  /** Number of the ownership; each seal writes the next one. */
  readonly term: number
  /** The incarnation that wrote it. */
  readonly owner: string
  /** Number of this owner's write; the seal is 0. */
  readonly commit: number
}

export type FrameMarks = Readonly<Record<string, FrameMark>>

export interface StoredReader extends Ownership {
  /** State that covers every frame before this message, and none behind it. */
  readonly state: ReaderState | null
  /** The state that the source was last told of, as far as it was known when this was written. */
  readonly confirmed: ReaderState | null
  /** By `set.partition`: the last position of each ordered lane. */
  readonly previous: Readonly<Record<string, LaneVector>>
  /** By `set.partition`: the mark of the last frame. */
  readonly marks: FrameMarks
  /** Major of the marks that this owner gives: higher than any before. */
  readonly run: number
  /** Number of the last obligation. */
  readonly receipt: number
}

export interface StoredProcessor extends Ownership {
  readonly lanes: LaneVector
  /** By source: the mark of the last frame that is finished. */
  readonly marks: FrameMarks
  /** Everything of the partition up to this sequence is finished. Only a hint of where to read on. */
  readonly sequence: number
  /** Wall clock of whoever wrote it, ms: for people. */
  readonly at: number
}

export const firstReader: StoredReader = {
  term: 0,
  owner: '',
  commit: 0,
  state: null,
  confirmed: null,
  previous: {},
  marks: {},
  run: 0,
  receipt: 0,
}

export const firstProcessor: StoredProcessor = {
  term: 0,
  owner: '',
  commit: 0,
  lanes: {},
  marks: {},
  sequence: 0,
  at: 0,
}

const version = 1

export function encodeReader(reader: StoredReader): Uint8Array {
  return Buffer.from(
    JSON.stringify({
      version,
      ...reader,
      previous: storeVectors(reader.previous),
      marks: storeMarks(reader.marks),
    }),
  )
}

export function encodeProcessor(processor: StoredProcessor): Uint8Array {
  return Buffer.from(
    JSON.stringify({ version, ...processor, lanes: storeVector(processor.lanes), marks: storeMarks(processor.marks) }),
  )
}

/** @throws TroupeError `checkpoint-unreadable` */
export function decodeReader(payload: Uint8Array, subject: string): StoredReader {
  return decode(payload, subject, (stored) => ({
    ...ownershipOf(stored),
    state: stateOf(stored.state),
    confirmed: stateOf(stored.confirmed),
    previous: loadVectors(stored.previous as Record<string, StoredVector>),
    marks: loadMarks(stored.marks as Record<string, string>),
    run: numberOf(stored.run),
    receipt: numberOf(stored.receipt),
  }))
}

/** @throws TroupeError `checkpoint-unreadable` */
export function decodeProcessor(payload: Uint8Array, subject: string): StoredProcessor {
  return decode(payload, subject, (stored) => ({
    ...ownershipOf(stored),
    lanes: loadVector(stored.lanes as StoredVector),
    marks: loadMarks(stored.marks as Record<string, string>),
    sequence: numberOf(stored.sequence),
    at: numberOf(stored.at),
  }))
}

/** @throws TroupeError `checkpoint-unreadable` */
export function decodeOwnership(payload: Uint8Array, subject: string): Ownership {
  return decode(payload, subject, ownershipOf)
}

function decode<T>(payload: Uint8Array, subject: string, read: (stored: Record<string, unknown>) => T): T {
  try {
    const stored = JSON.parse(Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString('utf8'))
    if (stored.version !== version) throw new RangeError(`version ${stored.version}`)
    return read(stored)
  } catch (cause) {
    throw new TroupeError({
      code: 'checkpoint-unreadable',
      message: `a checkpoint cannot be read: ${messageOf(cause)}`,
      place: subject,
      remedy: 'it was written by a newer Troupe, or by something else: run the version that wrote it',
      permanent: true,
      cause,
    })
  }
}

function ownershipOf(stored: Record<string, unknown>): Ownership {
  if (typeof stored.owner !== 'string') throw new TypeError('it names no owner')
  return { term: numberOf(stored.term), owner: stored.owner, commit: numberOf(stored.commit) }
}

function stateOf(value: unknown): ReaderState | null {
  if (value === null) return null
  if (typeof value !== 'object') throw new TypeError('a state is no object')
  return value as ReaderState
}

function numberOf(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw new TypeError(`${value} is no count`)
  return value
}

function storeMarks(marks: FrameMarks): Record<string, string> {
  return Object.fromEntries(Object.entries(marks).map(([key, mark]) => [key, formatPosition(mark)]))
}

function loadMarks(stored: Readonly<Record<string, string>>): FrameMarks {
  return Object.fromEntries(Object.entries(stored).map(([key, text]) => [key, parsePosition(text)]))
}
