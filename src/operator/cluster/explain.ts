/** Why a resource is where it is: the assignment that every node computes, computed here from one look at the bucket. */
import { decodeProcessor, decodeReader } from '../../log/jetstream/stored.js'
import { type AssignmentInput, assign } from '../../membership/assignment.js'
import { type Explanation, explainAssignment } from '../../membership/explanation.js'
import { partitionResource, type Resource, readerResource } from '../../membership/port.js'
import { type Refused, refusedIn } from '../../membership/refusals.js'
import { membershipSettings } from '../../membership/settings.js'
import { standingSeen } from '../../membership/situation.js'
import type { PipelineDefinition } from '../../pipeline/definition.js'
import { partitionSets } from '../../pipeline/graph.js'
import { TroupeError } from '../../world/error.js'
import { readCheckpoints, readFrames } from './checkpoints.js'
import { answerWithin, type ClusterAccess } from './connect.js'
import { lookAtBucket } from './snapshot.js'
import { type OwnerLine, ownerOf, type ProcessorLine, partitionsOf } from './status.js'

export interface WhyAnswer {
  readonly owner: OwnerLine
  /** Why the lease counts as dead, where it does. */
  readonly death: string | null
  /** What a node that sees the same wants now; whether the members have settled is not seen from outside. */
  readonly explanation: Explanation
  /** Of a partition. */
  readonly processors: readonly ProcessorLine[]
  /** Commits that the log has refused to a node here: it was no longer the owner. */
  readonly refused: readonly ({ readonly node: string } & Refused)[]
}

/** @throws TroupeError `unknown-resource` (exit code 2) */
export async function whyThere(access: ClusterAccess, name: string): Promise<WhyAnswer> {
  const { definition } = access
  const resources = resourcesOf(definition)
  const resource = resources.find((one) => one === name || one === `part.${name}`)
  if (resource === undefined)
    throw new TroupeError({
      code: 'unknown-resource',
      message: `the pipeline has no '${name}'`,
      place: `pipeline ${definition.name}`,
      remedy: `it has ${resources.slice(0, 20).join(', ')}${resources.length > 20 ? ', …' : ''}`,
      exitCode: 2,
    })
  const { observer, now, ...rest } = await lookAtBucket(access)
  const orders = observer.orders()
  const input: AssignmentInput = {
    members: [...observer.members(now).values()]
      .filter(({ live }) => live)
      .map(({ record }) => ({ node: record.node, state: record.state, weight: record.weight })),
    resources,
    standings: new Map(resources.map((one) => [one, standingSeen(observer.lease(one, now))])),
    paused: orders.pausePipeline,
    hold: orders.rolling ? 'rolling' : null,
    settings: membershipSettings({ lease: definition.cluster.lease }),
  }
  const lease = observer.lease(resource, now)
  const seen = { observer, now, ...rest }
  const line = partitionsOf(access, seen, await readCheckpoints(access), await readFrames(access)).find(
    (one) => one.resource === resource,
  )
  return {
    owner: ownerOf(seen, resource, await termOf(access, resource)),
    death: lease.state === 'dead' ? lease.why : null,
    explanation: explainAssignment(input, assign(input), resource)!,
    processors: line?.processors ?? [],
    refused: [...observer.members(now).values()].flatMap(({ record }) => {
      const refused = refusedIn(record, resource)
      return refused === null ? [] : [{ node: record.node, ...refused }]
    }),
  }
}

/** As the nodes name them, in their order. */
export function resourcesOf(definition: PipelineDefinition): Resource[] {
  return [
    ...partitionSets(definition).flatMap(({ name, partitions }) =>
      Array.from({ length: partitions }, (_, partition) => partitionResource(name, partition)),
    ),
    ...Object.keys(definition.sources).map(readerResource),
  ]
}

async function termOf({ stream, names, definition }: ClusterAccess, resource: Resource): Promise<number> {
  const [kind, name = '', partition = '0'] = resource.split('.')
  if (kind === 'reader') {
    const found = await stream.last(names.reader(name), answerWithin)
    return found === null ? 0 : decodeReader(found.payload, found.subject).term
  }
  let term = 0
  for (const processor of partitionSets(definition).find((set) => set.name === name)!.processors) {
    const found = await stream.last(names.processor(processor, name, Number(partition)), answerWithin)
    if (found !== null) term = Math.max(term, decodeProcessor(found.payload, found.subject).term)
  }
  return term
}
