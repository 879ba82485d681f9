/** Which processor keeps the log from being trimmed. */
import type { PartitionSet } from '../log.js'
import { processorOf, type StreamNames } from './names.js'
import type { StreamPort } from './port.js'
import { decodeProcessor } from './stored.js'

/** Share of the stream's bound at which readers stop: the rest is for checkpoints, without which nothing is ever trimmed. */
export const mark = 0.8
const deadline = 5_000

/**
 * The processor whose checkpoint is furthest behind the last frame of its partition, as `processor scope.partition`, with
 * the hint that it has left the pipeline where it has. A partition whose frames are all finished holds nothing.
 */
export async function culprit(stream: StreamPort, names: StreamNames, sets: readonly PartitionSet[]): Promise<string> {
  let worst = { behind: 0, name: 'unknown' }
  for (const { name: scope, partitions, processors } of sets)
    for (let partition = 0; partition < partitions; partition++) {
      const last = (await stream.last(names.frames(scope, partition), deadline))?.sequence ?? 0
      if (last === 0) continue
      const subjects = new Set(await stream.subjects(names.processorsOf(scope, partition), deadline))
      for (const processor of processors) subjects.add(names.processor(processor, scope, partition))
      for (const subject of subjects) {
        const found = await stream.last(subject, deadline)
        const done = found === null ? 0 : decodeProcessor(found.payload, subject).sequence
        const behind = last - done
        if (behind <= worst.behind) continue
        const processor = processorOf(subject)
        const gone = processors.includes(processor) ? '' : ' (left the pipeline: troupe retire)'
        worst = { behind, name: `${processor} ${scope}.${partition}${gone}` }
      }
    }
  return worst.name
}
