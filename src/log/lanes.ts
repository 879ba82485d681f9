/**
 * Where a frame leaves a processor in its lane.
 *
 * A lane without an order is counted by the marks of the cluster's log, for each run of its reader apart: a run that the
 * log lost with its tail may be followed by one with a lower number, and is not to be compared with it.
 */
import type { LanePosition } from '../checkpoint/checkpoint.js'
import type { FrameHeader } from '../event/frame.js'
import { comparePositions } from '../event/position.js'
import { type FrameMark, laneKey } from './log.js'

/** Runs that are remembered of one lane: a replay crosses a restart of the reader or two. */
const runsKept = 8

/** The key in a vector of lanes, and the place, of a frame; null where nothing can be remembered of it. */
export function placeOf(
  header: FrameHeader,
  mark: FrameMark | undefined,
): { readonly key: string; readonly at: LanePosition } | null {
  const { lane } = header
  const key = laneKey(lane.source, lane.lane)
  if (lane.ordered !== false) return { key, at: { epoch: lane.epoch, position: header.last } }
  if (mark === undefined) return null
  return { key: `${key}#${mark.major}`, at: { epoch: lane.epoch, position: mark } }
}

/** Of a lane that is counted by runs: the lane and the run. Null for others. */
export function runOf(key: string): { readonly lane: string; readonly run: bigint } | null {
  const at = key.lastIndexOf('#')
  const run = key.slice(at + 1)
  return at < 0 || !/^\d+$/.test(run) ? null : { lane: key.slice(0, at), run: BigInt(run) }
}

/** Moves a vector on; never back. */
export function advanceLanes(
  lanes: Record<string, LanePosition>,
  header: FrameHeader,
  mark: FrameMark | undefined,
): void {
  const place = placeOf(header, mark)
  if (place === null) return
  const { key, at } = place
  const known = lanes[key]
  if (known === undefined || at.epoch > known.epoch) lanes[key] = at
  else if (at.epoch === known.epoch && comparePositions(at.position, known.position) > 0) lanes[key] = at
  if (known === undefined && header.lane.ordered === false) forgetRuns(lanes, key.slice(0, key.lastIndexOf('#') + 1))
}

/** Keys keep the order in which they came: the oldest run goes first. */
function forgetRuns(lanes: Record<string, LanePosition>, prefix: string): void {
  const runs = Object.keys(lanes).filter((key) => key.startsWith(prefix))
  for (const key of runs.slice(0, Math.max(0, runs.length - runsKept))) delete lanes[key]
}
