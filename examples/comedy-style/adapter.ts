/**
 * Runs a definition in the style of `comedy` on Troupe's kernel: an object (or class) with `initialize`, `destroy` and
 * one method a topic.
 *
 * What comedy calls `mode: 'threaded'` is a placement here, and `send` and `sendAndReceive` are `tell` and `ask`. What the kernel adds by
 * itself: a bounded mailbox, one message at a time, a deadline on each question, and a supervisor that restarts the
 * actor when a method throws, on a thread as well.
 */
import type { Actor, ActorContext, ChildSpec, Placement, Ref } from '../../src/actor/actor.js'
import { type Behavior, defineActor } from '../../src/actor/actor.js'

/** What a definition's methods see of its actor. */
export interface ComedyActor {
  getName(): string
  getLog(): ActorContext['log']
  /** Another actor by path. */
  find(path: string): ComedyRef
}

/** One method a topic; each gets the message, and its (awaited) return value is the answer. */
export interface ComedyDefinition {
  initialize?(self: ComedyActor, parameters: unknown): void | Promise<void>
  destroy?(self: ComedyActor): void | Promise<void>
  [topic: string]: unknown
}

/** A message as the adapter sends it. */
export interface Topic {
  readonly topic: string
  readonly message: unknown
}

/** A behaviour from a definition. Each actor gets a definition of its own from `create`, so that state is not shared. */
export function comedyActor(
  ref: { readonly module: string; readonly export: string },
  create: () => ComedyDefinition,
): Behavior<unknown, Topic> {
  return defineActor<unknown, Topic>(ref, async (context, parameters): Promise<Actor<Topic>> => {
    const definition = create()
    const self: ComedyActor = {
      getName: () => context.path.slice(context.path.lastIndexOf('/') + 1),
      getLog: () => context.log,
      find: (path) => comedyRef(context.ref(path)),
    }
    await definition.initialize?.(self, parameters)
    return {
      receive({ topic, message }) {
        const method = definition[topic]
        if (typeof method !== 'function' || topic === 'initialize' || topic === 'destroy')
          return new Error(`${context.path} has no topic '${topic}'`)
        return method.call(definition, message)
      },
      stop: () => definition.destroy?.(self),
    }
  })
}

export interface ComedyRef {
  send(topic: string, message: unknown): boolean
  sendAndReceive<R>(topic: string, message: unknown, deadlineMs?: number): Promise<R>
}

/** comedy asks without a deadline; here there is always one. */
export const DEFAULT_DEADLINE_MS = 5_000

export function comedyRef(ref: Ref): ComedyRef {
  return {
    send: (topic, message) => ref.tell({ topic, message }),
    sendAndReceive: (topic, message, deadlineMs = DEFAULT_DEADLINE_MS) => ref.ask({ topic, message }, deadlineMs),
  }
}

/** comedy's options for a child, as a child spec. */
export function comedyChild(
  behavior: Behavior<unknown, Topic>,
  options: { readonly name: string; readonly mode?: 'in-memory' | 'threaded'; readonly parameters?: unknown },
): ChildSpec {
  const placement: Placement = options.mode === 'threaded' ? { thread: options.name } : 'inline'
  return { id: options.name, behavior: behavior.ref, args: options.parameters ?? null, placement }
}
