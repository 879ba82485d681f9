/**
 * Vectors of positions as text, `epoch:position` by lane: what a person with a browser of the store can read, and the
 * same in every store.
 */
import { formatPosition, parsePosition } from '../event/position.js'
import type { LaneVector } from './checkpoint.js'

export type StoredVector = Readonly<Record<string, string>>

export function storeVector(lanes: LaneVector): StoredVector {
  const stored: Record<string, string> = {}
  for (const lane in lanes) stored[lane] = `${lanes[lane]!.epoch}:${formatPosition(lanes[lane]!.position)}`
  return stored
}

export function storeVectors(vectors: Readonly<Record<string, LaneVector>>): Readonly<Record<string, StoredVector>> {
  return Object.fromEntries(Object.entries(vectors).map(([key, lanes]) => [key, storeVector(lanes)]))
}

/** @throws RangeError, SyntaxError where a text is no position */
export function loadVector(stored: StoredVector): LaneVector {
  return Object.fromEntries(
    Object.entries(stored).map(([lane, text]) => {
      const colon = text.indexOf(':')
      return [lane, { epoch: BigInt(text.slice(0, colon)), position: parsePosition(text.slice(colon + 1)) }]
    }),
  )
}

export function loadVectors(stored: Readonly<Record<string, StoredVector>>): Readonly<Record<string, LaneVector>> {
  return Object.fromEntries(Object.entries(stored).map(([key, lanes]) => [key, loadVector(lanes)]))
}
