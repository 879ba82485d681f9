/**
 * What a supervisor decides: inputs in, actions out. No I/O, no clock: time and chance come with each input.
 *
 * The rules are OTP's (stdlib, supervisor.erl):
 * - children start in order, each after the one before it runs; if one fails to, the supervisor's own start fails;
 * - one-for-one restarts the child alone, one-for-all all, rest-for-one it and those after it: the others are stopped
 *   in reverse order first, then all start in order;
 * - `permanent` is always restarted, `transient` after a failure, `temporary` never (it is forgotten, also when a
 *   sibling's end takes it along);
 * - more than `restarts` restarts within `periodMs` (both ends included) end the supervisor: `restart-intensity`.
 * Ours beside OTP's: a restart waits for its back-off, an error that says `permanent` is escalated at once, and children that
 * need nothing of each other may start together.
 *
 * Stopping is not here: the kernel stops the children of every actor in reverse order.
 */
import { TroupeError } from '../world/error.js'
import type { ChildSpec, ExitReason, SupervisorArgs, SupervisorMessage } from './actor.js'
import { actorGone, describeReason, isFailure, isTroupeError } from './failure.js'

export const DEFAULT_INTENSITY = { restarts: 5, periodMs: 30_000 }
export const DEFAULT_BACKOFF = { initialMs: 100, maxMs: 10_000, jitter: 0.2, resetAfterMs: 60_000 }

/** Faults that the simulation must find (docs/actors.md, "Simulation"). Never set in a running node. */
export type Planted = 'intensity-off-by-one' | 'a-watcher-not-told' | 'restart-order-reversed' | 'a-child-not-restarted'

/** When an input comes, and the chance for its jitter. */
export interface At {
  /** Monotonic, ms. */
  readonly now: number
  /** In [0, 1). */
  readonly random: number
}

/** `run` numbers the incarnations of a child; what an older one says is not heard. */
export type Input =
  | { readonly type: 'begin' }
  | { readonly type: 'started'; readonly id: string; readonly run: number }
  | { readonly type: 'start-failed'; readonly id: string; readonly run: number; readonly error: Error }
  | { readonly type: 'ended'; readonly id: string; readonly run: number; readonly reason: ExitReason }
  /** The answer to the action `stop`. */
  | { readonly type: 'stopped'; readonly id: string; readonly run: number }
  | { readonly type: 'due'; readonly key: string }
  | { readonly type: 'command'; readonly request: number; readonly message: SupervisorMessage }
  /** The supervisor itself ends: who still waits is told. */
  | { readonly type: 'close' }

/** `shutdown-error`: it failed while its group was being stopped, which is no restart of its own. */
export type ReportContext = 'start-error' | 'child-terminated' | 'shutdown-error'

export type Action =
  | { readonly type: 'start'; readonly spec: ChildSpec; readonly run: number; readonly again: boolean }
  | { readonly type: 'stop'; readonly id: string; readonly run: number }
  | { readonly type: 'timer'; readonly key: string; readonly ms: number }
  | { readonly type: 'cancel'; readonly key: string }
  /** All children run: the supervisor has started. */
  | { readonly type: 'ready' }
  /** The supervisor ends with this error; before `ready` its start fails with it. */
  | { readonly type: 'exit'; readonly error: Error }
  | { readonly type: 'reply'; readonly request: number; readonly error?: Error }
  | {
      readonly type: 'report'
      readonly context: ReportContext
      readonly reason: string
      readonly spec: ChildSpec
      readonly restarts: number
    }

export interface ChildView {
  readonly id: string
  readonly spec: ChildSpec
  readonly state: 'down' | 'starting' | 'running' | 'stopping' | 'waiting' | 'ended'
  readonly restarts: number
  readonly lastError: string | undefined
}

export interface Supervision {
  handle(input: Input, at: At): readonly Action[]
  children(): readonly ChildView[]
}

interface Child {
  readonly id: string
  readonly spec: ChildSpec
  state: ChildView['state']
  run: number
  restarts: number
  /** Failures in a row, for the back-off. */
  failures: number
  runningSince: number
  lastError: string | undefined
  /** Belongs to the group that is being (re)started. */
  member: boolean
  /** Once stopped: forget it, or start it again. */
  after: 'remove' | 'start' | undefined
  /** Asked for by a `start-child` that has not been answered. */
  adding: boolean
  waiters: number[]
}

type Group = { phase: 'stopping' | 'waiting' | 'starting'; readonly initial: boolean; delayMs: number }

const GROUP = '*group*'

export function createSupervision(args: SupervisorArgs, planted: readonly Planted[] = []): Supervision {
  const intensity = { ...DEFAULT_INTENSITY, ...args.intensity }
  const backoff = { ...DEFAULT_BACKOFF, ...args.backoff }
  const allowed = intensity.restarts + (planted.includes('intensity-off-by-one') ? 1 : 0)
  let children: Child[] = args.children.map((spec) => newChild(spec))
  let group: Group | undefined
  let restartTimes: number[] = []
  let closed = false
  /** Ends that came while the children started for the first time; as in OTP they are dealt with afterwards. */
  let backlog: Input[] = []
  let actions: Action[] = []
  let at: At = { now: 0, random: 0 }

  function newChild(spec: ChildSpec): Child {
    return {
      id: spec.id,
      spec,
      state: 'down',
      run: 0,
      restarts: 0,
      failures: 0,
      runningSince: 0,
      lastError: undefined,
      member: false,
      after: undefined,
      adding: false,
      waiters: [],
    }
  }

  const find = (id: string): Child | undefined => children.find((child) => child.id === id)
  const emit = (action: Action): void => {
    actions.push(action)
  }

  function answer(child: Child, error?: Error): void {
    for (const request of child.waiters) emit({ type: 'reply', request, ...(error === undefined ? {} : { error }) })
    child.waiters = []
  }

  function start(child: Child): void {
    child.state = 'starting'
    const again = child.run > 0
    child.run++
    if (again) child.restarts++
    emit({ type: 'start', spec: child.spec, run: child.run, again })
  }

  function stop(child: Child): void {
    child.state = 'stopping'
    emit({ type: 'stop', id: child.id, run: child.run })
  }

  function remove(child: Child, error?: Error): void {
    children = children.filter((other) => other !== child)
    answer(child, error)
  }

  function report(context: ReportContext, reason: string, child: Child): void {
    emit({ type: 'report', context, reason, spec: child.spec, restarts: child.restarts })
  }

  function exit(error: Error): void {
    closed = true
    emit({ type: 'exit', error })
    for (const child of children) answer(child, error)
  }

  // Groups: the first start, and the restarts of one-for-all and rest-for-one ---------------------------------------

  /** Takes the group's next step, until it has to wait for an input. */
  function advance(): void {
    if (group === undefined || closed) return
    const members = children.filter((child) => child.member)
    if (group.phase === 'stopping') stopNext(group, members)
    else if (group.phase === 'starting') startNext(group, members)
  }

  function stopNext(current: Group, members: readonly Child[]): void {
    if (members.some((child) => child.state === 'stopping')) return
    const last = members.findLast((child) => child.state === 'running' || child.state === 'starting')
    if (last !== undefined) {
      stop(last)
      return
    }
    for (const child of members) {
      if (child.spec.restart === 'temporary') remove(child, actorGone(child.id, 'was stopped with its siblings'))
      else {
        if (child.state === 'waiting') emit({ type: 'cancel', key: child.id })
        child.state = 'down'
      }
    }
    current.phase = 'waiting'
    emit({ type: 'timer', key: GROUP, ms: current.delayMs })
  }

  function startNext(current: Group, members: readonly Child[]): void {
    if (current.initial && args.startup === 'together')
      for (const child of members) if (child.state === 'down') start(child)
    if (members.some((child) => child.state === 'starting' || child.state === 'stopping')) return
    const down = members.filter((child) => child.state === 'down')
    const next = planted.includes('restart-order-reversed') && !current.initial ? down.at(-1) : down[0]
    if (next !== undefined) {
      start(next)
      return
    }
    group = undefined
    for (const child of members) child.member = false
    if (!current.initial) return
    emit({ type: 'ready' })
    const late = backlog
    backlog = []
    for (const input of late) dispatch(input)
  }

  /** This child and those that its strategy takes along. */
  function restartGroup(child: Child, delayMs: number): void {
    if (group?.phase === 'waiting') emit({ type: 'cancel', key: GROUP })
    const from = args.strategy === 'one-for-all' ? 0 : children.indexOf(child)
    children.forEach((other, index) => {
      if (index >= from) other.member = true
    })
    child.state = 'down'
    group = { phase: 'stopping', initial: false, delayMs: Math.max(delayMs, group?.delayMs ?? 0) }
    advance()
  }

  // Failures ---------------------------------------------------------------------------------------------------------

  function restart(child: Child, reason: ExitReason): void {
    const error = reason.kind === 'error' ? reason.error : undefined
    if (isTroupeError(error) && error.permanent) {
      exit(error)
      return
    }
    restartTimes = restartTimes.filter((time) => at.now - time <= intensity.periodMs)
    restartTimes.push(at.now)
    if (restartTimes.length > allowed) {
      exit(tooMany(child, error))
      return
    }
    const delayMs = nextDelay(child)
    if (args.strategy !== 'one-for-one') {
      restartGroup(child, delayMs)
      return
    }
    child.state = planted.includes('a-child-not-restarted') && at.random < 0.2 ? 'ended' : 'waiting'
    emit({ type: 'timer', key: child.id, ms: delayMs })
  }

  function tooMany(child: Child, cause: Error | undefined): TroupeError {
    return new TroupeError({
      code: 'restart-intensity',
      message: `more than ${intensity.restarts} restarts within ${intensity.periodMs} ms; the last was of '${child.id}' (${child.lastError ?? 'ended'})`,
      remedy: "the child's own error says what fails; its supervisor only counts",
      ...(cause === undefined ? {} : { cause }),
    })
  }

  function nextDelay(child: Child): number {
    const base = Math.min(backoff.maxMs, backoff.initialMs * 2 ** Math.min(child.failures, 30))
    child.failures++
    return base * (1 - backoff.jitter) + base * backoff.jitter * at.random
  }

  function ended(child: Child, reason: ExitReason): void {
    if (at.now - child.runningSince >= backoff.resetAfterMs) child.failures = 0
    child.lastError = isFailure(reason) ? describeReason(reason) : child.lastError
    if (child.member && group?.phase === 'stopping') {
      // It went before it was asked to.
      if (isFailure(reason)) report('shutdown-error', describeReason(reason), child)
      child.state = 'down'
      advance()
      return
    }
    const kind = child.spec.restart ?? 'permanent'
    if (kind === 'permanent' || isFailure(reason)) report('child-terminated', describeReason(reason), child)
    if (kind === 'temporary') {
      remove(child)
      advance()
      return
    }
    if (kind === 'transient' && !isFailure(reason)) {
      child.state = 'ended'
      advance()
      return
    }
    restart(child, reason)
  }

  function startFailed(child: Child, error: Error): void {
    child.lastError = describeReason({ kind: 'error', error })
    report('start-error', child.lastError, child)
    if (group?.initial === true) {
      exit(error)
      return
    }
    if (child.adding) {
      remove(child, error)
      advance()
      return
    }
    answer(child, error)
    if (child.spec.restart === 'temporary') {
      remove(child)
      advance()
      return
    }
    restart(child, { kind: 'error', error })
  }

  function stopped(child: Child): void {
    const after = child.after
    child.after = undefined
    if (after === 'remove') remove(child)
    else if (child.member) child.state = 'down'
    else if (after === 'start') {
      start(child)
      return
    } else child.state = 'ended'
    advance()
  }

  // Commands ---------------------------------------------------------------------------------------------------------

  function command(request: number, message: SupervisorMessage): void {
    const id = message.type === 'start-child' ? message.spec.id : message.id
    const child = find(id)
    if (message.type === 'start-child') {
      if (child !== undefined) {
        refuse(request, 'child-exists', `a child '${id}' exists already`)
        return
      }
      add(request, message.spec)
      return
    }
    if (child === undefined || child.after === 'remove') {
      refuse(request, 'unknown-child', `there is no child '${id}'`)
      return
    }
    child.waiters.push(request)
    if (message.type === 'stop-child') stopOne(child)
    else restartOne(child)
  }

  function refuse(request: number, code: string, message: string): void {
    const remedy = '`troupe tree` shows the children of each supervisor'
    emit({ type: 'reply', request, error: new TroupeError({ code, message, remedy }) })
  }

  function add(request: number, spec: ChildSpec): void {
    const child = newChild(spec)
    child.adding = true
    child.waiters.push(request)
    children.push(child)
    if (group === undefined || args.strategy === 'one-for-one') {
      start(child)
      return
    }
    // The newest child is the last to start, so it waits for those who are on their way.
    child.member = true
    advance()
  }

  function stopOne(child: Child): void {
    if (child.state === 'running' || child.state === 'starting') {
      child.after = 'remove'
      stop(child)
    } else if (child.state === 'stopping') child.after = 'remove'
    else {
      if (child.state === 'waiting') emit({ type: 'cancel', key: child.id })
      remove(child)
      advance()
    }
  }

  function restartOne(child: Child): void {
    child.failures = 0
    if (child.state === 'running') {
      child.after = 'start'
      stop(child)
    } else if (child.state === 'waiting' || child.state === 'ended') {
      if (child.state === 'waiting') emit({ type: 'cancel', key: child.id })
      start(child)
    } else if (child.state === 'stopping' && !child.member) child.after = 'start'
  }

  // ------------------------------------------------------------------------------------------------------------------

  function due(key: string): void {
    if (key === GROUP) {
      if (group?.phase !== 'waiting') return
      group.phase = 'starting'
      advance()
      return
    }
    const child = find(key)
    if (child?.state === 'waiting') start(child)
  }

  function begin(): void {
    group = { phase: 'starting', initial: true, delayMs: 0 }
    for (const child of children) child.member = true
    advance()
  }

  function close(): void {
    closed = true
    for (const child of children) answer(child, actorGone(child.id, 'its supervisor is stopping'))
  }

  function dispatch(input: Input): void {
    if (closed) {
      if (input.type === 'command')
        emit({ type: 'reply', request: input.request, error: actorGone('supervisor', 'is stopping') })
      return
    }
    switch (input.type) {
      case 'begin':
        begin()
        return
      case 'close':
        close()
        return
      case 'due':
        due(input.key)
        return
      case 'command':
        command(input.request, input.message)
        return
      default:
        childInput(input)
        return
    }
  }

  function childInput(input: Extract<Input, { readonly run: number }>): void {
    const child = find(input.id)
    if (child === undefined || child.run !== input.run) return
    if (input.type === 'stopped') {
      if (child.state === 'stopping') stopped(child)
    } else if (input.type === 'started') {
      if (child.state !== 'starting') return
      child.state = 'running'
      child.runningSince = at.now
      child.adding = false
      answer(child)
      advance()
    } else if (input.type === 'start-failed') {
      if (child.state === 'starting') startFailed(child, input.error)
    } else if (child.state === 'running') {
      if (group?.initial === true) backlog.push(input)
      else ended(child, input.reason)
    }
  }

  return {
    handle(input, when) {
      at = when
      actions = []
      dispatch(input)
      return actions
    },
    children: () =>
      children.map(({ id, spec, state, restarts, lastError }) => ({ id, spec, state, restarts, lastError })),
  }
}
