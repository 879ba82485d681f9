/**
 * The suite of the kernel: a random tree of supervisors over simulated threads, random faults, and OTP's rules.
 */
import type { ActorSystem, ChildSpec, Placement, Restart, Strategy, TreeNode } from '../../src/actor/actor.js'
import { childOf } from '../../src/actor/child.js'
import { loadBehavior } from '../../src/actor/loader.js'
import { createSimulatedSystem } from '../../src/actor/simulated.js'
import type { Planted } from '../../src/actor/supervision.js'
import type { Logger } from '../../src/world/logger.js'
import { type SimulatedWorld, simulatedWorld } from '../../src/world/simulated.js'
import { failNextStart, observed, resetFaults, watcher, worker } from './actors.js'
import { type Journal, openJournal } from './journal.js'
import type { SeedResult, Suite } from './suite.js'
import { check, leftDown, type SupervisorPlan } from './supervisor-checker.js'

const FAULTS = [
  'throw',
  'reject',
  'exit',
  'permanent',
  'hang',
  'fail-start',
  'overflow',
  'kill-thread',
  'stop-child',
  'restart-child',
  'start-child',
] as const
type Fault = (typeof FAULTS)[number]

const STATES = ['starting', 'running', 'stopping', 'ended'] as const
const THREADS = ['t0', 't1', 't2']
const MESSAGES = 180
const SHUTDOWN_MS = 50
const CAPACITY = 12
/** Longer than every back-off and every way through the tree. */
const QUIET_MS = 2_000

export const supervisorSuite: Suite = {
  name: 'supervisor',
  faults: FAULTS,
  states: STATES,
  impossible: [],
  planted: ['intensity-off-by-one', 'a-watcher-not-told', 'restart-order-reversed', 'a-child-not-restarted'],
  async prepare() {
    for (const behavior of [worker, watcher, observed]) await loadBehavior(behavior.ref)
  },
  run: (seed, options) => new Run(seed, options.planted as readonly Planted[]).go(),
}

interface Plan {
  readonly top: ChildSpec
  readonly supervisors: readonly SupervisorPlan[]
  readonly workers: readonly string[]
}

class Run {
  readonly #world: SimulatedWorld
  readonly #journal: Journal
  readonly #system: ActorSystem
  readonly #plan: Plan
  readonly #coverage: Record<string, Record<string, number>> = {}
  readonly #violations: string[] = []
  readonly #faultCount: number
  #messages = 0
  #sent = 0
  #faults = 0
  #asks = 0
  #starting = false

  constructor(seed: number, planted: readonly Planted[]) {
    resetFaults()
    this.#world = simulatedWorld(seed)
    this.#journal = openJournal(this.#world)
    this.#system = createSimulatedSystem({ world: this.#world, log: silent, planted })
    this.#plan = planOf(this.#world)
    this.#faultCount = 12 + this.#world.pick(10)
  }

  async go(): Promise<SeedResult> {
    this.#startTop()
    for (const [id, placement] of [
      ['w0', 'inline'],
      ['w1', { thread: 't0' }],
      ['w2', 'inline'],
    ] as const)
      void this.#system.start(childOf(watcher, { id, args: null, placement })).catch(() => {})
    const span = 1_500
    for (let i = 0; i < MESSAGES; i++) this.#at(span, () => this.#message(i))
    for (let i = 0; i < this.#faultCount; i++)
      this.#at(span, () => this.#aim(STATES[this.#world.pick(STATES.length)]!, 20))
    for (let i = 0; i < 30; i++) this.#at(span, () => this.#watch())
    await this.#until(span + QUIET_MS)
    await this.#quiet()
    await this.#stop()
    return {
      messages: this.#messages,
      faults: this.#faults,
      coverage: this.#coverage,
      violations: [...this.#violations, ...check(this.#journal.entries, this.#plan.supervisors)],
      digest: () => this.#journal.digest(),
      trace: () => [...this.#plan.supervisors, ...this.#journal.entries].map((it) => JSON.stringify(it)),
    }
  }

  /** A supervisor at the top that gave up is started again, so that the run goes on. */
  #startTop(): void {
    if (this.#starting) return
    this.#starting = true
    const again = (): void => {
      this.#starting = false
      if (this.#world.monotonic() < 1_500 + QUIET_MS / 2) this.#world.setTimer(20, () => this.#startTop())
    }
    this.#system.start(this.#plan.top).then(
      () => void this.#system.ended('/top').then(again),
      () => again(),
    )
  }

  #at(span: number, run: () => void): void {
    this.#world.setTimer(30 + this.#world.random() * (span - 30), run)
  }

  async #until(ms: number): Promise<void> {
    let over = false
    this.#world.setTimer(ms, () => {
      over = true
    })
    await this.#world.run(() => over)
  }

  #anyWorker(): string {
    return this.#plan.workers[this.#world.pick(this.#plan.workers.length)]!
  }

  #message(n: number): void {
    this.#messages++
    const path = this.#anyWorker()
    if (n % 4 !== 0) {
      this.#system.ref(path).tell({ type: 'count', from: 'driver', n: this.#sent++ })
      return
    }
    this.#asks++
    const asked = this.#world.monotonic()
    const done = (): void => {
      this.#asks--
      if (this.#world.monotonic() - asked > 100.001) this.#violations.push(`an ask of ${path} outlived its deadline`)
    }
    this.#system
      .ref(path)
      .ask({ type: 'echo', n }, 100)
      .then((answer) => {
        if (answer !== n) this.#violations.push(`${path} answered ${String(answer)} to ${n}`)
      })
      .then(done, done)
  }

  #watch(): void {
    this.#messages++
    this.#system.ref(`/w${this.#world.pick(3)}`).tell({ watch: this.#anyWorker() })
  }

  /** Waits a little for a worker in the state that was chosen first, so that the rare ones are hit too. */
  #aim(wanted: string, tries: number): void {
    const there = this.#plan.workers.filter((path) => this.#journal.stateOf(path) === wanted)
    if (there.length > 0) this.#fault(there[this.#world.pick(there.length)]!)
    else if (tries === 0) this.#fault(this.#anyWorker())
    else this.#world.setTimer(2, () => this.#aim(wanted, tries - 1))
  }

  #fault(path: string): void {
    const fault = FAULTS[this.#world.pick(FAULTS.length)]!
    const state = this.#journal.stateOf(path)
    this.#faults++
    const row = this.#coverage[fault] ?? {}
    this.#coverage[fault] = row
    row[state] = (row[state] ?? 0) + 1
    this.#journal.write({ type: 'fault', fault, path, state })
    this.#inflict(fault, path)
  }

  #inflict(fault: Fault, path: string): void {
    const ref = this.#system.ref(path)
    const parent = path.slice(0, path.lastIndexOf('/'))
    const id = path.slice(path.lastIndexOf('/') + 1)
    switch (fault) {
      case 'fail-start':
        failNextStart(path)
        ref.tell({ type: 'throw' })
        return
      case 'overflow':
        for (let i = 0; i < CAPACITY * 2; i++) ref.tell({ type: 'echo', n: i })
        return
      case 'kill-thread':
        this.#killThread(this.#journal.threadOf(path) ?? 't0')
        return
      case 'stop-child':
      case 'restart-child':
      case 'start-child':
        this.#journal.write({ type: 'command', supervisor: parent, child: id, command: fault })
        this.#command(parent, fault === 'start-child' ? { type: fault, spec: this.#specOf(id) } : { type: fault, id })
        return
      default:
        ref.tell({ type: fault })
    }
  }

  #specOf(id: string): ChildSpec {
    return childOf(worker, { id, args: { slowMs: 3 }, restart: 'transient', shutdownMs: SHUTDOWN_MS })
  }

  #command(parent: string, message: unknown): void {
    this.#system
      .ref(parent)
      .ask(message, 500)
      .catch(() => {})
  }

  #killThread(name: string): void {
    const thread = name === 'main' ? THREADS[this.#world.pick(THREADS.length)]! : name
    if (!this.#system.killThread(thread)) return
    const paths = new Set(this.#journal.entries.flatMap((entry) => (entry.type === 'starting' ? [entry.path] : [])))
    for (const path of paths) {
      const state = this.#journal.stateOf(path)
      if (this.#journal.threadOf(path) === thread && state !== 'ended' && state !== 'none')
        this.#journal.write({ type: 'lost', path })
    }
  }

  /** After a quiet while everything that should run does, and nobody waits for an answer. */
  async #quiet(): Promise<void> {
    if (this.#asks > 0) this.#violations.push(`${this.#asks} questions were never settled`)
    let tree: readonly TreeNode[] | undefined
    void this.#system.tree().then((it) => {
      tree = it
    })
    await this.#world.run(() => tree !== undefined)
    const walk = (node: TreeNode): void => {
      // Whether it may have ended is judged by its plan.
      const hasEnded = node.state === 'ended' && this.#journal.stateOf(node.path) === 'ended'
      if (node.state !== 'running' && !hasEnded)
        this.#violations.push(`${node.path} is ${node.state} after a quiet while`)
      for (const child of node.children) walk(child)
    }
    for (const root of tree ?? []) walk(root)
    this.#violations.push(...leftDown(this.#journal, this.#plan.supervisors))
  }

  async #stop(): Promise<void> {
    let stopped = false
    void this.#system.stop().then(() => {
      stopped = true
    })
    if (!(await this.#world.run(() => stopped))) this.#violations.push('the system never stopped')
    if (this.#system.threads().length > 0) this.#violations.push('threads outlived the system')
  }
}

const ignore = (): void => {}
const silent: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore }

function planOf(world: SimulatedWorld): Plan {
  const supervisors: SupervisorPlan[] = []
  const workers: string[] = []
  const choose = <T>(items: readonly T[]): T => items[world.pick(items.length)]!

  function placement(): Placement {
    return world.random() < 0.5 ? 'inline' : { thread: choose(THREADS) }
  }

  function leaf(parent: string, id: string): ChildSpec {
    workers.push(`${parent}/${id}`)
    return childOf(worker, {
      id,
      args: { slowMs: 8 },
      restart: choose<Restart>(['permanent', 'permanent', 'transient', 'temporary']),
      shutdownMs: SHUTDOWN_MS,
      placement: placement(),
      mailbox: { capacity: CAPACITY, full: choose(['drop', 'drop', 'fail']) },
    })
  }

  function branch(parent: string, id: string, depth: number): ChildSpec {
    const path = `${parent}/${id}`
    const children: ChildSpec[] = []
    const size = 2 + world.pick(3)
    for (let i = 0; i < size; i++)
      children.push(depth < 2 && world.random() < 0.35 ? branch(path, `s${i}`, depth + 1) : leaf(path, `c${i}`))
    const strategy = choose<Strategy>(['one-for-one', 'one-for-all', 'rest-for-one'])
    const limits = { restarts: world.pick(4), periodMs: 100 + world.pick(900) }
    supervisors.push({
      path,
      strategy,
      ...limits,
      children: children.map((child) => ({ id: child.id, restart: child.restart ?? 'permanent' })),
    })
    return childOf(observed, {
      id,
      shutdownMs: SHUTDOWN_MS,
      placement: depth === 0 ? 'inline' : placement(),
      args: {
        strategy,
        intensity: limits,
        backoff: { initialMs: 5, maxMs: 40, jitter: 0.5, resetAfterMs: 200 },
        children,
      },
    })
  }

  return { top: branch('', 'top', 0), supervisors, workers }
}
