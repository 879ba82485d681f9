/**
 * The supervisor: an actor whose only work is to keep its children running. It holds no business logic.
 *
 *     childOf(supervisor, { id: 'pipelines', args: { strategy: 'one-for-one', children: [...] } })
 *
 * What it decides is in supervision.ts; here its decisions are carried out. It never waits for a child while it could
 * listen: a slow start does not hold its other children. Defaults: intensity 5 restarts in 30,000 ms; back-off 100 ms,
 * doubled to at most 10,000 ms, a fifth of it random, first delay again after 60,000 ms of running.
 *
 * Asked `start-child`, it answers once the child runs; `stop-child`, once it has ended (the child is then forgotten);
 * `restart-child`, once it runs again. An error is the answer if that cannot be.
 *
 * Reports are OTP's: supervisor, context, reason, child.
 */
import { TroupeError, toError } from '../world/error.js'
import {
  type Actor,
  type ActorContext,
  type ChildSpec,
  defineActor,
  type SupervisorArgs,
  type SupervisorMessage,
  type TreeNode,
} from './actor.js'
import { type Child, cellOf } from './cell.js'
import { checkSpec, DEFAULT_SHUTDOWN_MS, threadIn } from './child.js'
import { later } from './later.js'
import { supervisorCheck } from './node/spec-check.js'
import { childPath } from './path.js'
import { type Action, type ChildView, createSupervision, type Input } from './supervision.js'

export const supervisor = defineActor<SupervisorArgs, SupervisorMessage>(
  { module: import.meta.url, export: 'supervisor' },
  async (context, args) => {
    checkArgs(context.path, args)
    const run = supervise(context, args)
    await run.ready
    return run.actor
  },
  // No messages: a supervisor of this node's own names loads what it is told to, so only this node may tell it.
  { args: supervisorCheck },
)

function supervise(
  context: ActorContext<SupervisorMessage>,
  args: SupervisorArgs,
): { ready: Promise<void>; actor: Actor<SupervisorMessage> } {
  const cell = cellOf(context)
  const { world, log, path } = context
  const machine = createSupervision(args, cell.kernel.planted)
  const running = new Map<string, Child>()
  const requests = new Map<number, { resolve(): void; reject(error: Error): void }>()
  let nextRequest = 0
  let started: { resolve(): void; reject(error: Error): void } | undefined

  function feed(input: Input): void {
    for (const action of machine.handle(input, { now: world.monotonic(), random: world.random() })) perform(action)
  }

  function perform(action: Action): void {
    switch (action.type) {
      case 'start':
        start(action.spec, action.run, action.again)
        return
      case 'stop':
        stop(action.id, action.run)
        return
      case 'timer':
        cell.setTimer(action.key, action.ms, () => feed({ type: 'due', key: action.key }))
        return
      case 'cancel':
        cell.clearTimer(action.key)
        return
      case 'ready':
        started?.resolve()
        started = undefined
        return
      case 'exit':
        if (started !== undefined) started.reject(action.error)
        else context.exit(action.error)
        return
      case 'reply':
        if (action.error === undefined) requests.get(action.request)?.resolve()
        else requests.get(action.request)?.reject(action.error)
        requests.delete(action.request)
        return
      case 'report':
        log.error(reportOf(path, action), `${action.context}: ${action.reason}`)
        return
    }
  }

  function start(spec: ChildSpec, run: number, again: boolean): void {
    const { id } = spec
    if (!cell.alive) return
    if (again) cell.kernel.counters.restart()
    let child: Child
    try {
      child = cell.startChild(spec)
    } catch (thrown) {
      // A microtask later: the machine is not done with its actions.
      queueMicrotask(() => feed({ type: 'start-failed', id, run, error: toError(thrown) }))
      return
    }
    running.set(id, child)
    child.started.then(
      () => feed({ type: 'started', id, run }),
      (error) => feed({ type: 'start-failed', id, run, error: toError(error) }),
    )
    void child.ended.then((reason) => {
      if (running.get(id) === child) running.delete(id)
      feed({ type: 'ended', id, run, reason })
    })
  }

  function stop(id: string, run: number): void {
    const child = running.get(id)
    if (child === undefined) {
      queueMicrotask(() => feed({ type: 'stopped', id, run }))
      return
    }
    child.stop()
    void child.ended.then(() => feed({ type: 'stopped', id, run }))
  }

  cell.supervising = {
    order: () => machine.children().map((child) => child.id),
    nodes: () => machine.children().map((child) => nodeOf(path, child, cell.children.get(child.id))),
  }
  const ready = new Promise<void>((resolve, reject) => {
    started = { resolve, reject }
  })
  // Asked to stop before all children ran: the start ends here, and the kernel stops those that do.
  context.signal.addEventListener('abort', () => {
    feed({ type: 'close' })
    started?.resolve()
    started = undefined
  })
  feed({ type: 'begin' })

  return {
    ready,
    actor: {
      receive(message) {
        const wrong = message.type === 'start-child' ? wrongSpec(path, message.spec) : undefined
        if (wrong !== undefined) return wrong
        const request = nextRequest++
        const answer = new Promise<void>((resolve, reject) => requests.set(request, { resolve, reject }))
        answer.catch(() => {})
        feed({ type: 'command', request, message })
        return later(answer)
      },
    },
  }
}

function nodeOf(parent: string, view: ChildView, child: Child | undefined): TreeNode {
  const lastError = view.lastError === undefined ? {} : { lastError: view.lastError }
  if (child !== undefined) return { ...child.node(), restarts: view.restarts, ...lastError }
  return {
    path: childPath(parent, view.id),
    id: view.id,
    kind: 'actor',
    state: view.state === 'ended' ? 'ended' : 'waiting',
    thread: threadIn(view.spec) ?? 'main',
    mailbox: 0,
    restarts: view.restarts,
    upMs: 0,
    ...lastError,
    children: [],
  }
}

function reportOf(path: string, action: Extract<Action, { type: 'report' }>): object {
  return {
    report: 'supervisor',
    supervisor: path,
    context: action.context,
    reason: action.reason,
    child: {
      id: action.spec.id,
      restart: action.spec.restart ?? 'permanent',
      shutdownMs: action.spec.shutdownMs ?? DEFAULT_SHUTDOWN_MS,
      behavior: action.spec.behavior.export,
      restarts: action.restarts,
    },
  }
}

/** A mistake in a command is the caller's: it is the answer, and the supervisor lives. */
function wrongSpec(path: string, spec: ChildSpec): Error | undefined {
  try {
    checkSpec(path, spec)
    return undefined
  } catch (thrown) {
    return toError(thrown)
  }
}

function checkArgs(path: string, args: SupervisorArgs): void {
  const ids = new Set<string>()
  for (const spec of args.children) {
    checkSpec(path, spec)
    if (ids.has(spec.id))
      throw new TroupeError({
        code: 'bad-child-spec',
        message: `two children are named '${spec.id}'`,
        place: path,
        remedy: 'give each child of a supervisor an id of its own',
        permanent: true,
      })
    ids.add(spec.id)
  }
  if (args.startup === 'together' && args.strategy !== 'one-for-one')
    throw new TroupeError({
      code: 'bad-child-spec',
      message: `children whose ends concern each other (${args.strategy}) do not start together`,
      place: path,
      remedy: 'let them start in order, or use one-for-one',
      permanent: true,
    })
}
