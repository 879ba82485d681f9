/** Child specs: made with the types of their behaviour, and checked, with their defaults as numbers. */
import { TroupeError } from '../world/error.js'
import type { Behavior, ChildSpec, Placement } from './actor.js'
import { childPath, isNodeName } from './path.js'

export const DEFAULT_SHUTDOWN_MS = 5_000
const MAX_MS = 2 ** 31 - 1

/** A child spec whose `args` are those that the behaviour wants. */
export function childOf<Args, M>(
  behavior: Behavior<Args, M>,
  spec: Omit<ChildSpec<Args>, 'behavior'>,
): ChildSpec<Args> {
  return { ...spec, behavior: behavior.ref }
}

/** @throws TroupeError `bad-child-id`, `bad-child-spec`; both permanent mistakes of whoever wrote the spec */
export function checkSpec(parent: string, spec: ChildSpec): string {
  const path = childPath(parent, spec.id)
  const shutdown = spec.shutdownMs ?? DEFAULT_SHUTDOWN_MS
  if (!(shutdown >= 0 && shutdown <= MAX_MS)) throw badSpec(path, `shutdownMs is ${shutdown}`, `0 to ${MAX_MS}`)
  const capacity = spec.mailbox?.capacity ?? 1
  if (!(Number.isInteger(capacity) && capacity >= 1))
    throw badSpec(path, `mailbox.capacity is ${capacity}`, 'a whole number from 1')
  if (typeof spec.placement === 'object') checkPlacement(path, spec.placement)
  return path
}

function checkPlacement(path: string, placement: Exclude<Placement, string>): void {
  if (placement.thread !== undefined) childPath('/', placement.thread)
  if ('node' in placement && !isNodeName(placement.node))
    throw badSpec(path, `placement.node is '${placement.node}'`, '1 to 64 of A-Z a-z 0-9 _ -')
}

/** The node that a spec asks for; undefined: the one where its parent runs. */
export function nodeIn(spec: ChildSpec): string | undefined {
  return typeof spec.placement === 'object' && 'node' in spec.placement ? spec.placement.node : undefined
}

/** The thread that a spec asks for; undefined: that of its parent. */
export function threadIn(spec: ChildSpec): string | undefined {
  return typeof spec.placement === 'object' ? spec.placement.thread : undefined
}

function badSpec(place: string, message: string, bounds: string): TroupeError {
  return new TroupeError({ code: 'bad-child-spec', message, place, remedy: `give ${bounds}`, permanent: true })
}
