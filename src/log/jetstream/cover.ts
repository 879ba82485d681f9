/** Whether the processors have caught up with what a reader appended: asked of their checkpoints, not of their owners. */
import type { LaneVector } from '../../checkpoint/checkpoint.js'
import { comparePositions } from '../../event/position.js'
import { type PartitionSet, partitionKey } from '../log.js'
import type { StreamNames } from './names.js'
import type { StreamPort } from './port.js'
import { decodeProcessor } from './stored.js'

/** What must be covered in a partition (`set.partition`). */
export interface Demand {
  readonly key: string
  readonly lanes: LaneVector
}

export async function cover(
  stream: StreamPort,
  names: StreamNames,
  sets: readonly PartitionSet[],
  demands: readonly Demand[],
  deadlineMs: number,
): Promise<boolean> {
  for (const { name, partitions, processors } of sets)
    for (let partition = 0; partition < partitions; partition++) {
      const demand = demands.find((one) => one.key === partitionKey(name, partition))
      if (demand === undefined) continue
      for (const processor of processors) {
        const subject = names.processor(processor, name, partition)
        const found = await stream.last(subject, deadlineMs)
        if (found === null || !covers(decodeProcessor(found.payload, subject).lanes, demand.lanes)) return false
      }
    }
  return true
}

function covers(has: LaneVector, wanted: LaneVector): boolean {
  return Object.entries(wanted).every(([lane, at]) => {
    const known = has[lane]
    if (known === undefined || known.epoch < at.epoch) return false
    return known.epoch > at.epoch || comparePositions(known.position, at.position) >= 0
  })
}
