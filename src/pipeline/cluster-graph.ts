/**
 * The supervision tree of one node of a cluster. What runs here is decided by the control actor, which starts and stops
 * units: the reader of a source, the owner of a partition.
 *
 *     node (one-for-one)
 *     ├─ pipelines (one-for-one)
 *     │  └─ <pipeline> (one-for-one)
 *     │     ├─ owners (one-for-one, units)
 *     │     │  └─ <set>-<n> (rest-for-one, on a worker thread)
 *     │     │     ├─ log                     seal, readings, checkpoints; its own connection
 *     │     │     └─ processors (one-for-one)
 *     │     │        └─ <processor> (rest-for-one): consumer ▸ processor
 *     │     └─ readers (one-for-one, units)
 *     │        └─ <source> (rest-for-one): log ▸ reader
 *     └─ control                             membership, leases; the first to stop: hands everything off
 *
 * A unit is `temporary`: when it ends for good (fenced, a log that was rewound) the control actor is told, and decides
 * anew. A hiccup of the membership restarts `control` and stops no unit.
 */
import type { ChildSpec } from '../actor/actor.js'
import { childOf } from '../actor/child.js'
import { supervisor } from '../actor/supervisor.js'
import type { ClusterAddress } from '../log/jetstream/link.js'
import { partitionLog } from '../log/jetstream/partition-actor.js'
import { logWriter } from '../log/jetstream/writer-actor.js'
import type { PartitionSet } from '../log/log.js'
import { control, type ResourcePlan } from '../membership/control-actor.js'
import { partitionResource, readerResource } from '../membership/port.js'
import { defaultMembership } from '../membership/settings.js'
import type { PipelineDefinition } from './definition.js'
import {
  consumerSpec,
  credits,
  frameMailbox,
  partitionSets,
  pathsOf,
  patient,
  placementOf,
  processorSpec,
  processorsSpec,
  readerSpec,
  routedSets,
} from './graph.js'

export interface ClusterNode extends ClusterAddress {
  /** Random; tells this process from every other under the same name. */
  readonly boot: string
  /** Of the package. */
  readonly version: string
  readonly provision: boolean
  readonly replicas: number
  /** For chaos: faults planted on purpose. */
  readonly planted?: readonly string[]
}

/** Of what nodes say to each other and store. */
export const clusterProtocol = 1

export function clusterPaths(definition: PipelineDefinition) {
  const paths = pathsOf(definition)
  return {
    ...paths,
    control: '/node/control',
    owners: `${paths.root}/owners`,
    readers: `${paths.root}/readers`,
    reader: (source: string) => `${paths.root}/readers/${source}/reader`,
    readerLog: (source: string) => `${paths.root}/readers/${source}/log`,
    processor: (set: string, partition: number, name: string) =>
      `${paths.owner(set, partition)}/processors/${name}/processor`,
  }
}

export function clusterSpec(definition: PipelineDefinition, node: ClusterNode): ChildSpec {
  return childOf(supervisor, {
    id: 'node',
    args: {
      strategy: 'one-for-one',
      ...patient,
      children: [
        childOf(supervisor, {
          id: 'pipelines',
          args: { strategy: 'one-for-one', children: [pipelineSpec(definition)] },
        }),
        childOf(control, {
          id: 'control',
          shutdownMs: definition.stopDeadline + 1_000,
          args: {
            address: { pipeline: node.pipeline, node: node.node, servers: node.servers, holdback: node.holdback },
            boot: node.boot,
            version: node.version,
            protocol: clusterProtocol,
            provision: node.provision,
            replicas: node.replicas,
            lease: definition.cluster.lease,
            leaveWithin: definition.stopDeadline,
            units: unitsOf(definition, node),
            ...(node.planted === undefined ? {} : { planted: node.planted }),
          },
        }),
      ],
    },
  })
}

function pipelineSpec(definition: PipelineDefinition): ChildSpec {
  return childOf(supervisor, {
    id: definition.name,
    args: {
      strategy: 'one-for-one',
      children: [
        childOf(supervisor, { id: 'owners', args: { strategy: 'one-for-one', children: [] } }),
        childOf(supervisor, { id: 'readers', args: { strategy: 'one-for-one', children: [] } }),
      ],
    },
  })
}

function unitsOf(definition: PipelineDefinition, node: ClusterNode): ResourcePlan[] {
  const paths = clusterPaths(definition)
  const plans: ResourcePlan[] = []
  for (const set of partitionSets(definition))
    for (let partition = 0; partition < set.partitions; partition++)
      plans.push({
        resource: partitionResource(set.name, partition),
        supervisor: paths.owners,
        spec: ownerUnit(definition, node, set, partition, plans.length),
        probe: `${paths.owner(set.name, partition)}/log`,
        closes: true,
      })
  for (const source of Object.keys(definition.sources))
    plans.push({
      resource: readerResource(source),
      supervisor: paths.readers,
      spec: readerUnit(definition, node, source),
      probe: paths.readerLog(source),
      closes: false,
    })
  return plans
}

function ownerUnit(
  definition: PipelineDefinition,
  node: ClusterNode,
  set: PartitionSet,
  partition: number,
  index: number,
): ChildSpec {
  const path = pathsOf(definition).owner(set.name, partition)
  return childOf(supervisor, {
    id: `${set.name}-${partition}`,
    restart: 'temporary',
    placement: placementOf(definition, index),
    args: {
      strategy: 'rest-for-one',
      ...patient,
      children: [
        childOf(partitionLog, {
          id: 'log',
          mailbox: frameMailbox,
          args: {
            address: addressOf(node),
            control: clusterPaths(definition).control,
            resource: partitionResource(set.name, partition),
            scope: set.name,
            partition,
            processors: set.processors.map((name) => ({ name, start: definition.processors[name]!.start })),
            checkpointInterval: definition.checkpointInterval,
            retain: definition.cluster.retain,
            window: credits.partition,
          },
        }),
        processorsSpec(
          set.processors.map((name) =>
            childOf(supervisor, {
              id: name,
              args: {
                strategy: 'rest-for-one',
                ...patient,
                children: [
                  consumerSpec(definition, set.name, partition, [name], `${path}/log`),
                  processorSpec(definition, name, {
                    id: 'processor',
                    set,
                    partition,
                    consumer: `${path}/processors/${name}/consumer`,
                    permit: `${path}/log`,
                  }),
                ],
              },
            }),
          ),
        ),
      ],
    },
  })
}

function readerUnit(definition: PipelineDefinition, node: ClusterNode, source: string): ChildSpec {
  const routed = new Set(
    routedSets(definition, source)
      .filter((set) => set.filters.length > 0)
      .map((set) => set.name),
  )
  return childOf(supervisor, {
    id: source,
    restart: 'temporary',
    args: {
      strategy: 'rest-for-one',
      ...patient,
      children: [
        childOf(logWriter, {
          id: 'log',
          mailbox: frameMailbox,
          args: {
            address: addressOf(node),
            control: clusterPaths(definition).control,
            resource: readerResource(source),
            source,
            sets: partitionSets(definition).filter((set) => routed.has(set.name)),
            closeWithin: 2_000,
            patience: defaultMembership.giveUp,
          },
        }),
        readerSpec(definition, source, {
          id: 'reader',
          log: clusterPaths(definition).readerLog(source),
          cluster: true,
        }),
      ],
    },
  })
}

function addressOf({ pipeline, node, servers, holdback }: ClusterNode): ClusterAddress {
  return { pipeline, node, servers, holdback }
}
