/**
 * Orders to the nodes: keys of the bucket, in force while they have a value. A node that starts later obeys them too. What
 * the value says is for people.
 */
import { nearest } from '../../pipeline/nearest.js'
import { TroupeError } from '../../world/error.js'
import type { ClusterAccess } from './connect.js'
import { lookAtBucket } from './snapshot.js'

export interface OrderChange {
  readonly order: string
  readonly inForce: boolean
  /** False: it was so already. */
  readonly changed: boolean
}

/** A removal is tried again where somebody gave the same order meanwhile. */
const attempts = 5

export async function giveOrder({ kv, world }: ClusterAccess, key: string): Promise<OrderChange> {
  const value = Buffer.from(JSON.stringify({ at: new Date(world.now()).toISOString() }))
  return { order: key, inForce: true, changed: (await kv.create(key, value)) !== null }
}

/** @throws TroupeError `order-contended` */
export async function withdrawOrder({ kv }: ClusterAccess, key: string): Promise<OrderChange> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const found = await kv.get(key)
    if (found === null || found.value === null) return { order: key, inForce: false, changed: attempt > 0 }
    if (await kv.remove(key, found.revision)) return { order: key, inForce: false, changed: true }
  }
  throw new TroupeError({
    code: 'order-contended',
    message: `the order ${key} is given anew each time that it is withdrawn`,
    remedy: 'find who gives it, and try again',
  })
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
