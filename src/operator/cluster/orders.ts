/**
 * Orders to the nodes: keys of the bucket, in force while they have a value. A node that starts later obeys them too. What
 * the value says is for people.
 */
import { nearest } from '../../pipeline/nearest.js'
import { TroupeError } from '../../world/error.js'
import { sleep } from '../../world/sleep.js'
import { answerWithin, type ClusterAccess } from './connect.js'
import { lookAtBucket } from './snapshot.js'

export interface OrderChange {
  readonly order: string
  readonly inForce: boolean
  /** False: it was so already. */
  readonly changed: boolean
}

/** A write is tried again where somebody gave or withdrew the same order meanwhile. */
const attempts = 5
const pauseMs = 200

/** @throws TroupeError `order-contended` */
export async function giveOrder(access: ClusterAccess, key: string): Promise<OrderChange> {
  const { kv, world } = access
  const value = Buffer.from(JSON.stringify({ at: new Date(world.now()).toISOString() }))
  return change(access, key, true, ({ revision }) =>
    revision === 0 ? kv.create(key, value) : kv.update(key, value, revision),
  )
}

/** @throws TroupeError `order-contended` */
export async function withdrawOrder(access: ClusterAccess, key: string): Promise<OrderChange> {
  return change(access, key, false, ({ revision }) => access.kv.remove(key, revision))
}

/** @param write null or false: what was looked at is not the last any more */
async function change(
  access: ClusterAccess,
  order: string,
  inForce: boolean,
  write: (found: Standing) => Promise<number | boolean | null>,
): Promise<OrderChange> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    if (attempt > 0) await sleep(access.world, pauseMs)
    const found = await standing(access, order)
    if (found.inForce === inForce) return { order, inForce, changed: attempt > 0 }
    const written = await write(found)
    if (written !== null && written !== false) return { order, inForce, changed: true }
  }
  throw new TroupeError({
    code: 'order-contended',
    message: `the order ${order} is ${inForce ? 'withdrawn' : 'given anew'} each time that it is ${inForce ? 'given' : 'withdrawn'}`,
    remedy: 'find who does it, and try again',
  })
}

interface Standing {
  /** 0: there was never such an order. */
  readonly revision: number
  readonly inForce: boolean
}

/** By the leader: a replica may be behind, and then nothing would be done about an order that is in force, and said to be so already. */
async function standing({ bucket, bucketName }: ClusterAccess, key: string): Promise<Standing> {
  const found = await bucket.last(`$KV.${bucketName}.${key}`, answerWithin)
  return { revision: found?.sequence ?? 0, inForce: found !== null && found.headers['KV-Operation'] === undefined }
}

/** A processor that is none cannot be paused. @throws TroupeError `unknown-processor` (exit code 2) */
export function mustHaveProcessor({ definition }: ClusterAccess, processor: string): void {
  const known = Object.keys(definition.processors)
  if (known.includes(processor)) return
  const near = nearest(processor, known)
  throw new TroupeError({
    code: 'unknown-processor',
    message: `the pipeline has no processor '${processor}'`,
    place: `pipeline ${definition.name}`,
    remedy: near === null ? `it has ${known.join(', ')}` : `did you mean '${near}'?`,
    exitCode: 2,
  })
}

/** A node that is not there now may be drained too: it comes back draining. But a name nobody has had is a slip. */
export async function mustBeKnown(access: ClusterAccess, node: string): Promise<void> {
  const { observer, now } = await lookAtBucket(access)
  const members = observer.members(now)
  if (members.has(node)) return
  const known = [...members.keys()].join(', ')
  const near = nearest(node, members.keys())
  throw new TroupeError({
    code: 'unknown-node',
    message: `there is no node '${node}' in the cluster`,
    place: `the cluster of pipeline ${access.definition.name}`,
    remedy: known === '' ? 'no node runs' : `${near === null ? '' : `did you mean '${near}'? `}the nodes are ${known}`,
    exitCode: 2,
  })
}
