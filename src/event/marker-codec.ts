/**
 * Markers inside frames: the body is JSON, since they are few. A marker may stand in a frame of any codec, between that
 * lane's changes; its record's head bears `markerOperation` and `noTable`.
 */
import type { FrameBytes } from './bytes.js'
import { type Codec, noHeaders, noNames } from './codec.js'
import type { Marker } from './event.js'
import { frameError, markerOperation } from './layout.js'
import type { LossWindow } from './marker.js'

/** The body of a loss window; `head.operation` is `markerOperation.lossWindow`. */
export function encodeLossWindow(window: LossWindow): Uint8Array {
  return new Uint8Array(Buffer.from(JSON.stringify(window), 'utf8'))
}

/** The body of a heartbeat is empty; `head.operation` is `markerOperation.heartbeat`. */
export const heartbeatBody = new Uint8Array(0)

/** @throws TroupeError `record-corrupt` */
export function decodeMarker(bytes: FrameBytes, operation: number, start: number, end: number): Marker['marker'] {
  if (operation === markerOperation.heartbeat) return { kind: 'heartbeat' }
  if (operation !== markerOperation.lossWindow)
    throw frameError('record-corrupt', `a marker of the unknown kind ${operation}`)
  return { kind: 'loss-window', window: decodeLossWindow(bytes.utf8Slice(start, end)) }
}

function decodeLossWindow(text: string): LossWindow {
  let window: unknown
  try {
    window = JSON.parse(text)
  } catch (cause) {
    throw frameError('record-corrupt', 'a loss window is no JSON', cause)
  }
  if (typeof window !== 'object' || window === null || !('cause' in window) || !('from' in window))
    throw frameError('record-corrupt', 'a loss window lacks its fields')
  return window as LossWindow
}

/** Of frames that hold markers only. */
export const markerCodec: Codec = {
  decodeTable: () => null,
  key: () => null,
  keyText: () => '',
  before: () => null,
  after: () => null,
  unchanged: () => noNames,
  headers: () => noHeaders,
  tenant: () => null,
  traceparent: () => null,
  commitText: null,
}
