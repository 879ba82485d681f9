/**
 * A child spec on its way to another node: behaviours under their portable names, those of a supervisor's children too.
 */
import type { BehaviorRef, ChildSpec, SupervisorArgs } from '../actor.js'
import { supervisor } from '../supervisor.js'
import { portable } from './registered.js'

/** The thread stays in its placement, the node does not: it has been reached. */
export function encodeSpec(spec: ChildSpec): ChildSpec {
  const { placement, behavior, args, ...rest } = spec
  const thread = typeof placement === 'object' ? placement.thread : undefined
  return {
    ...rest,
    behavior: portable(behavior),
    args: encodeArgs(behavior, args),
    ...(thread === undefined ? {} : { placement: { thread } }),
  }
}

/** Children of a supervisor keep their placement: it is resolved where their supervisor runs. */
function encodeArgs(behavior: BehaviorRef, args: unknown): unknown {
  if (!isSupervisor(behavior)) return args
  const { children, ...rest } = args as SupervisorArgs
  const encoded = children.map((child) => ({
    ...child,
    behavior: portable(child.behavior),
    args: encodeArgs(child.behavior, child.args),
  }))
  return { ...rest, children: encoded }
}

function isSupervisor(behavior: BehaviorRef): boolean {
  const [one, other] = [portable(behavior), portable(supervisor.ref)]
  return one.module === other.module && one.export === other.export
}
