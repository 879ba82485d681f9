/**
 * The envelope of what nodes send to each other: one JSON array,
 * `["troupe/1", from, mine, theirs, ack, seq, body]`.
 *
 * `mine` names the sender's end of the session, `theirs` the receiver's end as the sender knows it (empty: not yet).
 * `seq` counts the messages that must arrive from 1 up, those that may be lost from −1 down (0: none), `ack` says which of
 * the former have arrived. A `null` body is a ping; sessions.ts has the rules.
 */
import { isNodeName } from '../path.js'
import { badFrame, decodeValue } from './value.js'

const VERSION = 'troupe/1'
/** What an envelope needs beside its body, at most. */
export const ENVELOPE_BYTES = 512
const END = /^[0-9a-f]{16}\.\d{1,15}$/

export interface Frame {
  readonly from: string
  readonly mine: string
  readonly theirs: string
  readonly ack: number
  readonly seq: number
  /** `null`: a ping; `'bye'`: the sender stops. */
  readonly body: unknown
}

/** @param body JSON already, as `encodeValue` makes it: it may be sent again */
export function frameBytes(head: Omit<Frame, 'body'>, body: string): Uint8Array {
  const { from, mine, theirs, ack, seq } = head
  return Buffer.from(`["${VERSION}","${from}","${mine}","${theirs}",${ack},${seq},${body}]`)
}

/** @throws TroupeError `bad-frame` */
export function parseFrame(bytes: Uint8Array): Frame {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()
  const value = decodeValue(text)
  if (!Array.isArray(value) || value.length !== 7) throw badFrame('it is no frame')
  const [version, from, mine, theirs, ack, seq, body] = value as unknown[]
  if (version !== VERSION) throw badFrame(`it is of version '${String(version).slice(0, 40)}', not ${VERSION}`)
  if (typeof from !== 'string' || !isNodeName(from)) throw badFrame('it names no node')
  if (typeof mine !== 'string' || !END.test(mine)) throw badFrame('it names no session')
  if (typeof theirs !== 'string' || (theirs !== '' && !END.test(theirs))) throw badFrame('it names no session')
  if (!isCount(ack) || !Number.isSafeInteger(seq)) throw badFrame('its numbers are none')
  return { from, mine, theirs, ack, seq: seq as number, body }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
