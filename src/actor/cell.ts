/**
 * One actor's life: starting → running → stopping → ended, one message at a time.
 *
 * Promises: `stop` is called once, after the children have ended and before the parent is told; an actor that does not
 * finish within its `shutdownMs` (counted from the end of its children) is abandoned as `killed`; whoever asked it and
 * was not answered is told that it is gone. Does not decide about restarts: that is the supervisor's.
 */
import { toError } from '../world/error.js'
import type { Timer } from '../world/world.js'
import type { Actor, ActorContext, Behavior, Check, ChildSpec, Down, ExitReason, TreeNode } from './actor.js'
import { Asked, Foreign, type Outcome } from './asks.js'
import { DEFAULT_SHUTDOWN_MS } from './child.js'
import { actorGone, describeReason, isFailure, mailboxFull, notReachable } from './failure.js'
import type { Kernel } from './kernel.js'
import { laterOf } from './later.js'
import { Mailbox, type SystemMessage } from './mailbox.js'
import { idOf } from './path.js'
import type { Runnable } from './scheduler.js'

/** A child as its parent holds it, here or on another thread. */
export interface Child {
  readonly path: string
  /** Resolves when it runs; rejects with why it did not start. */
  readonly started: Promise<void>
  /** Resolves when it has ended, also when it never ran. */
  readonly ended: Promise<ExitReason>
  /** Asks it to stop; `ended` tells when it has. */
  stop(): void
  kill(detail: string): void
  node(): TreeNode
}

/** What a supervisor tells the kernel about its children, which it restarts under the same ids. */
export interface Supervising {
  /** Ids in the order of start. */
  order(): readonly string[]
  /** The children as they are shown, those that wait for their restart included. */
  nodes(): readonly TreeNode[]
}

interface RunningTimer {
  readonly timer: Timer
  readonly message: unknown
}

const CELL = Symbol.for('troupe.cell')

/** The kernel's side of a context, for behaviours that belong to the kernel. */
export function cellOf(context: object): Cell {
  return (context as { [CELL]: Cell })[CELL]
}

export class Cell implements Child, Runnable {
  readonly path: string
  readonly kernel: Kernel
  readonly mailbox: Mailbox
  readonly children = new Map<string, Child>()
  readonly started: Promise<void>
  readonly ended: Promise<ExitReason>
  /** Who watches this actor: token → path. */
  readonly watchers = new Map<string, string>()
  state: 'starting' | 'running' | 'stopping' | 'ended' = 'starting'
  queued = false
  supervising: Supervising | undefined
  context!: ActorContext<unknown>

  readonly #shutdownMs: number
  readonly #abort = new AbortController()
  readonly #timers = new Map<string, RunningTimer>()
  readonly #privateTimers = new Map<string, Timer>()
  /** Whom this actor watches: path → token. */
  readonly #watching = new Map<string, string>()
  #actor: Actor<unknown> | undefined
  /** Checks what other nodes send; undefined: they may send nothing. */
  #border: Check<unknown> | undefined
  #hooked = false
  #ran = false
  #busy = true
  #asked: Asked | undefined
  #reason: ExitReason | undefined
  #since: number
  #onIdle: (() => void) | undefined
  #resolveStarted!: () => void
  #rejectStarted!: (error: Error) => void
  #resolveEnded!: (reason: ExitReason) => void

  constructor(kernel: Kernel, path: string, spec: ChildSpec) {
    this.kernel = kernel
    this.path = path
    this.mailbox = new Mailbox(spec.mailbox)
    this.#shutdownMs = spec.shutdownMs ?? DEFAULT_SHUTDOWN_MS
    this.#since = kernel.world.monotonic()
    this.started = new Promise((resolve, reject) => {
      this.#resolveStarted = resolve
      this.#rejectStarted = reject
    })
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve
    })
    // Whoever cares listens; a failed start that nobody waits for must not end the process.
    this.started.catch(() => {})
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  get alive(): boolean {
    return this.state === 'starting' || this.state === 'running'
  }

  get runnable(): boolean {
    return !this.#busy && this.state === 'running' && this.mailbox.size > 0
  }

  /** Starts the behaviour. Call once. */
  begin(load: () => Promise<Behavior>, args: unknown): void {
    this.context = Object.assign(this.kernel.contextOf(this), { [CELL]: this })
    const launch = async (): Promise<Actor<unknown>> => {
      const behavior = (await load()) as Behavior<unknown, unknown>
      if (this.state !== 'starting') throw actorGone(this.path, 'stopped before it had started')
      this.#border = behavior.remote?.messages
      return behavior.start(this.context, args)
    }
    launch().then(
      (actor) => this.#launched(actor),
      (thrown) => this.#failedToStart(toError(thrown)),
    )
  }

  #launched(actor: Actor<unknown>): void {
    this.#actor = actor
    if (this.state === 'ended') {
      // Abandoned while it started: let it close what it has opened.
      if (!this.kernel.halted) void this.#hook({ kind: 'killed', detail: 'abandoned while it started' })
      return
    }
    if (this.state === 'starting') {
      this.state = 'running'
      this.#ran = true
      this.#since = this.kernel.world.monotonic()
      this.#resolveStarted()
    }
    this.#idle()
  }

  #failedToStart(error: Error): void {
    if (this.state === 'starting') this.end({ kind: 'error', error })
    this.#idle()
  }

  /** A message from another actor. False when it was refused; it is then counted, and an asker is told. */
  offer(message: unknown): boolean {
    if (this.state === 'running' || this.state === 'starting') {
      if (this.mailbox.offer(message)) {
        if (!this.queued && !this.#busy) this.kernel.scheduler.schedule(this)
        return true
      }
      return this.#overflow(message)
    }
    this.kernel.deadLetter(this.path, message)
    return false
  }

  #overflow(message: unknown): false {
    const error = mailboxFull(this.path, this.mailbox.capacity)
    this.kernel.deadLetter(this.path, message, error)
    if (this.mailbox.full === 'fail') this.end({ kind: 'error', error })
    return false
  }

  system(message: SystemMessage): void {
    if (!this.alive) return
    this.mailbox.system.push(message)
    if (!this.#busy) this.kernel.scheduler.schedule(this)
  }

  run(limit: number): number {
    let handled = 0
    while (handled < limit && this.state === 'running' && !this.#busy) {
      if (this.mailbox.system.size > 0) this.#handleSystem(this.mailbox.system.shift()!)
      else if (this.mailbox.user.size > 0) this.#handleUser(this.mailbox.user.shift())
      else break
      handled++
    }
    return handled
  }

  #handleUser(item: unknown): void {
    this.kernel.counters.message()
    if (item instanceof Asked) {
      if (item instanceof Foreign) {
        this.#handleForeign(item)
        return
      }
      this.#asked = item
      this.#receive(item.message)
    } else this.#receive(item)
  }

  /** Checked in the actor's own turn, so that a flood of bad messages costs its sender's target and nobody else. */
  #handleForeign(item: Foreign): void {
    let message: unknown
    try {
      if (this.#border === undefined) throw notReachable(this.path)
      message = this.#border.parse(item.message)
    } catch (thrown) {
      this.kernel.refuseForeign(this.path, item, thrown)
      return
    }
    if (item.id !== 0) this.#asked = item
    this.#receive(message)
  }

  #handleSystem(item: SystemMessage): void {
    if (item.type === 'down') {
      this.#handleDown(item.down, item.token)
      return
    }
    const timer = this.#timers.get(item.key)
    // Cancelled or set again after it had fired.
    if (timer === undefined || timer.message !== item) return
    this.#timers.delete(item.key)
    this.#receive(item.message)
  }

  #handleDown(down: Down, token: string | null): void {
    if (token !== null) {
      if (this.#watching.get(down.path) !== token) return
      this.#watching.delete(down.path)
    }
    const actor = this.#actor!
    if (actor.down === undefined) return
    try {
      const result = actor.down(down)
      if (result !== undefined) this.#await(result)
    } catch (thrown) {
      this.#threw(thrown)
    }
  }

  #receive(message: unknown): void {
    let result: unknown
    try {
      result = this.#actor!.receive(message)
    } catch (thrown) {
      this.#threw(thrown)
      return
    }
    if (result === undefined && this.#asked === undefined) return
    if (typeof (result as PromiseLike<unknown> | undefined)?.then === 'function')
      this.#await(result as PromiseLike<unknown>)
    else if (this.#asked !== undefined) this.#answerWith(result)
  }

  #await(promise: PromiseLike<unknown>): void {
    this.#busy = true
    promise.then(this.#settled, this.#rejected)
  }

  readonly #settled = (value: unknown): void => {
    if (this.state === 'ended') return
    if (this.#asked !== undefined) this.#answerWith(value)
    this.#idle()
  }

  readonly #rejected = (thrown: unknown): void => {
    if (this.state === 'ended') return
    this.#threw(thrown)
    this.#idle()
  }

  #idle(): void {
    this.#busy = false
    if (this.state === 'running') {
      if (this.mailbox.size > 0) this.kernel.scheduler.schedule(this)
    } else this.#onIdle?.()
  }

  /** The answer of `receive`: an Error refuses the question and the actor lives on. */
  #answerWith(value: unknown): void {
    const asked = this.#asked!
    this.#asked = undefined
    const promise = laterOf(value)
    if (promise === undefined) {
      this.kernel.answer(asked, outcomeOf(value))
      return
    }
    promise.then(
      (result) => this.kernel.answer(asked, outcomeOf(result)),
      (thrown) => this.kernel.answer(asked, { ok: false, error: toError(thrown) }),
    )
  }

  #threw(thrown: unknown): void {
    const error = toError(thrown)
    const asked = this.#asked
    this.#asked = undefined
    if (asked !== undefined) this.kernel.answer(asked, { ok: false, error })
    this.end({ kind: 'error', error })
  }

  // Timers ---------------------------------------------------------------------------------------------------------

  startTimer(key: string, ms: number, message: unknown): void {
    this.cancelTimer(key)
    if (!this.alive) return
    const entry: SystemMessage = { type: 'timer', key, message }
    const timer = this.kernel.world.setTimer(ms, () => this.system(entry))
    this.#timers.set(key, { timer, message: entry })
  }

  cancelTimer(key: string): void {
    this.#timers.get(key)?.timer.cancel()
    this.#timers.delete(key)
  }

  /** A timer that calls instead of sending; dies with the actor like the others. */
  setTimer(key: string, ms: number, run: () => void): void {
    this.clearTimer(key)
    if (!this.alive) return
    this.#privateTimers.set(key, this.kernel.world.setTimer(ms, run))
  }

  clearTimer(key: string): void {
    this.#privateTimers.get(key)?.cancel()
    this.#privateTimers.delete(key)
  }

  #cancelTimers(): void {
    for (const { timer } of this.#timers.values()) timer.cancel()
    for (const timer of this.#privateTimers.values()) timer.cancel()
    this.#timers.clear()
    this.#privateTimers.clear()
  }

  // Watching -------------------------------------------------------------------------------------------------------

  watch(target: string): void {
    if (!this.alive || this.#watching.has(target)) return
    const token = this.kernel.newToken()
    this.#watching.set(target, token)
    this.kernel.watch(this.path, target, token)
  }

  unwatch(target: string): void {
    const token = this.#watching.get(target)
    if (token === undefined) return
    this.#watching.delete(target)
    this.kernel.unwatch(target, token)
  }

  // Children -------------------------------------------------------------------------------------------------------

  /** Starts a child; the caller follows `started` and `ended`. @throws TroupeError when the spec is wrong or this actor ends */
  startChild(spec: ChildSpec): Child {
    if (!this.alive) throw actorGone(this.path, 'is stopping and starts no more children')
    const child = this.kernel.startChild(this.path, spec, this.children.has(spec.id))
    this.children.set(spec.id, child)
    void child.ended.then(() => {
      if (this.children.get(spec.id) === child) this.children.delete(spec.id)
    })
    return child
  }

  // The end --------------------------------------------------------------------------------------------------------

  stop(): void {
    this.end({ kind: 'shutdown' })
  }

  /** Ends this actor; the first reason counts. */
  end(reason: ExitReason): void {
    if (!this.alive) return
    this.#enter(reason)
    void this.#finish(reason)
  }

  #enter(reason: ExitReason): void {
    this.state = 'stopping'
    this.#reason = reason
    this.#abort.abort()
    this.#cancelTimers()
    this.#discard()
  }

  async #finish(reason: ExitReason): Promise<void> {
    for (const child of this.#reverse()) {
      child.stop()
      await child.ended
    }
    if (this.#over) return
    const deadline = this.kernel.world.setTimer(this.#shutdownMs, () =>
      this.kill(`did not stop within its ${this.#shutdownMs} ms`),
    )
    if (this.#busy)
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve
      })
    if (!this.#over) await this.#hook(reason)
    deadline.cancel()
    if (!this.#over) this.#close(reason)
  }

  /** Killed meanwhile. */
  get #over(): boolean {
    return this.state === 'ended'
  }

  #reverse(): readonly Child[] {
    const order = this.supervising?.order() ?? [...this.children.keys()]
    return order
      .map((id) => this.children.get(id))
      .filter((child) => child !== undefined)
      .reverse()
  }

  async #hook(reason: ExitReason): Promise<void> {
    if (this.#hooked || this.#actor?.stop === undefined) return
    this.#hooked = true
    try {
      await this.#actor.stop(reason)
    } catch (thrown) {
      this.kernel.log.error({ report: 'stop', path: this.path, reason: toError(thrown).message }, 'stop failed')
    }
  }

  /** Abandons this actor and all below it, now. A failure that was under way stays the reason. */
  kill(detail: string): void {
    if (this.state === 'ended') return
    const reason: ExitReason = this.#reason?.kind === 'error' ? this.#reason : { kind: 'killed', detail }
    for (const child of this.#reverse()) child.kill(detail)
    if (this.alive) this.#enter(reason)
    void this.#hook({ kind: 'killed', detail })
    this.#close(reason)
  }

  #close(reason: ExitReason): void {
    this.state = 'ended'
    const asked = this.#asked
    this.#asked = undefined
    if (asked !== undefined) this.kernel.answer(asked, this.#gone(reason))
    this.kernel.removed(this)
    for (const [target, token] of this.#watching) this.kernel.unwatch(target, token)
    this.#watching.clear()
    if (isFailure(reason))
      this.kernel.log.warn({ report: 'crash', path: this.path, reason: describeReason(reason) }, 'an actor has ended')
    for (const [token, watcher] of this.watchers) this.kernel.down(watcher, token, { path: this.path, reason })
    this.watchers.clear()
    // A start has failed only once everything that it had started is gone again.
    if (!this.#ran)
      this.#rejectStarted(reason.kind === 'error' ? reason.error : actorGone(this.path, 'stopped while it started'))
    this.#resolveEnded(reason)
  }

  #gone(reason: ExitReason): Outcome {
    return { ok: false, error: actorGone(this.path, `has ended (${describeReason(reason)})`) }
  }

  #discard(): void {
    const { user } = this.mailbox
    while (user.size > 0) this.kernel.deadLetter(this.path, user.shift())
  }

  /** The thread is gone, as a crash takes it: nothing is told to anyone. */
  halt(): void {
    this.state = 'ended'
    this.#abort.abort()
    this.#cancelTimers()
  }

  // The tree -------------------------------------------------------------------------------------------------------

  node(): TreeNode {
    const detail = this.#inspect()
    return {
      path: this.path,
      id: idOf(this.path),
      kind: this.supervising === undefined ? 'actor' : 'supervisor',
      state: this.state,
      thread: this.kernel.thread,
      mailbox: this.mailbox.size,
      restarts: 0,
      upMs: Math.max(0, Math.round(this.kernel.world.monotonic() - this.#since)),
      ...(detail === undefined ? {} : { detail }),
      children: this.supervising?.nodes() ?? [...this.children.values()].map((child) => child.node()),
    }
  }

  #inspect(): Readonly<Record<string, unknown>> | undefined {
    try {
      return this.#actor?.inspect?.()
    } catch (thrown) {
      return { inspect: `failed: ${toError(thrown).message}` }
    }
  }
}

function outcomeOf(value: unknown): Outcome {
  return value instanceof Error ? { ok: false, error: value } : { ok: true, value }
}
