/** Child specs: made with the types of their behaviour, and checked, with their defaults as numbers. */
import { TroupeError } from '../world/error.js'
import type { Behavior, ChildSpec } from './actor.js'
import { childPath } from './path.js'

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
  if (typeof spec.placement === 'object') childPath('/', spec.placement.thread)
  return path
}

function badSpec(place: string, message: string, bounds: string): TroupeError {
  return new TroupeError({ code: 'bad-child-spec', message, place, remedy: `give ${bounds}`, permanent: true })
}
