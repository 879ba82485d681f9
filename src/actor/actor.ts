/**
 * The actor kernel's port: what an actor is, what a child spec is, what a `Down` says.
 *
 * The words and rules are OTP's. An actor handles one message at a time: `receive` may return a promise, and the next
 * message waits for it. A throw or a rejection ends the actor with that reason, and its supervisor decides.
 *
 * Placement is configuration: behaviours are named by module and export, and their arguments can be cloned, so the same
 * child spec starts an actor here or on a worker thread. Addresses are paths (`/shop/owners/key-3/consumer`); a `Ref` is
 * made from a path and reaches the actor wherever it lives; `//b/shop/owners` is a path on node b (node/link.ts). Order is
 * kept between two actors; delivery is at most once; a message to nobody is a counted dead letter.
 */
import type { Logger } from '../world/logger.js'
import type { World } from '../world/world.js'
import type { NodeOptions } from './node/link.js'

/** Why an actor ended. `normal` and `shutdown` are no failures. */
export type ExitReason =
  | { readonly kind: 'normal' }
  | { readonly kind: 'shutdown' }
  | { readonly kind: 'killed'; readonly detail: string }
  | { readonly kind: 'error'; readonly error: Error }
  /** The thread (or node) that held it is gone: exit code, out of memory, uncaught throw. */
  | { readonly kind: 'lost'; readonly detail: string }

/** Sent to a watcher, exactly once, when what it watches has ended (or never existed: `lost`). */
export interface Down {
  readonly path: string
  readonly reason: ExitReason
}

/** The address of an actor. Holding one keeps nothing alive. */
export interface Ref<M = unknown> {
  readonly path: string
  /** Fire and forget. False when the mailbox (or the link to its thread) refused it at once; true promises nothing. */
  tell(message: M): boolean
  /**
   * Tells and waits for the reply.
   * @param deadlineMs upper bound of the wait, in milliseconds; required, there is no ask without one
   * @throws AskTimeout, ActorGone (the target ended or its thread died), or the error that the target replied with
   */
  ask<R = unknown>(message: M, deadlineMs: number): Promise<R>
}

/** A running actor, as its behaviour's `start` returns it. */
export interface Actor<M = never> {
  /** One message. For an `ask`, `reply` answers it: the returned value (awaited) is the reply. */
  receive(message: M): unknown
  /** A watched actor has ended. Without this method a `Down` is ignored. */
  down?(down: Down): void | Promise<void>
  /** Called once at the end, whatever the reason, before the parent is told; bounded by the child's shutdown deadline. Close what `start` opened. */
  stop?(reason: ExitReason): void | Promise<void>
  /** What `tree` and `status` show of it; must be cloneable and cheap. */
  inspect?(): Readonly<Record<string, unknown>>
}

/** What an actor sees of the kernel. Valid until it has ended. */
export interface ActorContext<M = never> {
  readonly path: string
  /** The path that reaches it from other nodes too: `//a/shop`. The same as `path` where there are no nodes. */
  readonly address: string
  readonly self: Ref<M>
  readonly world: World
  readonly log: Logger
  /** Aborted when the actor is asked to stop or ends; pass it to what can be cancelled. */
  readonly signal: AbortSignal
  /** A ref to a path; relative paths (`../log`) start at this actor. Never fails: an unknown path gives dead letters. */
  ref<T = unknown>(path: string): Ref<T>
  /** Starts a child under this actor. It is linked: it ends before this actor does. Its failure is told to `down`. */
  spawn<T = unknown>(spec: ChildSpec): Promise<Ref<T>>
  /** Asks a child to stop and waits for it (bounded by its shutdown deadline). */
  stopChild(id: string): Promise<void>
  watch(ref: Ref): void
  unwatch(ref: Ref): void
  /** A message to self after `ms` milliseconds. A timer of the same key replaces the earlier one; all die with the actor. */
  startTimer(key: string, ms: number, message: M): void
  cancelTimer(key: string): void
  /** Ends this actor: normally, or with an error as if it had been thrown. The way for I/O callbacks to fail their actor. */
  exit(reason?: Error): void
}

/** Names a behaviour so that another thread can load it: the module's URL and the export's name. */
export interface BehaviorRef {
  readonly module: string
  readonly export: string
}

/** Turns what came from outside into what an actor understands, or throws. A zod schema is one. */
export interface Check<T> {
  parse(value: unknown): T
}

/** What a behaviour lets other nodes do. What it does not name is refused at the border. */
export interface RemoteChecks<Args, M> {
  /** Checks each message from another node. Without it the actor takes none. */
  readonly messages?: Check<M>
  /** Checks the arguments with which another node starts it. Without it no node can. */
  readonly args?: Check<Args>
}

/** A behaviour: how to start an actor from cloneable arguments. Made with `defineActor`. */
export interface Behavior<Args = unknown, M = never> {
  readonly ref: BehaviorRef
  start(context: ActorContext<M>, args: Args): Actor<M> | Promise<Actor<M>>
  readonly remote?: RemoteChecks<Args, M>
}

/**
 * Declares a behaviour. It must be exported from its own module under `export`:
 *
 *     export const counter = defineActor<{ from: number }, 'add'>({ module: import.meta.url, export: 'counter' }, (context, args) => …)
 *
 * `remote` says what other nodes may send to it and start it with; without it only its own node can.
 */
export function defineActor<Args, M>(
  ref: BehaviorRef,
  start: Behavior<Args, M>['start'],
  remote?: RemoteChecks<Args, M>,
): Behavior<Args, M> {
  return remote === undefined ? { ref, start } : { ref, start, remote }
}

export type Restart = 'permanent' | 'transient' | 'temporary'

/**
 * Where an actor runs: `inline` on the thread of its parent, on the named worker thread, which is started when needed,
 * or on another node (its main thread, or the named one). That node must have registered the behaviour.
 */
export type Placement = 'inline' | { readonly thread: string } | { readonly node: string; readonly thread?: string }

export interface MailboxSpec {
  /** Most user messages that wait; default 1,024. System messages (stop, down, timers) have a lane of their own and go first. */
  readonly capacity?: number
  /** What happens to a user message that finds the mailbox full: `drop` it as a dead letter (default), or `fail` the actor. */
  readonly full?: 'drop' | 'fail'
}

/** One child of a supervisor. Everything in it can be cloned. */
export interface ChildSpec<Args = unknown> {
  /** Unique among its siblings, `[A-Za-z0-9_.-]{1,128}`; the last part of its path. */
  readonly id: string
  readonly behavior: BehaviorRef
  readonly args: Args
  /** `permanent` (default): always restarted; `transient`: after a failure only; `temporary`: never. */
  readonly restart?: Restart
  /** Milliseconds that `stop` may take before the actor is killed; default 5,000. */
  readonly shutdownMs?: number
  readonly placement?: Placement
  readonly mailbox?: MailboxSpec
}

export type Strategy = 'one-for-one' | 'one-for-all' | 'rest-for-one'

export interface Backoff {
  /** First delay, ms; default 100. */
  readonly initialMs?: number
  /** Largest delay, ms; default 10,000. */
  readonly maxMs?: number
  /** Share of the delay that is random, 0 to 1; default 0.2. */
  readonly jitter?: number
  /** A child that has run this long, ms, starts again at the first delay; default 60,000. */
  readonly resetAfterMs?: number
}

/** The arguments of the `supervisor` behaviour. */
export interface SupervisorArgs {
  readonly strategy: Strategy
  /** More than `restarts` restarts within `periodMs` end the supervisor with `restart-intensity`, and its parent decides. Default 5 in 30,000 ms. */
  readonly intensity?: { readonly restarts: number; readonly periodMs: number }
  readonly backoff?: Backoff
  /** Started in this order, stopped in reverse. */
  readonly children: readonly ChildSpec[]
  /**
   * `together`: the first time none waits until those before it run, for they need nothing of each other; only with
   * `one-for-one`. Default `in-order`.
   */
  readonly startup?: 'in-order' | 'together'
}

/** A supervisor as a child: `childOf(supervisor, …)` with these arguments gives a tree. Dynamic children: tell or ask it these. */
export type SupervisorMessage =
  | { readonly type: 'start-child'; readonly spec: ChildSpec }
  | { readonly type: 'stop-child'; readonly id: string }
  | { readonly type: 'restart-child'; readonly id: string }

/** One actor of the live tree, as `troupe tree` prints it. */
export interface TreeNode {
  readonly path: string
  readonly id: string
  readonly kind: 'actor' | 'supervisor'
  readonly state: 'starting' | 'running' | 'stopping' | 'waiting' | 'ended'
  /** Name of the worker thread, or `main`; `//b/main` on node b. */
  readonly thread: string
  readonly mailbox: number
  readonly restarts: number
  readonly upMs: number
  readonly lastError?: string
  readonly detail?: Readonly<Record<string, unknown>>
  readonly children: readonly TreeNode[]
}

/** An actor system: one per process. Made with `createSystem`. */
export interface ActorSystem {
  readonly world: World
  /** Starts a top-level actor (normally the node's supervisor) and waits until it and its children run. */
  start<T = unknown>(spec: ChildSpec): Promise<Ref<T>>
  ref<T = unknown>(path: string): Ref<T>
  /** The live tree, across threads. Bounded: a thread that does not answer within `deadlineMs` is shown as `lost`. */
  tree(deadlineMs?: number): Promise<readonly TreeNode[]>
  readonly counters: { readonly deadLetters: number; readonly restarts: number; readonly messages: number }
  /** Resolves when a top-level actor ends for good, with its reason. */
  ended(path: string): Promise<ExitReason>
  /** Stops everything in reverse order, then the threads. Resolves within the sum of the shutdown deadlines. */
  stop(deadlineMs?: number): Promise<void>
  /** For chaos: ends a worker thread at once, as a crash would. False if there is none of that name. */
  killThread(name: string): boolean
  /** Names of the live worker threads. */
  threads(): readonly string[]
  /** Names of the nodes that this one talks with and that answer. */
  nodes(): readonly string[]
}

export interface SystemOptions {
  readonly world: World
  readonly log: Logger
  /** Old-generation heap of each worker thread, MiB; default 256. */
  readonly threadHeapMb?: number
  /** Connects this system with those of other nodes. Without it `//node/path` is nobody. */
  readonly node?: NodeOptions
}
