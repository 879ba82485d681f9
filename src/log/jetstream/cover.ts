/**
 * Whether the processors have caught up with what a reader appended: asked of their checkpoints, not of their owners.
 *
 * A lane that a checkpoint does not name was never given to that processor: it began behind those frames, or was put
 * there. What it has finished then is told by the sequence: it is covered where nothing of the partition is retained, or
 * the last frame that stood there when this was first asked is finished.
 */
import type { LaneVector } from '../../checkpoint/checkpoint.js'
import { comparePositions } from '../../event/position.js'
import { type PartitionSet, partitionKey } from '../log.js'
import type { StreamNames } from './names.js'
import { parcelOf } from './parcel.js'
import type { StoredMessage, StreamPort } from './port.js'
import { decodeProcessor, type StoredProcessor } from './stored.js'

export interface CoverInit {
  readonly stream: StreamPort
  readonly names: StreamNames
  readonly sets: readonly PartitionSet[]
  /** What must be covered, by `set.partition`; as it is now. */
  readonly demands: ReadonlyMap<string, LaneVector>
  readonly deadlineMs: number
}

export interface Cover {
  /** Reads the checkpoints that did not cover it yet. True: all do. Rejects where nobody answers. */
  look(): Promise<boolean>
}

/** One checkpoint that must reach what is demanded of its partition. */
interface Wanted {
  readonly subject: string
  readonly frames: string
  readonly lanes: LaneVector
}

/** Reads that are under way at once. */
const atOnce = 32

export function createCover(init: CoverInit): Cover {
  const { stream, deadlineMs } = init
  let open = wantedOf(init)
  const edges = new Map<string, StoredMessage | null>()

  async function isCovered({ subject, frames, lanes }: Wanted): Promise<boolean> {
    const found = await stream.last(subject, deadlineMs)
    const stored = found === null ? null : decodeProcessor(found.payload, subject)
    switch (standOf(stored?.lanes ?? {}, lanes)) {
      case 'covers':
        return true
      case 'behind':
        return false
      case 'unseen':
        return hasPassed(stored, await edgeOf(frames))
    }
  }

  /** The last frame, when it was first asked for: it does not run ahead of a busy partition's processors. */
  async function edgeOf(frames: string): Promise<StoredMessage | null> {
    const known = edges.get(frames)
    if (known !== undefined) return known
    const edge = await stream.last(frames, deadlineMs)
    if (!edges.has(frames)) edges.set(frames, edge)
    return edges.get(frames) ?? null
  }

  return {
    async look() {
      const left: Wanted[] = []
      for (let at = 0; at < open.length; at += atOnce) {
        const some = open.slice(at, at + atOnce)
        const covered = await Promise.all(some.map(isCovered))
        left.push(...some.filter((_, index) => !covered[index]))
      }
      open = left
      return open.length === 0
    },
  }
}

function wantedOf({ names, sets, demands }: CoverInit): Wanted[] {
  return sets.flatMap(({ name, partitions, processors }) =>
    Array.from({ length: partitions }, (_, partition) => partition).flatMap((partition) => {
      const demand = demands.get(partitionKey(name, partition))
      if (demand === undefined) return []
      const lanes = { ...demand }
      const frames = names.frames(name, partition)
      return processors.map((processor) => ({ subject: names.processor(processor, name, partition), frames, lanes }))
    }),
  )
}

function standOf(has: LaneVector, wanted: LaneVector): 'covers' | 'behind' | 'unseen' {
  let unseen = false
  for (const [lane, at] of Object.entries(wanted)) {
    const known = has[lane]
    if (known === undefined) unseen = true
    else if (known.epoch < at.epoch) return 'behind'
    else if (known.epoch === at.epoch && comparePositions(known.position, at.position) < 0) return 'behind'
  }
  return unseen ? 'unseen' : 'covers'
}

/** Sequences alone are of any history: where it knows a frame of that source, it must be this one or a later one. */
function hasPassed(stored: StoredProcessor | null, edge: StoredMessage | null): boolean {
  if (edge === null) return true
  if (stored === null || stored.sequence < edge.sequence) return false
  const { source, mark } = parcelOf(edge)
  const known = stored.marks[source]
  return known === undefined || comparePositions(known, mark) >= 0
}
