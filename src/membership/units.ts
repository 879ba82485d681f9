/**
 * The units of a node over its supervisors: each resource is a child that is started under a supervisor when the node
 * gets its lease, and stopped when it loses it. Connecting, sealing and draining are the child's own; here it is only asked for.
 *
 * `start` resolves once the child runs, also where it ran already (a control that was started again finds its units at
 * work); one that is still stopping, or being restarted, is an error to be tried again. A start that does not end in time is
 * taken back. What runs is watched: the end of one that was not asked to end is told. A stop, the closing before it
 * included, is bounded by its deadline and by the child's own `shutdownMs`, after which the kernel kills it.
 */
import type { ActorContext, ChildSpec, Down, ExitReason, Ref, SupervisorMessage } from '../actor/actor.js'
import { describeReason, isTroupeError } from '../actor/failure.js'
import { messageOf, TroupeError } from '../world/error.js'
import type { Resource, Units } from './port.js'

export interface UnitPlan {
  /** Path of the supervisor under which it runs. */
  readonly supervisor: string
  readonly spec: ChildSpec
  /** Path of the actor that answers `{ type: 'alive' }`: anything but `false` is a proof of life; with `false` the unit is to be started anew. */
  readonly probe: string
  /**
   * Ask the probe to `close` before the unit is stopped: to finish what it has, and to write its last checkpoint. The answer
   * is `true` where all of it is finished and stored. From then on it is no longer alive.
   */
  readonly closes?: boolean
}

export interface UnitsInit {
  readonly context: Pick<ActorContext, 'ref' | 'log' | 'world' | 'watch' | 'unwatch'>
  readonly plans: ReadonlyMap<Resource, UnitPlan>
  /** The processors that are paused by order now: each proof of life that is asked for says it. */
  readonly paused?: () => readonly string[]
  /** ms that a start may take. Default 30,000. */
  readonly startDeadline?: number
}

export interface SupervisedUnits extends Units {
  /** Something that the actor of this context watches has ended. */
  down(down: Down): void
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

export function createUnits(init: UnitsInit): SupervisedUnits {
  const { context, plans, startDeadline = 30_000 } = init
  const { world } = context
  /** Who is to be told of an end, by the path of the unit. */
  const followed = new Map<string, (reason: ExitReason) => void>()

  const ask = (plan: UnitPlan, message: SupervisorMessage, deadlineMs: number): Promise<unknown> =>
    context.ref<SupervisorMessage>(plan.supervisor).ask(message, deadlineMs)

  const refOf = (plan: UnitPlan): Ref => context.ref(`${plan.supervisor}/${plan.spec.id}`)

  function takeBack(plan: UnitPlan): void {
    context.ref<SupervisorMessage>(plan.supervisor).tell({ type: 'stop-child', id: plan.spec.id })
  }

  /** One that has ended already is told too. */
  function follow(resource: Resource, plan: UnitPlan, ended: (error: Error) => void): void {
    const ref = refOf(plan)
    followed.set(ref.path, (reason) => ended(reason.kind === 'error' ? reason.error : unitEnded(resource, reason)))
    context.watch(ref)
  }

  function leave(plan: UnitPlan): void {
    const ref = refOf(plan)
    followed.delete(ref.path)
    context.unwatch(ref)
  }

  async function probe(plan: UnitPlan, deadlineMs: number): Promise<'alive' | 'over' | 'silent'> {
    const paused = init.paused?.()
    const question: AliveMessage = { type: 'alive', ...(paused === undefined ? {} : { paused }) }
    try {
      return (await context.ref<AliveMessage>(plan.probe).ask(question, deadlineMs)) === false ? 'over' : 'alive'
    } catch {
      return 'silent'
    }
  }

  return {
    async start(resource, ended) {
      const plan = plans.get(resource)
      if (plan === undefined) throw unknownResource(resource)
      try {
        await ask(plan, { type: 'start-child', spec: plan.spec }, startDeadline)
      } catch (error) {
        if (codeOf(error) === 'child-exists') {
          const found = await probe(plan, PROBE_MS)
          // Whoever found that before us, or closed it, has not come to stop it.
          if (found === 'over') takeBack(plan)
          if (found !== 'alive') throw unitBusy(resource)
          follow(resource, plan, ended)
          return
        }
        // It may start yet, after its lease has gone to somebody else.
        if (codeOf(error) === 'ask-timeout') takeBack(plan)
        throw error
      }
      follow(resource, plan, ended)
    },
    async stop(resource, deadlineMs, closed) {
      const plan = plans.get(resource)
      if (plan === undefined) return
      leave(plan)
      const until = world.monotonic() + deadlineMs
      if (plan.closes === true && deadlineMs > 0)
        await context
          .ref<CloseMessage>(plan.probe)
          .ask({ type: 'close', deadlineMs: deadlineMs / 2 }, deadlineMs)
          .then(
            (clean) => clean === true && closed(),
            () => {},
          )
      try {
        await ask(plan, { type: 'stop-child', id: plan.spec.id }, Math.max(1, until - world.monotonic()))
      } catch (error) {
        // It has ended already, or its supervisor has and took it along.
        if (codeOf(error) === 'unknown-child' || codeOf(error) === 'actor-gone') return
        context.log.warn({ resource, error: messageOf(error) }, `${resource} was still stopping at its deadline`)
      }
    },
    async alive(resource, deadlineMs) {
      const plan = plans.get(resource)
      return plan !== undefined && (await probe(plan, deadlineMs)) === 'alive'
    },
    down({ path, reason }) {
      const ended = followed.get(path)
      followed.delete(path)
      ended?.(reason)
    },
  }
}

function unitEnded(resource: Resource, reason: ExitReason): TroupeError {
  return new TroupeError({
    code: 'unit-ended',
    message: `it has ended (${describeReason(reason)})`,
    place: resource,
    remedy: 'nothing: it is started again',
  })
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
