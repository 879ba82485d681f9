/** The actors of the kernel's simulation: workers that fail on demand, watchers, and supervisors that are observed. */

import {
  type ActorContext,
  defineActor,
  type ExitReason,
  type SupervisorArgs,
  type SupervisorMessage,
} from '../../src/actor/actor.js'
import { cellOf } from '../../src/actor/cell.js'
import { supervisor } from '../../src/actor/supervisor.js'
import { TroupeError } from '../../src/world/error.js'
import type { Logger } from '../../src/world/logger.js'
import { journal } from './journal.js'

export interface WorkerArgs {
  /** Starting and stopping take up to so long, ms. */
  readonly slowMs: number
}

export type WorkerMessage =
  | { readonly type: 'count'; readonly from: string; readonly n: number }
  | { readonly type: 'throw' | 'reject' | 'exit' | 'permanent' | 'hang' | 'fail-next-start' }
  | { readonly type: 'echo'; readonly n: number }

/** Paths whose next start fails. */
const failing = new Set<string>()

export function resetFaults(): void {
  failing.clear()
}

export function failNextStart(path: string): void {
  failing.add(path)
}

function observe(context: ActorContext<never>, isSupervisor: boolean): void {
  const { path, signal } = context
  journal().write({ type: 'starting', path, thread: cellOf(context).kernel.thread, supervisor: isSupervisor })
  const kernel = cellOf(context).kernel
  signal.addEventListener('abort', () => {
    if (!kernel.halted && journal().stateOf(path) !== 'ended') journal().write({ type: 'stopping', path })
  })
}

function wait(context: ActorContext<never>, maxMs: number): Promise<void> {
  return new Promise((resolve) => {
    context.world.setTimer(context.world.random() * maxMs, resolve)
  })
}

function nameOf(reason: ExitReason): string {
  if (reason.kind !== 'error') return reason.kind
  return reason.error instanceof TroupeError ? reason.error.code : reason.error.message
}

export const worker = defineActor<WorkerArgs, WorkerMessage>(
  { module: import.meta.url, export: 'worker' },
  async (context, args) => {
    const { path } = context
    const kernel = cellOf(context).kernel
    observe(context as ActorContext<never>, false)
    const ended = (reason: string): void => {
      if (!kernel.halted) journal().write({ type: 'ended', path, reason })
    }
    await wait(context as ActorContext<never>, args.slowMs)
    if (failing.delete(path)) {
      ended('cannot start')
      throw new Error('cannot start')
    }
    if (!kernel.halted && !context.signal.aborted) journal().write({ type: 'running', path })
    return {
      receive(message) {
        if (kernel.halted) return undefined
        switch (message.type) {
          case 'count':
            journal().write({ type: 'received', path, from: message.from, n: message.n })
            return message.n % 3 === 0 ? wait(context as ActorContext<never>, 2) : undefined
          case 'echo':
            return message.n
          case 'throw':
            throw new Error('thrown')
          case 'reject':
            return wait(context as ActorContext<never>, 2).then(() => Promise.reject(new Error('rejected')))
          case 'permanent':
            throw new TroupeError({ code: 'no-remedy', message: 'no restart can help', permanent: true })
          case 'exit':
            context.exit()
            return undefined
          case 'hang':
            return new Promise(() => {})
          case 'fail-next-start':
            failNextStart(path)
            throw new Error('thrown')
        }
      },
      async stop(reason) {
        // Nobody waits for the killed, and its successor may be quick.
        if (reason.kind === 'killed') return ended('killed')
        await wait(context as ActorContext<never>, args.slowMs)
        ended(nameOf(reason))
      },
    }
  },
)

export type WatcherMessage = { readonly watch: string }

export const watcher = defineActor<null, WatcherMessage>({ module: import.meta.url, export: 'watcher' }, (context) => {
  const { path } = context
  const kernel = cellOf(context).kernel
  const watching = new Set<string>()
  let n = 0
  observe(context as ActorContext<never>, false)
  journal().write({ type: 'running', path })
  return {
    receive(message) {
      if (kernel.halted || watching.has(message.watch)) return
      watching.add(message.watch)
      journal().write({ type: 'watch', watcher: path, target: message.watch, n: n++ })
      context.watch(context.ref(message.watch))
    },
    down(down) {
      watching.delete(down.path)
      journal().write({ type: 'down', watcher: path, target: down.path, reason: nameOf(down.reason) })
    },
    stop(reason) {
      journal().write({ type: 'ended', path, reason: nameOf(reason) })
    },
  }
})

/** A supervisor's reports are part of what it promises. */
function reportsTo(supervisor: string): Logger {
  const ignore = (): void => {}
  const hear = (fields: object): void => {
    const { context, reason, child } = fields as {
      context: string
      reason: string
      child: { id: string; restart: string }
    }
    journal().write({ type: 'failure', supervisor, child: child.id, restart: child.restart, context, reason })
  }
  return { debug: ignore, info: ignore, warn: ignore, error: hear }
}

/** The supervisor itself, with its beginning and its end written down. */
export const observed = defineActor<SupervisorArgs, SupervisorMessage>(
  { module: import.meta.url, export: 'observed' },
  async (context, args) => {
    const { path } = context
    const kernel = cellOf(context).kernel
    observe(context as ActorContext<never>, true)
    const heard: typeof context = Object.create(context, { log: { value: reportsTo(path) } })
    const actor = await Promise.resolve(supervisor.start(heard, args)).catch((error) => {
      if (!kernel.halted) journal().write({ type: 'ended', path, reason: 'cannot start' })
      throw error
    })
    if (!kernel.halted && !context.signal.aborted) journal().write({ type: 'running', path })
    return {
      receive: (message) => actor.receive(message),
      stop(reason) {
        journal().write({ type: 'ended', path, reason: nameOf(reason) })
      },
    }
  },
)
