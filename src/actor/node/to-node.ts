/**
 * The protocol between nodes; it is the same in both directions. Paths in it name their node (`//a/shop`).
 *
 * What arrives is checked here before the kernel sees it; what an actor is sent, by its own check in its own turn.
 */
import type { ChildSpec, TreeNode } from '../actor.js'
import type { WireError, WireReason } from '../failure.js'
import type { Question, WireOutcome } from '../thread/to-thread.js'
import { badFrame } from './value.js'

export type ToNode =
  // May be lost -------------------------------------------------------------------------------------------------------
  | { readonly type: 'user'; readonly to: string; readonly message: unknown; readonly ask?: Question }
  /** `origin` and `id` are the asker's words. */
  | { readonly type: 'answer'; readonly origin: string; readonly id: number; readonly outcome: WireOutcome }
  /** The asker waits no longer. */
  | { readonly type: 'forget'; readonly origin: string; readonly id: number }
  | { readonly type: 'tree'; readonly request: number; readonly deadlineMs: number }
  /** The sender's guests of the receiver. */
  | { readonly type: 'guests'; readonly request: number; readonly roots: readonly TreeNode[] }
  // Arrives, or the session ends --------------------------------------------------------------------------------------
  | { readonly type: 'watch'; readonly watcher: string; readonly target: string; readonly token: string }
  | { readonly type: 'unwatch'; readonly target: string; readonly token: string }
  | { readonly type: 'down'; readonly token: string; readonly reason: WireReason }
  /** Start an actor for the sender. `run` is the sender's number for it. */
  | { readonly type: 'start'; readonly path: string; readonly run: number; readonly spec: ChildSpec }
  | { readonly type: 'stop'; readonly run: number }
  | { readonly type: 'kill'; readonly run: number; readonly detail: string }
  | { readonly type: 'started'; readonly run: number }
  | { readonly type: 'ended'; readonly run: number; readonly reason: WireReason }

type Of<T extends ToNode['type']> = Extract<ToNode, { readonly type: T }>
type Fields = Readonly<Record<string, unknown>>

/** @throws TroupeError `bad-frame` */
export function parseToNode(body: unknown): ToNode {
  const it = fields(body)
  const parse = parsers[it.type as ToNode['type']] as ((it: Fields) => ToNode) | undefined
  if (typeof it.type !== 'string' || !Object.hasOwn(parsers, it.type) || parse === undefined)
    throw badFrame(`'${String(it.type).slice(0, 40)}' is no kind of message`)
  return parse(it)
}

const parsers: { readonly [T in ToNode['type']]: (it: Fields) => Of<T> } = {
  user: (it) => ({
    type: 'user',
    to: path(it.to),
    message: it.message,
    ...(it.ask === undefined ? {} : { ask: question(it.ask) }),
  }),
  answer: (it) => ({ type: 'answer', ...question(it), outcome: outcome(it.outcome) }),
  forget: (it) => ({ type: 'forget', ...question(it) }),
  tree: (it) => ({ type: 'tree', request: count(it.request), deadlineMs: count(it.deadlineMs) }),
  guests: (it) => ({ type: 'guests', request: count(it.request), roots: nodes(it.roots) }),
  watch: (it) => ({ type: 'watch', watcher: path(it.watcher), target: path(it.target), token: text(it.token) }),
  unwatch: (it) => ({ type: 'unwatch', target: path(it.target), token: text(it.token) }),
  down: (it) => ({ type: 'down', token: text(it.token), reason: reason(it.reason) }),
  // The spec itself is checked where it is used, so that the sender gets its mistake as an answer.
  start: (it) => ({
    type: 'start',
    path: path(it.path),
    run: count(it.run),
    spec: fields(it.spec) as unknown as ChildSpec,
  }),
  stop: (it) => ({ type: 'stop', run: count(it.run) }),
  kill: (it) => ({ type: 'kill', run: count(it.run), detail: text(it.detail) }),
  started: (it) => ({ type: 'started', run: count(it.run) }),
  ended: (it) => ({ type: 'ended', run: count(it.run), reason: reason(it.reason) }),
}

export function fields(value: unknown): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw badFrame('an object was expected')
  return value as Fields
}

export function text(value: unknown): string {
  if (typeof value !== 'string') throw badFrame('text was expected')
  return value
}

function path(value: unknown): string {
  const it = text(value)
  if (!it.startsWith('//') || it.length > MAX_PATH) throw badFrame('a path of a node was expected')
  return it
}

const MAX_PATH = 8_192

function count(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw badFrame('a count was expected')
  return value
}

function question(value: unknown): Question {
  const it = fields(value)
  return { origin: text(it.origin), id: count(it.id) }
}

function outcome(value: unknown): WireOutcome {
  const it = fields(value)
  return it.ok === true ? { ok: true, value: it.value } : { ok: false, error: wireError(it.error) }
}

function wireError(value: unknown): WireError {
  const it = fields(value)
  const more = {
    stack: typeof it.stack === 'string' ? it.stack : undefined,
    ...(it.cause === undefined ? {} : { cause: wireError(it.cause) }),
  }
  if (it.kind !== 'troupe') return { kind: 'other', name: text(it.name), message: text(it.message), ...more }
  const init = fields(it.init)
  return {
    kind: 'troupe',
    init: {
      code: text(init.code),
      message: text(init.message),
      ...(init.place === undefined ? {} : { place: text(init.place) }),
      ...(init.remedy === undefined ? {} : { remedy: text(init.remedy) }),
      exitCode: init.exitCode === 2 ? 2 : 1,
      permanent: init.permanent === true,
    },
    ...more,
  }
}

function reason(value: unknown): WireReason {
  const it = fields(value)
  switch (it.kind) {
    case 'normal':
    case 'shutdown':
      return { kind: it.kind }
    case 'killed':
    case 'lost':
      return { kind: it.kind, detail: text(it.detail) }
    case 'error':
      return { kind: 'error', error: wireError(it.error) }
    default:
      throw badFrame('an end was expected')
  }
}

function nodes(value: unknown): readonly TreeNode[] {
  if (!Array.isArray(value)) throw badFrame('a list was expected')
  return value.map((node) => {
    const it = fields(node)
    return {
      ...(it as unknown as TreeNode),
      path: path(it.path),
      id: text(it.id),
      thread: text(it.thread),
      children: nodes(it.children),
    }
  })
}
