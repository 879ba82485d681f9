/**
 * Why a resource is where it is: the assignment that every node computes, computed here from one look at the bucket; and
 * what the node that holds it tells of it.
 */
import type { PartitionLogFigures } from '../../log/jetstream/partition.js'
import { decodeProcessor, decodeReader } from '../../log/jetstream/stored.js'
import type { LogWriterFigures } from '../../log/jetstream/writer.js'
import { type AssignmentInput, assign } from '../../membership/assignment.js'
import { type Explanation, explainAssignment } from '../../membership/explanation.js'
import { partitionResource, type Resource, readerResource } from '../../membership/port.js'
import { type Refused, refusedIn } from '../../membership/refusals.js'
import { membershipSettings } from '../../membership/settings.js'
import { standingSeen } from '../../membership/situation.js'
import type { WhyView } from '../../membership/view.js'
import { clusterPaths } from '../../pipeline/cluster-graph.js'
import type { PipelineDefinition } from '../../pipeline/definition.js'
import { partitionSets } from '../../pipeline/graph.js'
import { TroupeError } from '../../world/error.js'
import { askNodes } from './ask-nodes.js'
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
  /** As the node that holds it tells; null: nobody holds it. */
  readonly told: ToldByHolder | null
}

export interface ToldByHolder {
  readonly node: string
  /** What is missing of the rest, and why. */
  readonly problem: string | null
  /** Its own view: the same explanation, with what it keeps in mind (settling, a unit that failed), and what it did lately. */
  readonly view: WhyView | null
  /** Of its fence since it was opened: commits, those refused or without an answer; and how far it is. */
  readonly figures: PartitionLogFigures | LogWriterFigures | null
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
  const owner = ownerOf(seen, resource, await termOf(access, resource))
  return {
    owner,
    told: owner.node === null ? null : await toldBy(access, owner.node, resource),
    death: lease.state === 'dead' ? lease.why : null,
    explanation: explainAssignment(input, assign(input), resource)!,
    processors: line?.processors ?? [],
    refused: [...observer.members(now).values()].flatMap(({ record }) => {
      const refused = refusedIn(record, resource)
      return refused === null ? [] : [{ node: record.node, ...refused }]
    }),
  }
}

async function toldBy(access: ClusterAccess, node: string, resource: Resource): Promise<ToldByHolder> {
  const { control } = clusterPaths(access.definition)
  const [view, figures] = await askNodes(access, [
    { node, path: control, message: { type: 'why', resource } },
    { node, path: logPathOf(access.definition, resource), message: { type: 'figures' } },
  ])
  const problem = [view!, figures!].find(({ answered }) => !answered)
  return {
    node,
    problem: problem?.answered === false ? problem.problem : null,
    view: view!.answered ? (view!.value as WhyView) : null,
    figures: figures!.answered ? (figures!.value as PartitionLogFigures | LogWriterFigures | null) : null,
  }
}

function logPathOf(definition: PipelineDefinition, resource: Resource): string {
  const paths = clusterPaths(definition)
  const [kind, name = '', partition = '0'] = resource.split('.')
  return kind === 'reader' ? paths.readerLog(name) : `${paths.owner(name, Number(partition))}/log`
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
