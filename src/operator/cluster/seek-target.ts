/**
 * Where `troupe seek --to` points, and what that is in one partition: the last frame that counts as finished. Whole frames
 * are moved over: who seeks a position sees the frame that holds it from its begin.
 *
 * Pure. A place is refused where the log has removed something behind it: what lies between would be passed over without a word.
 */
import { comparePositions, formatPosition, type Position, parsePosition } from '../../event/position.js'
import { TroupeError } from '../../world/error.js'

export type SeekTarget =
  | { readonly kind: 'earliest' }
  | { readonly kind: 'latest' }
  /** Of the log, as `troupe status` shows it: everything up to it counts as finished. */
  | { readonly kind: 'sequence'; readonly sequence: number }
  /** By the server's clock: what was stored before counts as finished. */
  | { readonly kind: 'time'; readonly at: number }
  /** What lies before it in its source counts as finished. `source` null: the only one that the processor reads. */
  | { readonly kind: 'position'; readonly source: string | null; readonly position: Position }

export interface RetainedFrame {
  readonly sequence: number
  readonly storedAt: number
  readonly source: string
  readonly lane: string
  /** False: its positions tell no order (markers, group mode). */
  readonly ordered: boolean
  readonly first: Position
  readonly last: Position
  /** Last position of its lane in this partition before it. */
  readonly previous: Position | null
  /** There was a frame of its source before it. */
  readonly follows: boolean
  /** Events that the processor would see. */
  readonly events: number
}

/** What one partition retains, and what was finished there. */
export interface Retained {
  readonly frames: readonly RetainedFrame[]
  /** Of the processor. */
  readonly checkpoint: number
  /** `slowestOf` all checkpoints: nothing behind it was ever removed. Null: none tells. */
  readonly slowest: number | null
  /** Sources of which something was finished. */
  readonly finishedOf: ReadonlySet<string>
}

export type Placed =
  /** The last sequence that counts as finished. */
  { readonly kind: 'at'; readonly sequence: number } | { readonly kind: 'outside'; readonly why: string }

/** @throws TroupeError `usage` */
export function parseTarget(text: string): SeekTarget {
  if (text === 'earliest' || text === 'latest') return { kind: text }
  if (/^\d{1,15}$/.test(text)) return { kind: 'sequence', sequence: Number(text) }
  const [, source = null, place = ''] =
    /^(?:([A-Za-z0-9_-]{1,64}):)?([0-9A-Fa-f]+\/[0-9A-Fa-f]+|\d+-\d+(?:\.1)?)$/.exec(text) ?? [undefined]
  const position = place === '' ? null : positionOf(place)
  if (position !== null) return { kind: 'position', source, position }
  const at = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d))?$/.test(text)
    ? Date.parse(text)
    : Number.NaN
  if (!Number.isNaN(at)) return { kind: 'time', at }
  throw new TroupeError({
    code: 'usage',
    message: `'${text.slice(0, 100)}' is no place in a log`,
    remedy:
      'earliest, latest, a sequence as `status` shows it (1234), a position (0/16B3748, 1700000000000-0, or db:… with several sources), or a time with its zone (2026-01-31T12:00:00Z)',
    exitCode: 2,
  })
}

function positionOf(text: string): Position | null {
  const [high, low] = text.split('/')
  try {
    if (low === undefined) return parsePosition(text)
    if (high!.length > 8 || low.length > 8) return null
    return { major: (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`), minor: 0n, part: 0 }
  } catch {
    return null
  }
}

/**
 * What the file says of `cluster.retain` counts for nothing: the nodes may run with another one, or ran with another one.
 *
 * @param now the time of the server
 */
export function placeIn(retained: Retained, target: SeekTarget, now: number): Placed {
  const { frames, checkpoint } = retained
  const first = frames[0]
  if (first === undefined) return emptyPlace(retained, target, now)
  switch (target.kind) {
    case 'earliest':
      return { kind: 'at', sequence: 0 }
    case 'latest':
      return { kind: 'at', sequence: frames.at(-1)!.sequence }
    case 'sequence': {
      const { sequence } = target
      const whole = sequence + 1 >= first.sequence || isBehindSlowest(retained, sequence) || !hasRemoved(retained)
      return whole ? behind(frames, (frame) => frame.sequence <= sequence) : outside(frames)
    }
    case 'time': {
      const { at } = target
      const whole = first.storedAt < at || !hasRemoved(retained)
      return whole ? behind(frames, (frame) => frame.storedAt < at) : outside(frames)
    }
    case 'position': {
      const its = frames.filter(({ source }) => source === target.source)
      if (hasLost(its, target.position)) return outside(frames)
      const holds = its.find(({ last }) => comparePositions(last, target.position) >= 0)
      // Nothing here is at or behind it: what is finished stays so, what is before it is passed over.
      if (holds === undefined) return { kind: 'at', sequence: Math.max(checkpoint, its.at(-1)?.sequence ?? 0) }
      return behind(frames, (frame) => frame.sequence < holds.sequence)
    }
  }
}

/** What a checkpoint at 0 says of the log is nothing: whoever was put to the earliest begins behind what was removed before. */
export function slowestOf(checkpoints: readonly number[]): number | null {
  const telling = checkpoints.filter((sequence) => sequence > 0)
  return telling.length === 0 ? null : Math.min(...telling)
}

function isBehindSlowest({ slowest }: Retained, sequence: number): boolean {
  return slowest !== null && sequence >= slowest
}

/** Of some lane a frame was removed that ended at the position or behind it. */
function hasLost(frames: readonly RetainedFrame[], position: Position): boolean {
  const seen = new Set<string>()
  for (const { lane, ordered, previous } of frames) {
    if (!ordered || seen.has(lane)) continue
    seen.add(lane)
    if (previous !== null && comparePositions(previous, position) >= 0) return true
  }
  return false
}

/** Nothing is retained: to stay is always possible, to go back only where it is known that nothing is missed. */
function emptyPlace(retained: Retained, target: SeekTarget, now: number): Placed {
  const stays: Placed = { kind: 'at', sequence: retained.checkpoint }
  if (target.kind === 'earliest' || target.kind === 'latest' || !hasRemoved(retained)) return stays
  if (target.kind === 'sequence' && isBehindSlowest(retained, target.sequence)) return stays
  // What was removed is older than that.
  if (target.kind === 'time' && target.at >= now) return stays
  // Whether it held something behind the position nobody knows; a position that was never there is found out elsewhere.
  return target.kind === 'position' ? stays : { kind: 'outside', why: 'it retains nothing' }
}

function hasRemoved({ frames, finishedOf, slowest }: Retained): boolean {
  const seen = new Set<string>()
  for (const { source, follows } of frames) {
    if (!seen.has(source) && follows) return true
    seen.add(source)
  }
  if (frames.length === 0 && slowest !== null) return true
  return [...finishedOf].some((source) => !seen.has(source))
}

function behind(frames: readonly RetainedFrame[], finished: (frame: RetainedFrame) => boolean): Placed {
  let sequence = 0
  for (const frame of frames) {
    if (!finished(frame)) break
    sequence = frame.sequence
  }
  return { kind: 'at', sequence }
}

function outside(frames: readonly RetainedFrame[]): Placed {
  return { kind: 'outside', why: `it retains ${rangeText(frames)}` }
}

export function rangeText(frames: readonly RetainedFrame[]): string {
  const [first] = frames
  const last = frames.at(-1)
  if (first === undefined || last === undefined) return 'nothing'
  const time = (at: number): string => new Date(at).toISOString()
  return [
    `sequences ${first.sequence} to ${last.sequence}`,
    `stored ${time(first.storedAt)} to ${time(last.storedAt)}`,
    `from ${first.source}:${formatPosition(first.first)} to ${last.source}:${formatPosition(last.last)}`,
  ].join(', ')
}
