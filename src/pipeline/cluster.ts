/**
 * Makes ready to run as a node of a cluster: NATS is there and new enough, the pipeline's stream is what it should be, and
 * all nodes agree on the partitions. Then the tree of the node can be started.
 */

import type { NodeOptions } from '../actor/node/link.js'
import { agreeOnLayout } from '../log/jetstream/layout.js'
import { type ClusterAddress, openStream } from '../log/jetstream/link.js'
import { provisionStream } from '../log/jetstream/provision.js'
import { checkSynced } from '../log/jetstream/sync-check.js'
import { openNatsKv } from '../membership/nats-kv.js'
import { mustBeAlone } from '../membership/other-protocol.js'
import { connectNats, type NatsLink } from '../wire/nats/connect.js'
import { lastingNodeLink } from '../wire/nats/lasting-node-link.js'
import { checkJetStream } from '../wire/nats/server-check.js'
import { TroupeError } from '../world/error.js'
import type { Logger } from '../world/logger.js'
import type { World } from '../world/world.js'
import { clusterPaths, clusterProtocol, clusterSpec } from './cluster-graph.js'
import type { PipelineDefinition } from './definition.js'
import { partitionSets } from './graph.js'
import type { ClusterOptions } from './run.js'

/** @throws TroupeError as connect.ts, provision.ts and layout.ts say, exit code 2 where the configuration is wrong */
export async function prepareCluster(
  definition: PipelineDefinition,
  options: ClusterOptions,
  context: { readonly world: World; readonly log: Logger; readonly chaos?: { readonly planted?: readonly string[] } },
) {
  const { world, log } = context
  const { durability, holdback, maxBytes, replicas } = definition.cluster
  const address = { pipeline: definition.name, node: options.node, servers: options.servers, holdback }
  const provision = options.provision ?? true
  const { link, stream, names } = await openStream(address, 'start', context, () => {})
  try {
    const place = `the cluster of pipeline ${definition.name}`
    await checkJetStream(link, place)
    if (durability === 'synced') await checkSynced(link, { log, place })
    const made = await provisionStream(link, names, { maxBytes, replicas, provision, log, place })
    await agreeOnLayout(stream, names, partitionSets(definition), {
      protocol: clusterProtocol,
      pipeline: definition.name,
      world,
      alone: () => noOther(link, definition, context),
    })
    const boot = Buffer.from(world.randomBytes(9)).toString('base64url')
    const node = {
      ...address,
      boot,
      version: options.version,
      provision,
      replicas: made.replicas,
      ...plantedIn(context),
    }
    return {
      spec: clusterSpec(definition, node),
      paths: clusterPaths(definition),
      node: await linkNodes(address, context),
    }
  } finally {
    await link.close()
  }
}

/** How actors of this node are reached from other nodes and from the command line; its connection ends with the system. */
async function linkNodes(
  { pipeline, node, servers }: ClusterAddress,
  { world, log }: { readonly world: World; readonly log: Logger },
): Promise<NodeOptions> {
  const connect = (onClosed: (error: Error) => void) =>
    connectNats({
      servers,
      name: `troupe.${pipeline}.${node}.actors`,
      world,
      log,
      place: `the cluster of pipeline ${pipeline}`,
      onClosed,
    })
  return { link: await lastingNodeLink({ world, log, pipeline, node, connect }) }
}

/** Without a bucket there is no node. */
async function noOther(
  link: NatsLink,
  definition: PipelineDefinition,
  { world, log }: { readonly world: World; readonly log: Logger },
): Promise<void> {
  const { connection, inbox } = link
  try {
    const kv = await openNatsKv({ connection, inbox, world, pipeline: definition.name, replicas: 1, provision: false })
    await mustBeAlone({ kv, world, log, protocol: clusterProtocol, lease: definition.cluster.lease })
  } catch (error) {
    if (!(error instanceof TroupeError) || error.code !== 'bucket-missing') throw error
  }
  log.warn({ pipeline: definition.name, protocol: clusterProtocol }, 'the log is raised to a newer protocol')
}

function plantedIn({ chaos }: { readonly chaos?: { readonly planted?: readonly string[] } }) {
  return chaos?.planted === undefined ? {} : { planted: chaos.planted }
}
