/**
 * What an owner does with a frame, from the position of its processor in the frame's lane: pure functions.
 *
 * Rules (docs/architecture.md): drop what is at or below the position; if `previous` is above it, something between is
 * missing, and nothing may be processed before it was read again. In a lane without an order positions say nothing: the
 * frame's mark decides where the log gives one (the cluster's does), and its place in the vector holds that mark.
 */
import type { LanePosition, LaneVector } from '../checkpoint/checkpoint.js'
import type { FrameHeader } from '../event/frame.js'
import { comparePositions, type Position } from '../event/position.js'
import { advanceLanes, placeOf, runOf } from '../log/lanes.js'
import { type FrameMark, laneKey } from '../log/log.js'

export type Placement =
  /** Every record is new. */
  | { readonly kind: 'all' }
  /** Records at or before `after` were processed before; the rest is new. */
  | { readonly kind: 'after'; readonly after: Position }
  | { readonly kind: 'none' }
  /** The frame does not join on: records between `at` and `previous` are missing. */
  | { readonly kind: 'gap'; readonly at: Position; readonly previous: Position }

const all: Placement = { kind: 'all' }
const none: Placement = { kind: 'none' }

export function placeFrame(header: FrameHeader, lanes: LaneVector, mark?: FrameMark): Placement {
  const { lane } = header
  if (lane.ordered === false) {
    // Marks belong to the log and outlive the source's epochs.
    const place = placeOf(header, mark)
    const known = place === null ? undefined : lanes[place.key]
    return known !== undefined && comparePositions(mark!, known.position) <= 0 ? none : all
  }
  const known = lanes[laneKey(lane.source, lane.lane)]
  // A lane that this processor never saw begins where it is given.
  if (known === undefined || lane.epoch > known.epoch) return all
  if (lane.epoch < known.epoch) return none
  const { position } = known
  if (comparePositions(header.last, position) <= 0) return none
  if (header.previous !== null && comparePositions(header.previous, position) > 0)
    return { kind: 'gap', at: position, previous: header.previous }
  return comparePositions(header.first, position) > 0 ? all : { kind: 'after', after: position }
}

/** The lanes after a frame that brought something new. */
export function afterFrame(header: FrameHeader, lanes: LaneVector, mark?: FrameMark): LaneVector {
  if (placeOf(header, mark) === null) return lanes
  const after = { ...lanes }
  advanceLanes(after, header, mark)
  return after
}

/** Whoever stands in a later run of a lane has taken the earlier ones, and may have forgotten them. */
function hasLaterRun(lanes: LaneVector, key: string): boolean {
  const run = runOf(key)
  if (run === null) return false
  return Object.keys(lanes).some((one) => {
    const other = runOf(one)
    return other !== null && other.lane === run.lane && other.run > run.run
  })
}

/** Lanes in which `lanes` stands behind `other`, or not at all, with the place of `other`. */
export function lanesBehind(lanes: LaneVector, other: LaneVector): Map<string, LanePosition> {
  const behind = new Map<string, LanePosition>()
  for (const [key, at] of Object.entries(other)) {
    const own = lanes[key]
    if (own === undefined && hasLaterRun(lanes, key)) continue
    if (own !== undefined && own.epoch > at.epoch) continue
    if (own !== undefined && own.epoch === at.epoch && comparePositions(own.position, at.position) >= 0) continue
    behind.set(key, at)
  }
  return behind
}

/**
 * Whether a frame begins beyond what is missing: `own` is where a processor stands in the frame's lane, `other` where it
 * stood by another checkpoint, further on. The first frame of the lane that comes tells.
 */
export function passesOver(
  header: FrameHeader,
  own: LanePosition | undefined,
  other: LanePosition,
  mark?: FrameMark,
): boolean {
  const { lane, previous } = header
  if (lane.ordered === false) return mark !== undefined && comparePositions(mark, other.position) > 0
  if (lane.epoch !== other.epoch) return lane.epoch > other.epoch
  if (own === undefined || own.epoch < other.epoch) return previous !== null
  return previous !== null && comparePositions(previous, own.position) > 0
}
