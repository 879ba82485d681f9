/**
 * What a path from a source through a processor to a sink promises, and why (docs/guarantees.md).
 *
 * | source | sink | promise |
 * |---|---|---|
 * | cannot replay | any | at-most-once |
 * | can replay | stores the checkpoint with the work | exactly-once effect, but for the next line |
 * | lanes without an order, on one machine | stores the checkpoint with the work | at-least-once: only the cluster's log marks such frames |
 * | can replay | any other, or none | at-least-once |
 */
import type { Order } from './definition.js'

export type Guarantee = 'at-most-once' | 'at-least-once' | 'exactly-once effect'

export interface Promised {
  readonly guarantee: Guarantee
  readonly reason: string
}

export interface PathTraits {
  readonly replayable: boolean
  readonly sourceKind: string
  /** False where entries may come after their successors (a consumer group): positions then say nothing of what was seen. */
  readonly ordered: boolean
  /** Whether the pipeline runs on the cluster's log, which marks every frame, or in one process. */
  readonly cluster: boolean
  /** Null without a sink. */
  readonly sink: { readonly kind: string; readonly guarantee: 'at-least-once' | 'exactly-once' } | null
  readonly handler: boolean
  readonly onFailure: 'dead-letter' | 'stop'
}

export function guaranteeOf(path: PathTraits): Promised {
  if (!path.replayable)
    return {
      guarantee: 'at-most-once',
      reason: `${path.sourceKind} cannot read again what was missed; each window in which loss was possible is reported`,
    }
  const failing =
    path.onFailure === 'dead-letter'
      ? 'an event that keeps failing goes to the dead letters'
      : 'an event that keeps failing stops its partition'
  if (path.sink?.guarantee === 'exactly-once' && !path.ordered && !path.cluster)
    return {
      guarantee: 'at-least-once',
      reason: `entries that the group has not confirmed come again after a crash, and their ids are not in the checkpoint that the ${path.sink.kind} sink stores (use mode: read, or a cluster); ${failing}`,
    }
  if (path.sink?.guarantee === 'exactly-once')
    return {
      guarantee: 'exactly-once effect',
      reason: `${path.sourceKind} reads again after a crash, and the ${path.sink.kind} sink stores the checkpoint with the work${path.handler ? ' (what the handler does elsewhere may be done again)' : ''}; ${failing}`,
    }
  const again =
    path.sink === null
      ? 'what the handler did since the last checkpoint is done again'
      : `what reached the ${path.sink.kind} sink since the last checkpoint is written again, with the same ids`
  return {
    guarantee: 'at-least-once',
    reason: `${path.sourceKind} reads again after a crash, and ${again}; ${failing}`,
  }
}

/** Whether what is promised is at least what a processor demands. */
export function meets(guarantee: Guarantee, demanded: 'at-least-once' | 'exactly-once'): boolean {
  if (guarantee === 'at-most-once') return false
  return demanded === 'at-least-once' || guarantee === 'exactly-once effect'
}

export interface Ordering {
  readonly order: Order
  readonly meaning: string
}

export function orderingOf(order: Order, concurrency: number, sourceKind: string, keyField: string | null): Ordering {
  const key = keyOf(sourceKind, keyField)
  switch (order) {
    case 'key':
      return {
        order,
        meaning: `events of one ${key} run one after the other, each when the one before has ended; up to ${concurrency} others beside it in a partition`,
      }
    case 'none':
      return { order, meaning: `no order; up to ${concurrency} events at once in a partition` }
    case 'global':
      return { order, meaning: 'every event of a source after the one before it, one at a time, in one partition' }
  }
}

function keyOf(sourceKind: string, keyField: string | null): string {
  if (sourceKind === 'postgres') return 'key (replica identity)'
  return keyField === null ? 'stream' : `value of the field ${keyField}`
}
