/**
 * Retiring a processor that left the pipeline: its checkpoints go, so that nothing waits for it any more and the log is
 * trimmed again. What it had not finished is lost to it for good.
 *
 * Refused while the pipeline's file has it, and while an owner of a partition still runs it: one that seals writes all of
 * its processors under one incarnation, so a checkpoint of that very incarnation is alive. Where no owner has written any
 * other checkpoint, that tells nothing, and the lease of the partition does.
 */
import { seekOwner } from '../../log/jetstream/fence.js'
import { partitionKey } from '../../log/log.js'
import { partitionResource } from '../../membership/port.js'
import { TroupeError } from '../../world/error.js'
import { type FoundCheckpoint, readCheckpoints, readFrames } from './checkpoints.js'
import { answerWithin, type ClusterAccess } from './connect.js'
import { lookAtBucket } from './snapshot.js'

export interface Retirement {
  readonly processor: string
  readonly partitions: readonly {
    /** `set.partition`. */
    readonly partition: string
    readonly sequence: number
    readonly at: number
    /** Frames that the log retains there, at most so many for its sake alone. */
    readonly retained: number
    /** It had not finished them: they are lost to it. */
    readonly unfinished: boolean
  }[]
}

interface Planned {
  readonly retirement: Retirement
  readonly checkpoints: readonly FoundCheckpoint[]
}

/** What would be lost. @throws TroupeError `processor-in-use`, `unknown-processor` (exit code 2) */
export async function planRetirement(access: ClusterAccess, processor: string): Promise<Planned> {
  const { definition } = access
  const place = `processor ${processor}`
  if (Object.hasOwn(definition.processors, processor))
    throw new TroupeError({
      code: 'processor-in-use',
      message: 'the pipeline’s file has this processor',
      place,
      remedy: 'take it out of the file and start the nodes anew with that; then retire it',
      exitCode: 2,
    })
  const all = await readCheckpoints(access)
  const its = all.filter((one) => one.processor === processor)
  if (its.length === 0)
    throw new TroupeError({
      code: 'unknown-processor',
      message: 'the log has no checkpoint of it: it pins nothing',
      place,
      remedy: '`troupe status FILE --cluster SERVERS` lists those that left the pipeline',
      exitCode: 2,
    })
  const { observer, now } = await lookAtBucket(access)
  const running = stillRun(
    its,
    all,
    ({ set, partition }) => observer.lease(partitionResource(set, partition), now).state === 'held',
  )
  if (running !== undefined)
    throw new TroupeError({
      code: 'processor-in-use',
      message: `the owner of partition ${partitionKey(running.set, running.partition)} runs it still: its node was started with another file`,
      place,
      remedy: 'start the nodes anew with the file that does not have it; then retire it',
      exitCode: 2,
    })
  const frames = await readFrames(access)
  const partitions = its.map(({ set, partition, stored }) => {
    const key = partitionKey(set, partition)
    const { retained, last } = frames.get(key) ?? { retained: 0, last: 0 }
    return { partition: key, sequence: stored.sequence, at: stored.at, retained, unfinished: last > stored.sequence }
  })
  return { retirement: { processor, partitions }, checkpoints: its }
}

type Written = Pick<FoundCheckpoint, 'set' | 'partition' | 'departed'> & {
  readonly stored: Pick<FoundCheckpoint['stored'], 'owner'>
}

/** One of its checkpoints whose owner is at work; undefined: none. `held`: somebody who lives has the partition. */
export function stillRun<T extends Written>(
  its: readonly T[],
  all: readonly Written[],
  held: (one: T) => boolean,
): T | undefined {
  return its.find((one) => {
    const others = all.filter(
      ({ departed, set, partition, stored }) =>
        !departed && set === one.set && partition === one.partition && !stored.owner.startsWith(seekOwner),
    )
    return others.length === 0 ? held(one) : others.some(({ stored }) => stored.owner === one.stored.owner)
  })
}

/** Removes what was planned; a checkpoint that was written meanwhile stays, and is an error. */
export async function retire({ stream }: ClusterAccess, { checkpoints }: Planned): Promise<void> {
  for (const { subject, revision } of checkpoints) {
    await stream.purge(subject, revision + 1, answerWithin)
    if ((await stream.last(subject, answerWithin)) === null) continue
    throw new TroupeError({
      code: 'processor-in-use',
      message: 'somebody has written a checkpoint of it meanwhile',
      place: subject,
      remedy: 'stop the node that runs it, and retire it again',
      exitCode: 2,
    })
  }
}
