/**
 * The keys of the bucket. Each part is a name of `[A-Za-z0-9_-]{1,64}`; a resource has two or three parts.
 *
 * | key | holds |
 * |---|---|
 * | `member.<node>` | the node's heartbeat |
 * | `lease.<resource>` | who holds it |
 * | `order.rolling` | a rolling upgrade is under way |
 * | `order.drain.<node>` | this node is to give everything away |
 * | `order.pause.pipeline` | nobody is to work |
 * | `order.pause.processor.<name>` | this processor is to rest |
 *
 * An order is in force while its key has a value; what the value says is for people.
 */
import type { Resource } from './port.js'

const MEMBER = 'member.'
const LEASE = 'lease.'
const DRAIN = 'order.drain.'
const PROCESSOR = 'order.pause.processor.'

export const keys = {
  member: (node: string): string => `${MEMBER}${node}`,
  lease: (resource: Resource): string => `${LEASE}${resource}`,
  rolling: 'order.rolling',
  drain: (node: string): string => `${DRAIN}${node}`,
  pausePipeline: 'order.pause.pipeline',
  pauseProcessor: (processor: string): string => `${PROCESSOR}${processor}`,
} as const

export type Named =
  | { readonly kind: 'member'; readonly node: string }
  | { readonly kind: 'lease'; readonly resource: Resource }
  | { readonly kind: 'rolling' }
  | { readonly kind: 'drain'; readonly node: string }
  | { readonly kind: 'pause-pipeline' }
  | { readonly kind: 'pause-processor'; readonly processor: string }

/** What a key is about; undefined for one that a newer version may know. */
export function named(key: string): Named | undefined {
  if (key.startsWith(MEMBER)) return { kind: 'member', node: key.slice(MEMBER.length) }
  if (key.startsWith(LEASE)) return { kind: 'lease', resource: key.slice(LEASE.length) }
  if (key === keys.rolling) return { kind: 'rolling' }
  if (key === keys.pausePipeline) return { kind: 'pause-pipeline' }
  if (key.startsWith(DRAIN)) return { kind: 'drain', node: key.slice(DRAIN.length) }
  if (key.startsWith(PROCESSOR)) return { kind: 'pause-processor', processor: key.slice(PROCESSOR.length) }
  return undefined
}
