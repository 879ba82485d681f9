/**
 * The ground of a pipeline on a cluster under measurement: two node names of which one is given the reader and the other the
 * partition, a bucket in which the pipeline is paused until both have joined, and the end of it all.
 *
 * The nodes decide as everywhere, by rendezvous over their names: nothing of the product is bent for the measurement.
 */
import { streamNames } from '../../src/log/jetstream/names.js'
import { score } from '../../src/membership/assignment.js'
import { keys } from '../../src/membership/keys.js'
import { bucketOf, openNatsKv } from '../../src/membership/nats-kv.js'
import { partitionResource, readerResource } from '../../src/membership/port.js'
import { connectNats, type NatsLink } from '../../src/wire/nats/connect.js'
import { callJetStream } from '../../src/wire/nats/jetstream-api.js'
import { realWorld } from '../../src/world/real.js'
import { quietLog } from './quiet-log.js'

export interface NodeNames {
  readonly reader: string
  readonly owner: string
}

/** Of the source `wal` and the one partition of scope `key`. */
export function nodeNames(): NodeNames {
  const prefers = (a: string, b: string, resource: string) => score(a, 1, resource) > score(b, 1, resource)
  const partition = partitionResource('key', 0)
  for (let n = 1; n <= 1_000; n++) {
    const [reader, owner] = [`a${n}`, `b${n}`]
    if (prefers(reader, owner, readerResource('wal')) && prefers(owner, reader, partition)) return { reader, owner }
  }
  throw new Error('no two names part the reader from the partition')
}

export function openLink(servers: string): Promise<NatsLink> {
  return connectNats({ servers, name: 'troupe.bench', world: realWorld, log: quietLog })
}

/** Makes the bucket, paused: nobody begins before `resume`. */
export async function pausedBucket(link: NatsLink, pipeline: string) {
  const init = {
    connection: link.connection,
    inbox: link.inbox,
    world: realWorld,
    pipeline,
    replicas: 3,
    provision: true,
  }
  const kv = await openNatsKv(init)
  await kv.create(keys.pausePipeline, Buffer.from('until both nodes have joined'))
  return {
    async resume() {
      const order = await kv.get(keys.pausePipeline)
      if (order !== null) await kv.remove(keys.pausePipeline, order.revision)
    },
  }
}

/** The stream and the bucket of a pipeline that is over; what is not there is no error. */
export async function removeCluster(link: NatsLink, pipeline: string): Promise<void> {
  for (const stream of [streamNames(pipeline).stream, `KV_${bucketOf(pipeline)}`])
    await callJetStream(link, { subject: `STREAM.DELETE.${stream}`, deadlineMs: 10_000 })
}
