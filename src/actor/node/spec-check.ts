/**
 * The shape of child specs and of a supervisor's arguments that came from another node. Ids and bounds are checked where
 * every spec's are; arguments, by the behaviour that they are for.
 */
import type { Check, ChildSpec, MailboxSpec, Placement, Restart, Strategy, SupervisorArgs } from '../actor.js'
import { fields, text } from './to-node.js'
import { badFrame } from './value.js'

/** @throws TroupeError `bad-frame` */
export function checkChild(value: unknown): ChildSpec {
  const it = fields(value)
  const behavior = fields(it.behavior)
  return {
    id: text(it.id),
    behavior: { module: text(behavior.module), export: text(behavior.export) },
    args: it.args,
    ...optional('restart', it.restart, (restart) => oneOf<Restart>(restart, ['permanent', 'transient', 'temporary'])),
    ...optional('shutdownMs', it.shutdownMs, number),
    ...optional('mailbox', it.mailbox, mailbox),
    ...optional('placement', it.placement, placement),
  }
}

export const supervisorCheck: Check<SupervisorArgs> = {
  parse(value) {
    const it = fields(value)
    if (!Array.isArray(it.children)) throw badFrame('a list of children was expected')
    return {
      strategy: oneOf<Strategy>(it.strategy, ['one-for-one', 'one-for-all', 'rest-for-one']),
      children: it.children.map(checkChild),
      ...optional('startup', it.startup, (startup) => oneOf(startup, ['in-order', 'together'] as const)),
      ...optional('intensity', it.intensity, intensity),
      ...optional('backoff', it.backoff, (backoff) => {
        const given = fields(backoff)
        return {
          ...optional('initialMs', given.initialMs, number),
          ...optional('maxMs', given.maxMs, number),
          ...optional('jitter', given.jitter, number),
          ...optional('resetAfterMs', given.resetAfterMs, number),
        }
      }),
    }
  },
}

function optional<K extends string, T>(
  key: K,
  value: unknown,
  check: (value: unknown) => T,
): { readonly [P in K]?: T } {
  return value === undefined ? {} : ({ [key]: check(value) } as { readonly [P in K]?: T })
}

function intensity(value: unknown): { restarts: number; periodMs: number } {
  const it = fields(value)
  return { restarts: number(it.restarts), periodMs: number(it.periodMs) }
}

function placement(value: unknown): Placement {
  if (value === 'inline') return 'inline'
  const it = fields(value)
  const thread = optional('thread', it.thread, text)
  if (it.node !== undefined) return { node: text(it.node), ...thread }
  return { thread: text(it.thread) }
}

function mailbox(value: unknown): MailboxSpec {
  const it = fields(value)
  return {
    ...optional('capacity', it.capacity, number),
    ...optional('full', it.full, (full) => oneOf<'drop' | 'fail'>(full, ['drop', 'fail'])),
  }
}

function number(value: unknown): number {
  if (typeof value !== 'number') throw badFrame('a number was expected')
  return value
}

function oneOf<T extends string>(value: unknown, words: readonly T[]): T {
  const word = words.find((it) => it === value)
  if (word === undefined) throw badFrame(`one of ${words.join(', ')} was expected`)
  return word
}
