/**
 * The host's side: it knows on which thread every placed actor lives, and passes messages on.
 *
 * Promises: a thread's end, for whatever reason, is told as `lost` to every watcher of its actors and to the parents of
 * those placed there; every question put to it is rejected with `actor-gone`; its actors' children on other threads are
 * stopped before their grandparents are told. The host itself is not harmed.
 */
import type { ChildSpec, Down, ExitReason, TreeNode } from '../actor.js'
import { Asked, type Outcome } from '../asks.js'
import type { Child } from '../cell.js'
import { DEFAULT_SHUTDOWN_MS } from '../child.js'
import { Counters } from '../counters.js'
import type { Elsewhere } from '../elsewhere.js'
import { actorGone, decodeReason, encodeReason, linkFull, toError } from '../failure.js'
import { childExists, type Kernel } from '../kernel.js'
import type { RunningThread, ThreadDriver } from './driver.js'
import { type Batch, createLink, type Link } from './link.js'
import { decodeOutcome, encodeOutcome } from './outcome.js'
import { type RemoteChild, remoteChild } from './remote-child.js'
import type { ToHost } from './to-host.js'
import type { Question, ToThread, WireOutcome } from './to-thread.js'

interface Thread {
  readonly name: string
  readonly origin: string
  readonly link: Link<ToThread>
  readonly running: RunningThread
  readonly counters: Counters
  /** Questions on their way to it or unanswered by it: `origin/id` → question. */
  readonly questions: Map<string, Question>
  /** Children that its actors have on other threads, by its number. */
  readonly children: Map<number, Child>
  readonly trees: Map<number, (roots: readonly TreeNode[]) => void>
  lastPong: number
  dead: boolean
}

interface Placed {
  readonly run: number
  readonly thread: Thread
  readonly child: RemoteChild
}

interface Watch {
  readonly watcher: string
  readonly target: string
  /** Undefined: the host's own. */
  readonly watcherThread: Thread | undefined
  readonly targetThread: Thread | undefined
}

export interface Hub extends Elsewhere {
  kill(thread: string): boolean
  names(): readonly string[]
  /** Joins the host's roots with the parts of the threads. */
  tree(deadlineMs: number): Promise<readonly TreeNode[]>
  totals(): { deadLetters: number; restarts: number; messages: number }
  /** Ends all threads; resolves when they are gone. */
  close(): Promise<void>
}

/** Paths whose thread is remembered; beyond, all are forgotten and looked up again. */
const MAX_ROUTES = 10_000

export function createHub(kernel: Kernel, driver: ThreadDriver, roots: () => readonly Child[]): Hub {
  const threads = new Map<string, Thread>()
  const placed = new Map<string, Placed>()
  const routes = new Map<string, Thread | undefined>()
  const watches = new Map<string, Watch>()
  const retired = { deadLetters: 0, restarts: 0, messages: 0 }
  const dying = new Set<Promise<void>>()
  let births = 0
  let runs = 0
  let pings = 0
  let requests = 0
  let closed = false

  // Where things are -------------------------------------------------------------------------------------------------

  /** The thread of the nearest placed ancestor; undefined: the host. */
  function threadOf(path: string): Thread | undefined {
    if (routes.has(path)) return routes.get(path)
    let at = path
    let found: Thread | undefined
    while (at !== '') {
      const here = placed.get(at)
      if (here !== undefined || kernel.cells.has(at)) {
        found = here?.thread
        break
      }
      at = at.slice(0, at.lastIndexOf('/'))
    }
    if (routes.size >= MAX_ROUTES) routes.clear()
    if (found !== undefined) routes.set(path, found)
    return found
  }

  function byOrigin(origin: string): Thread | undefined {
    const thread = threads.get(origin.slice(0, origin.lastIndexOf('#')))
    return thread?.origin === origin ? thread : undefined
  }

  function threadNamed(name: string): Thread {
    return threads.get(name) ?? startThread(name)
  }

  function startThread(name: string): Thread {
    const counters = new Counters()
    const origin = `${name}#${++births}`
    let died!: () => void
    const gone = new Promise<void>((resolve) => {
      died = resolve
    })
    dying.add(gone)
    const running = driver.start(
      { thread: name, origin, counters: counters.buffer },
      {
        received: (batch) => receive(thread, batch),
        died(detail) {
          dying.delete(gone)
          died()
          threadDied(thread, detail)
        },
      },
    )
    const link = createLink<ToThread>(kernel.world, {
      send: (batch) => running.post(batch),
      unsendable: (message, error) => unsendable(thread, message, error),
    })
    const thread: Thread = {
      name,
      origin,
      link,
      running,
      counters,
      questions: new Map(),
      children: new Map(),
      trees: new Map(),
      lastPong: 0,
      dead: false,
    }
    threads.set(name, thread)
    return thread
  }

  function unsendable(thread: Thread, message: ToThread, error: Error): void {
    kernel.log.warn({ report: 'unsendable', type: message.type, reason: error.message }, 'a message cannot be cloned')
    if (message.type === 'user') {
      kernel.deadLetter(message.to, undefined)
      if (message.ask !== undefined) answerFrom(thread, message.ask, { ok: false, error })
    } else if (message.type === 'start') placedEnded(message.path, message.run, { kind: 'error', error })
    else if (message.type === 'answer') thread.link.post({ ...message, outcome: encodeOutcome({ ok: false, error }) })
  }

  // Messages ---------------------------------------------------------------------------------------------------------

  function toThread(thread: Thread, to: string, message: unknown, ask: Question | undefined): boolean {
    if (ask === undefined) return thread.link.offer({ type: 'user', to, message })
    const taken = thread.link.offer({ type: 'user', to, message, ask })
    if (taken) thread.questions.set(`${ask.origin}/${ask.id}`, ask)
    return taken
  }

  /** From the host's kernel or from a thread, to wherever it lives. */
  function pass(to: string, message: unknown, ask: Question | undefined, from: Thread | undefined): boolean {
    const thread = threadOf(to)
    const item = ask === undefined ? message : new Asked(message, ask.origin, ask.id)
    if (thread === undefined) return kernel.deliver(to, item)
    // What a thread does not hold itself and would get back does not exist.
    if (thread === from) return kernel.refuse(to, item)
    if (toThread(thread, to, message, ask)) return true
    kernel.deadLetter(to, item, linkFull(to, thread.name))
    return false
  }

  function answerWire(origin: string, id: number, outcome: WireOutcome): void {
    if (origin === kernel.origin) kernel.settle(id, decodeOutcome(outcome))
    else byOrigin(origin)?.link.post({ type: 'answer', id, outcome })
  }

  function answerFrom(thread: Thread, question: Question, outcome: Outcome): void {
    thread.questions.delete(`${question.origin}/${question.id}`)
    if (question.origin === kernel.origin) kernel.settle(question.id, outcome)
    else byOrigin(question.origin)?.link.post({ type: 'answer', id: question.id, outcome: encodeOutcome(outcome) })
  }

  function forget(origin: string, id: number): void {
    for (const thread of threads.values()) thread.questions.delete(`${origin}/${id}`)
  }

  // Watching ---------------------------------------------------------------------------------------------------------

  function watch(watcher: string, target: string, token: string, watcherThread: Thread | undefined): void {
    const targetThread = threadOf(target)
    const here = kernel.cells.get(target)
    if (here === undefined && (targetThread === undefined || targetThread === watcherThread)) {
      tellDown(watcherThread, watcher, token, {
        path: target,
        reason: { kind: 'lost', detail: 'no such actor runs' },
      })
      return
    }
    watches.set(token, { watcher, target, watcherThread, targetThread: here === undefined ? targetThread : undefined })
    if (here !== undefined) here.watchers.set(token, watcher)
    else targetThread?.link.post({ type: 'watch', watcher, target, token })
  }

  function unwatch(target: string, token: string): void {
    const known = watches.get(token)
    if (known === undefined) return
    watches.delete(token)
    if (known.targetThread !== undefined) known.targetThread.link.post({ type: 'unwatch', target, token })
    else kernel.cells.get(target)?.watchers.delete(token)
  }

  function tellDown(thread: Thread | undefined, watcher: string, token: string, down: Down): void {
    if (thread === undefined) kernel.downHere(watcher, token, down)
    else thread.link.post({ type: 'down', watcher, token, path: down.path, reason: encodeReason(down.reason) })
  }

  /** Told once: the record is the right to tell. */
  function down(token: string, reason: Down): void {
    const known = watches.get(token)
    if (known === undefined) return
    watches.delete(token)
    tellDown(known.watcherThread, known.watcher, token, reason)
  }

  // Actors on threads ------------------------------------------------------------------------------------------------

  function startChild(path: string, spec: ChildSpec, name: string): Child {
    if (closed) throw actorGone(path, 'the system is stopping')
    if (name === kernel.thread) return kernel.startHere(path, spec)
    if (placed.has(path) || kernel.cells.has(path)) throw childExists(path)
    const thread = threadNamed(name)
    const run = ++runs
    const child: RemoteChild = remoteChild(path, name, {
      stop() {
        thread.link.post({ type: 'stop', path, run })
        guard(thread, child, spec.shutdownMs ?? DEFAULT_SHUTDOWN_MS)
      },
      kill(detail) {
        thread.link.post({ type: 'kill', path, run, detail })
        placedEnded(path, run, { kind: 'killed', detail })
      },
    })
    placed.set(path, { run, thread, child })
    routes.clear()
    thread.link.post({ type: 'start', path, run, spec })
    return child
  }

  function placedEnded(path: string, run: number, reason: ExitReason): void {
    const known = placed.get(path)
    if (known?.run !== run) return
    placed.delete(path)
    routes.clear()
    known.child.over(reason)
  }

  /** A stop is bounded by the thread's own kernel; one that cannot even answer a ping is stuck, and is ended. */
  function guard(thread: Thread, child: RemoteChild, shutdownMs: number): void {
    const n = ++pings
    thread.link.post({ type: 'ping', n })
    const timer = kernel.world.setTimer(Math.max(shutdownMs, 1_000), () => {
      if (thread.dead || child.state === 'ended') return
      if (thread.lastPong >= n) guard(thread, child, shutdownMs)
      else thread.running.terminate(`did not answer for ${Math.max(shutdownMs, 1_000)} ms while it was asked to stop`)
    })
    void child.ended.then(() => timer.cancel())
  }

  function startForThread(thread: Thread, message: Extract<ToHost, { type: 'start-child' }>): void {
    const { run } = message
    let child: Child
    try {
      child = startChild(message.path, message.spec, message.thread)
    } catch (thrown) {
      thread.link.post({ type: 'child-ended', run, reason: encodeReason({ kind: 'error', error: toError(thrown) }) })
      return
    }
    thread.children.set(run, child)
    child.started.then(
      () => thread.link.post({ type: 'child-started', run }),
      () => {},
    )
    void child.ended.then((reason) => {
      thread.children.delete(run)
      thread.link.post({ type: 'child-ended', run, reason: encodeReason(reason) })
    })
  }

  // What threads say -------------------------------------------------------------------------------------------------

  function receive(thread: Thread, batch: Batch<ToHost>): void {
    if (thread.dead) return
    thread.link.received(batch)
    for (const message of batch.messages) take(thread, message)
  }

  function take(thread: Thread, message: ToHost): void {
    switch (message.type) {
      case 'user':
        pass(message.to, message.message, message.ask, thread)
        return
      case 'answer':
        thread.questions.delete(`${message.origin}/${message.id}`)
        answerWire(message.origin, message.id, message.outcome)
        return
      case 'forget':
        forget(thread.origin, message.id)
        return
      case 'watch':
        watch(message.watcher, message.target, message.token, thread)
        return
      case 'unwatch':
        unwatch(message.target, message.token)
        return
      case 'down':
        down(message.token, { path: message.path, reason: decodeReason(message.reason) })
        return
      case 'started': {
        const known = placed.get(message.path)
        if (known?.run === message.run) known.child.running()
        return
      }
      case 'ended':
        placedEnded(message.path, message.run, decodeReason(message.reason))
        return
      case 'start-child':
        startForThread(thread, message)
        return
      case 'stop-child':
        thread.children.get(message.run)?.stop()
        return
      case 'kill-child':
        thread.children.get(message.run)?.kill(message.detail)
        return
      case 'tree':
        thread.trees.get(message.request)?.(message.roots)
        return
      case 'pong':
        thread.lastPong = Math.max(thread.lastPong, message.n)
        return
      case 'log':
        kernel.log[message.level]({ thread: thread.name, ...message.fields }, message.message)
        return
    }
  }

  // A thread's death -------------------------------------------------------------------------------------------------

  function threadDied(thread: Thread, detail: string): void {
    thread.dead = true
    thread.link.close()
    threads.delete(thread.name)
    routes.clear()
    retire(thread)
    const reason: ExitReason = { kind: 'lost', detail: `thread '${thread.name}': ${detail}` }
    if (!closed) kernel.log.warn({ report: 'thread', thread: thread.name, reason: detail }, 'a thread has died')
    const lost = [...placed].filter(([, it]) => it.thread === thread)
    for (const [path] of lost) placed.delete(path)
    for (const question of thread.questions.values())
      answerFrom(thread, question, { ok: false, error: actorGone(thread.name, reason.detail) })
    for (const resolve of thread.trees.values()) resolve([])
    for (const [token, known] of watches) {
      if (known.watcherThread === thread) unwatch(known.target, token)
      else if (known.targetThread === thread) down(token, { path: known.target, reason })
    }
    const orphans = [...thread.children.values()]
    for (const orphan of orphans) orphan.stop()
    for (const [path, it] of lost) {
      // Only those below it: an orphan may itself be waiting to hear of a child that was lost here.
      const below = orphans.filter((orphan) => orphan.path.startsWith(`${path}/`))
      if (below.length === 0) it.child.over(reason)
      else void Promise.all(below.map((orphan) => orphan.ended)).then(() => it.child.over(reason))
    }
  }

  function retire(thread: Thread): void {
    retired.deadLetters += thread.counters.deadLetters
    retired.restarts += thread.counters.restarts
    retired.messages += thread.counters.messages
  }

  // ------------------------------------------------------------------------------------------------------------------

  function treeOf(thread: Thread, deadlineMs: number): Promise<readonly TreeNode[]> {
    const request = ++requests
    return new Promise((resolve) => {
      const timer = kernel.world.setTimer(deadlineMs, () => done([]))
      const done = (nodes: readonly TreeNode[]): void => {
        timer.cancel()
        thread.trees.delete(request)
        resolve(nodes)
      }
      thread.trees.set(request, done)
      thread.link.post({ type: 'tree', request })
    })
  }

  return {
    send(to, message) {
      if (message instanceof Asked)
        return pass(to, message.message, { origin: message.origin, id: message.id }, undefined)
      return pass(to, message, undefined, undefined)
    },
    answer(origin, id, outcome) {
      byOrigin(origin)?.link.post({ type: 'answer', id, outcome: encodeOutcome(outcome) })
    },
    forget,
    watch: (watcher, target, token) => watch(watcher, target, token, undefined),
    unwatch,
    down: (_watcher, token, reason) => down(token, reason),
    startChild,
    kill(name) {
      const thread = threads.get(name)
      thread?.running.terminate('killed')
      return thread !== undefined
    },
    names: () => [...threads.keys()],
    async tree(deadlineMs) {
      const own = roots().map((child) => child.node())
      const answers = await Promise.all([...threads.values()].map((thread) => treeOf(thread, deadlineMs)))
      const parts = new Map(answers.flat().map((node) => [node.path, node]))
      const hosted = new Map([...kernel.cells].map(([path, cell]) => [path, cell]))
      const join = (node: TreeNode): TreeNode => {
        const part = node.state === 'ended' ? (parts.get(node.path) ?? hosted.get(node.path)?.node()) : undefined
        if (part === undefined) return { ...node, children: node.children.map(join) }
        const lastError =
          node.lastError === undefined || node.lastError.startsWith('lost: its thread')
            ? {}
            : { lastError: node.lastError }
        return { ...part, restarts: node.restarts, ...lastError, children: part.children.map(join) }
      }
      return own.map(join)
    },
    totals() {
      const sum = { ...retired }
      for (const { counters } of threads.values()) {
        sum.deadLetters += counters.deadLetters
        sum.restarts += counters.restarts
        sum.messages += counters.messages
      }
      return sum
    },
    async close() {
      closed = true
      const all = [...dying]
      for (const thread of threads.values()) thread.running.terminate('the system has stopped')
      await Promise.all(all)
    },
  }
}
