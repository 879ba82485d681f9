/**
 * A cluster as an operator sees it: from outside, over a connection of our own to NATS. What nodes need of each other is in
 * the bucket and the stream, and that is read and written here; only `troupe why` asks a node too (ask-nodes.ts).
 *
 * Creates nothing: a pipeline that never ran on these servers is refused, and so is a file with other partitions than the
 * log has, which would show and move a part of them as if it were all.
 */
import { mustHaveLayout } from '../../log/jetstream/layout.js'
import { openStream } from '../../log/jetstream/link.js'
import type { StreamNames } from '../../log/jetstream/names.js'
import { createNatsStream } from '../../log/jetstream/nats-stream.js'
import type { StreamPort } from '../../log/jetstream/port.js'
import { bucketOf, openNatsKv } from '../../membership/nats-kv.js'
import type { KvPort } from '../../membership/port.js'
import type { PipelineDefinition } from '../../pipeline/definition.js'
import { partitionSets } from '../../pipeline/graph.js'
import type { NatsLink } from '../../wire/nats/connect.js'
import { checkJetStream } from '../../wire/nats/server-check.js'
import type { Logger } from '../../world/logger.js'
import type { World } from '../../world/world.js'

export interface ClusterAccess {
  readonly world: World
  readonly definition: PipelineDefinition
  readonly link: NatsLink
  readonly names: StreamNames
  readonly stream: StreamPort
  readonly kv: KvPort
  /** The stream below the bucket: it knows when each value was written. */
  readonly bucket: StreamPort
  readonly bucketName: string
}

/** ms for one answer. */
export const answerWithin = 5_000

/** @throws TroupeError `nats-unreachable`, `stream-missing`, `bucket-missing`, `cluster-layout`, … (exit code 2) */
export async function withCluster<T>(
  definition: PipelineDefinition,
  servers: string,
  context: { readonly world: World; readonly log: Logger },
  work: (access: ClusterAccess) => Promise<T>,
): Promise<T> {
  const { world, log } = context
  const address = { pipeline: definition.name, node: 'operator', servers, holdback: definition.cluster.holdback }
  const { link, stream, names } = await openStream(address, 'cli', context, () => {})
  try {
    await checkJetStream(link, `the cluster of pipeline ${definition.name}`)
    await stream.state(answerWithin)
    await mustHaveLayout(stream, names, partitionSets(definition), definition.name)
    const kv = await openNatsKv({
      connection: link.connection,
      inbox: link.inbox,
      world,
      pipeline: definition.name,
      replicas: 1,
      provision: false,
    })
    const bucketName = bucketOf(definition.name)
    const bucket = createNatsStream(link, { stream: `KV_${bucketName}` }, { log })
    return await work({ world, definition, link, names, stream, kv, bucket, bucketName })
  } finally {
    await link.close()
  }
}
