/**
 * The units of a node over its supervisors: each resource is a child that is started under a supervisor when the node
 * gets its lease, and stopped when it loses it. Connecting, sealing and draining are the child's own; here it is only asked for.
 *
 * `start` resolves once the child runs, also where it ran already (a control that was started again finds its units at
 * work); one that is still stopping, or being restarted, is an error to be tried again. A start that does not end in time is taken back. A stop is bounded by its deadline and by the child's own
 * `shutdownMs`, after which the kernel kills it.
 */
import type { ActorContext, ChildSpec, SupervisorMessage } from '../actor/actor.js'
import { isTroupeError } from '../actor/failure.js'
import { messageOf, TroupeError } from '../world/error.js'
import type { Resource, Units } from './port.js'

export interface UnitPlan {
  /** Path of the supervisor under which it runs. */
  readonly supervisor: string
  readonly spec: ChildSpec
  /** Path of the actor that answers `{ type: 'alive' }`: anything but `false` is a proof of life. */
  readonly probe: string
  /** Ask the probe to `close` before the unit is stopped: to finish what it has, and to write its last checkpoint. */
  readonly closes?: boolean
}

export interface UnitsInit {
  readonly context: Pick<ActorContext, 'ref' | 'log'>
  readonly plans: ReadonlyMap<Resource, UnitPlan>
  /** The processors that are paused by order now: each proof of life that is asked for says it. */
  readonly paused?: () => readonly string[]
  /** ms that a start may take. Default 30,000. */
  readonly startDeadline?: number
}

export interface AliveMessage {
  readonly type: 'alive'
  readonly paused?: readonly string[]
}

export interface CloseMessage {
  readonly type: 'close'
  readonly deadlineMs: number
}

/** ms that a unit which is there already may take to answer. */
const PROBE_MS = 1_000

export function createUnits(init: UnitsInit): Units {
  const { context, plans, startDeadline = 30_000 } = init

  const ask = (plan: UnitPlan, message: SupervisorMessage, deadlineMs: number): Promise<unknown> =>
    context.ref<SupervisorMessage>(plan.supervisor).ask(message, deadlineMs)

  async function alive(resource: Resource, deadlineMs: number): Promise<boolean> {
    const plan = plans.get(resource)
    if (plan === undefined) return false
    try {
      const paused = init.paused?.()
      const question: AliveMessage = { type: 'alive', ...(paused === undefined ? {} : { paused }) }
      return (await context.ref<AliveMessage>(plan.probe).ask(question, deadlineMs)) !== false
    } catch {
      return false
    }
  }

  return {
    async start(resource) {
      const plan = plans.get(resource)
      if (plan === undefined) throw unknownResource(resource)
      try {
        await ask(plan, { type: 'start-child', spec: plan.spec }, startDeadline)
      } catch (error) {
        if (codeOf(error) === 'child-exists') {
          if (await alive(resource, PROBE_MS)) return
          throw unitBusy(resource)
        }
        // It may start yet, after its lease has gone to somebody else.
        if (codeOf(error) === 'ask-timeout')
          context.ref<SupervisorMessage>(plan.supervisor).tell({ type: 'stop-child', id: plan.spec.id })
        throw error
      }
    },
    async stop(resource, deadlineMs) {
      const plan = plans.get(resource)
      if (plan === undefined) return
      if (plan.closes === true && deadlineMs > 0)
        await context
          .ref<CloseMessage>(plan.probe)
          .ask({ type: 'close', deadlineMs: deadlineMs / 2 }, deadlineMs)
          .catch(() => {})
      try {
        await ask(plan, { type: 'stop-child', id: plan.spec.id }, Math.max(1, deadlineMs))
      } catch (error) {
        // It has ended already, or its supervisor has and took it along.
        if (codeOf(error) === 'unknown-child' || codeOf(error) === 'actor-gone') return
        context.log.warn({ resource, error: messageOf(error) }, `${resource} was still stopping at its deadline`)
      }
    },
    alive,
  }
}

function unitBusy(resource: Resource): TroupeError {
  return new TroupeError({
    code: 'unit-busy',
    message: `'${resource}' is still stopping here, or is being restarted`,
    place: resource,
    remedy: 'it is tried again; `troupe tree` shows what it waits for',
  })
}

function codeOf(error: unknown): string | undefined {
  return isTroupeError(error) ? error.code : undefined
}

function unknownResource(resource: Resource): TroupeError {
  return new TroupeError({
    code: 'unknown-resource',
    message: `this node knows no unit for '${resource}'`,
    place: resource,
    remedy: 'every node of a pipeline must run the same pipeline file',
    permanent: true,
  })
}
