/**
 * The kernel of one thread: its actors by path, their turns, their questions, and the way to other threads.
 *
 * Every thread has one; the host's and a worker's differ only in `elsewhere`. Knows no threads, sockets or clocks.
 */

import { TroupeError } from '../world/error.js'
import type { Logger } from '../world/logger.js'
import type { World } from '../world/world.js'
import type { ActorContext, ChildSpec, Down, Ref } from './actor.js'
import { Asked, Asks, type Foreign, type Outcome } from './asks.js'
import { Cell, type Child } from './cell.js'
import { checkSpec, nodeIn, threadIn } from './child.js'
import type { Counters } from './counters.js'
import type { Elsewhere } from './elsewhere.js'
import { actorGone, badMessage, isTroupeError } from './failure.js'
import { loadBehavior } from './loader.js'
import { loadGuest, type Registered } from './node/registered.js'
import { globalPath, localPath, nodeOf, resolvePath } from './path.js'
import { CellRef } from './ref.js'
import { Scheduler } from './scheduler.js'
import type { Planted } from './supervision.js'

/** Delivers `run` some time later, keeping the order of each (from, to). Simulation only; without it delivery is at once. */
export type Delay = (from: string, to: string, run: () => void) => void

export interface KernelInit {
  /** Name of the thread, or `main`. */
  readonly thread: string
  /** Unique among all threads that ever were: the name and a number. */
  readonly origin: string
  readonly world: World
  readonly log: Logger
  readonly counters: Counters
  readonly delay?: Delay
  /** Faults planted on purpose, to prove that the simulation finds them. */
  readonly planted?: readonly Planted[]
  /** Where this system is one of several. */
  readonly identity?: NodeIdentity
}

/** Who this node is to others, and what they may start here. */
export interface NodeIdentity {
  readonly node: string
  readonly registered: Registered
}

/** The host's thread. */
export const MAIN = 'main'

/** Refusals of what other nodes send are logged at most so often. */
const REFUSALS_LOGGED_MS = 1_000

export class Kernel {
  readonly thread: string
  readonly origin: string
  readonly world: World
  readonly log: Logger
  readonly counters: Counters
  readonly scheduler: Scheduler
  readonly cells = new Map<string, Cell>()
  readonly delay: Delay | undefined
  readonly planted: readonly Planted[]
  /** The name of this node; undefined where there are no others. */
  readonly node: string | undefined
  readonly registered: Registered
  halted = false
  elsewhere!: Elsewhere

  readonly #asks: Asks
  #tokens = 0
  #refusals = 0
  #refusalLogged = Number.NEGATIVE_INFINITY

  constructor(init: KernelInit) {
    this.thread = init.thread
    this.origin = init.origin
    this.world = init.world
    this.log = init.log
    this.counters = init.counters
    this.delay = init.delay
    this.planted = init.planted ?? []
    this.node = init.identity?.node
    this.registered = init.identity?.registered ?? new Map()
    this.scheduler = new Scheduler(init.world)
    this.#asks = new Asks(init.world)
  }

  // Messages -------------------------------------------------------------------------------------------------------

  ref<T>(owner: Cell | undefined, path: string): Ref<T> {
    return new CellRef(this, owner, localPath(this.node, resolvePath(owner?.path ?? '/', path))) as Ref<T>
  }

  ask(path: string, message: unknown, deadlineMs: number, send: (asked: Asked) => boolean): Promise<unknown> {
    const { id, answer } = this.#asks.open(path, deadlineMs, (late) => this.elsewhere.forget(this.origin, late))
    // A refusal answers the question itself, as a dead letter.
    send(new Asked(message, this.origin, id))
    return answer
  }

  sendElsewhere(to: string, message: unknown): boolean {
    return this.halted ? false : this.elsewhere.send(to, message)
  }

  sendDelayed(from: string, to: string, message: unknown): boolean {
    this.delay!(from, to, () => {
      if (!this.halted) this.deliver(to, message)
    })
    return true
  }

  /** To an actor of this thread, or a dead letter. */
  deliver(to: string, message: unknown): boolean {
    const cell = this.cells.get(to)
    return cell === undefined ? this.refuse(to, message) : cell.offer(message)
  }

  refuse(to: string, message: unknown): false {
    this.deadLetter(to, message)
    return false
  }

  deadLetter(to: string, message: unknown, error?: Error): void {
    if (this.halted) return
    this.counters.deadLetter()
    if (message instanceof Asked && message.id !== 0)
      this.answer(message, { ok: false, error: error ?? actorGone(to, 'no such actor runs') })
  }

  /** A message from another node did not pass the border: counted, answered, and logged now and then. */
  refuseForeign(to: string, message: Foreign, thrown: unknown): void {
    const error = isTroupeError(thrown) ? thrown : badMessage(to, message.node, thrown)
    this.deadLetter(to, message, error)
    this.refused(error.code, message.node, to)
  }

  /** Logs what was refused of other nodes: each would let them fill the log. */
  refused(code: string, node: string, to: string): void {
    this.#refusals++
    const now = this.world.monotonic()
    if (now - this.#refusalLogged < REFUSALS_LOGGED_MS) return
    this.log.warn(
      { report: 'border', code, node, to, refused: this.#refusals },
      'a message of another node was refused',
    )
    this.#refusalLogged = now
    this.#refusals = 0
  }

  answer(asked: Asked, outcome: Outcome): void {
    if (asked.origin === this.origin) this.#asks.settle(asked.id, outcome)
    else if (!this.halted) this.elsewhere.answer(asked.origin, asked.id, outcome)
  }

  settle(id: number, outcome: Outcome): void {
    this.#asks.settle(id, outcome)
  }

  // Watching -------------------------------------------------------------------------------------------------------

  newToken(): string {
    return `${this.origin}/${++this.#tokens}`
  }

  watch(watcher: string, target: string, token: string): void {
    const cell = this.cells.get(target)
    if (cell !== undefined) cell.watchers.set(token, watcher)
    else this.elsewhere.watch(watcher, target, token)
  }

  unwatch(target: string, token: string): void {
    const cell = this.cells.get(target)
    if (cell !== undefined) cell.watchers.delete(token)
    else this.elsewhere.unwatch(target, token)
  }

  /** Tells a watcher, wherever it lives. */
  down(watcher: string, token: string, down: Down): void {
    if (this.planted.includes('a-watcher-not-told') && this.world.random() < 0.05) return
    if (!this.downHere(watcher, token, down)) this.elsewhere.down(watcher, token, down)
  }

  /** False when no such watcher runs here. */
  downHere(watcher: string, token: string, down: Down): boolean {
    const cell = this.cells.get(watcher)
    cell?.system({ type: 'down', down, token })
    return cell !== undefined
  }

  // Actors ---------------------------------------------------------------------------------------------------------

  startChild(parent: string, spec: ChildSpec, taken: boolean): Child {
    const path = checkSpec(parent, spec)
    if (taken) throw childExists(path)
    const node = nodeIn(spec)
    if (node !== undefined && node !== this.node) return this.elsewhere.startChild(path, spec, MAIN)
    const thread = threadIn(spec) ?? this.thread
    return thread === this.thread ? this.startHere(path, spec) : this.elsewhere.startChild(path, spec, thread)
  }

  /** @throws TroupeError `child-exists` */
  startHere(path: string, spec: ChildSpec): Cell {
    if (this.cells.has(path)) throw childExists(path)
    const cell = new Cell(this, path, spec)
    if (this.halted) {
      cell.halt()
      return cell
    }
    this.cells.set(path, cell)
    // Among another node's names only what is registered may run: the spec may have come over the network.
    const guest = nodeOf(path) !== undefined
    cell.begin(() => (guest ? loadGuest(this.registered, path, spec.behavior) : loadBehavior(spec.behavior)), spec.args)
    return cell
  }

  /** A cell has ended. */
  removed(cell: Cell): void {
    if (this.cells.get(cell.path) === cell) this.cells.delete(cell.path)
  }

  contextOf(cell: Cell): ActorContext<unknown> {
    return {
      path: cell.path,
      address: globalPath(this.node, cell.path),
      self: this.ref(cell, '.'),
      world: this.world,
      log: this.log,
      get signal() {
        return cell.signal
      },
      ref: (path) => this.ref(cell, path),
      spawn: (spec) => this.#spawn(cell, spec),
      stopChild: async (id) => {
        const child = cell.children.get(id)
        if (child === undefined) return
        stopped.add(child)
        child.stop()
        await child.ended
      },
      watch: (ref) => cell.watch(ref.path),
      unwatch: (ref) => cell.unwatch(ref.path),
      startTimer: (key, ms, message) => cell.startTimer(key, ms, message),
      cancelTimer: (key) => cell.cancelTimer(key),
      exit: (reason) => cell.end(reason === undefined ? { kind: 'normal' } : { kind: 'error', error: reason }),
    }
  }

  async #spawn<T>(cell: Cell, spec: ChildSpec): Promise<Ref<T>> {
    const child = cell.startChild(spec)
    await child.started
    // Linked: what it was not asked for, its parent is told.
    void child.ended.then((reason) => {
      if (!stopped.has(child)) cell.system({ type: 'down', down: { path: child.path, reason }, token: null })
    })
    return this.ref(cell, child.path)
  }

  /** All actors of this thread vanish without a word: the thread has died. */
  halt(): void {
    this.halted = true
    for (const cell of this.cells.values()) cell.halt()
    this.cells.clear()
    this.#asks.drop()
  }
}

/** Children that their parent itself has asked to stop: it hears of their end by its own promise. */
const stopped = new WeakSet<Child>()

export function childExists(path: string): TroupeError {
  return new TroupeError({
    code: 'child-exists',
    message: 'an actor of this path runs already',
    place: path,
    remedy: 'stop it first, or give the child another id',
  })
}
