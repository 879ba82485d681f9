/** Units over the supervisors of a node: each is a child that is started and stopped by asking. */
import type { ActorContext, ChildSpec, SupervisorMessage } from '../actor/actor.js'
import { messageOf } from '../world/error.js'
import type { Resource, Units } from './port.js'

/** How one resource is worked on here. */
export interface UnitPlan {
  readonly resource: Resource
  /** Path of the supervisor that it is started under. */
  readonly supervisor: string
  readonly spec: ChildSpec
  /** The actor that is asked for a proof of life. */
  readonly probe: string
  /** Ask the probe to close, front to back, before the unit is stopped. */
  readonly closes: boolean
}

/** ms that a start may take: connections, a seal behind an election, a slot that is being freed. */
const startWithin = 60_000
/** ms beyond the deadline of a stop: what its actors need to end. */
const stopMargin = 10_000

export function createUnits(context: Pick<ActorContext, 'ref' | 'log'>, plans: readonly UnitPlan[]): Units {
  const known = new Map(plans.map((plan) => [plan.resource, plan]))

  function planOf(resource: Resource): UnitPlan {
    const plan = known.get(resource)
    if (plan === undefined) throw new RangeError(`no unit works on ${resource}`)
    return plan
  }

  return {
    async start(resource) {
      const { supervisor, spec } = planOf(resource)
      const ref = context.ref<SupervisorMessage>(supervisor)
      // What an earlier attempt or an earlier control has left under this name.
      await ref.ask({ type: 'stop-child', id: spec.id }, startWithin).catch(() => {})
      await ref.ask({ type: 'start-child', spec }, startWithin)
    },
    async stop(resource, deadlineMs) {
      const { supervisor, spec, probe, closes } = planOf(resource)
      if (closes)
        await context
          .ref(probe)
          .ask({ type: 'close', deadlineMs }, deadlineMs + 1_000)
          .catch(() => {})
      await context
        .ref<SupervisorMessage>(supervisor)
        .ask({ type: 'stop-child', id: spec.id }, deadlineMs + stopMargin)
        .catch((error) =>
          context.log.debug({ resource, cause: messageOf(error) }, 'a unit had ended before it was stopped'),
        )
    },
    async alive(resource, deadlineMs) {
      return context
        .ref(planOf(resource).probe)
        .ask<boolean>({ type: 'alive' }, Math.max(1, deadlineMs))
        .catch(() => false)
    },
  }
}
