/**
 * The host's side: it knows on which thread or node every placed actor lives, and passes messages on.
 *
 * Promises: a thread's end, for whatever reason, is told as `lost` to every watcher of its actors and to the parents of
 * those placed there; every question put to it is rejected with `actor-gone`; its actors' children on other threads are
 * stopped before their grandparents are told. The host itself is not harmed. The end of a session with another node
 * (node/sessions.ts) is the same; what that node had started here is stopped.
 */
import { TroupeError, toError } from '../../world/error.js'
import type { ChildSpec, Down, ExitReason, TreeNode } from '../actor.js'
import { Asked, arrived, type Outcome } from '../asks.js'
import type { Child } from '../cell.js'
import { DEFAULT_SHUTDOWN_MS, nodeIn } from '../child.js'
import { Counters } from '../counters.js'
import type { Elsewhere } from '../elsewhere.js'
import { actorGone, decodeReason, encodeReason, linkFull } from '../failure.js'
import { childExists, type Kernel, type NodeIdentity } from '../kernel.js'
import type { NodeOptions } from '../node/link.js'
import { createPeers, type Peer } from '../node/peers.js'
import { nodeOf } from '../path.js'
import type { RunningThread, ThreadDriver } from './driver.js'
import type { Holder } from './holder.js'
import { type Batch, createLink, type Link } from './link.js'
import { decodeOutcome, encodeOutcome } from './outcome.js'
import { type RemoteChild, remoteChild } from './remote-child.js'
import type { ToHost } from './to-host.js'
import type { Question, ToThread, WireOutcome } from './to-thread.js'

interface Thread extends Holder {
  readonly kind: 'thread'
  readonly link: Link<ToThread>
  readonly running: RunningThread
  readonly counters: Counters
  readonly trees: Map<number, (roots: readonly TreeNode[]) => void>
  lastPong: number
}

interface Placed {
  readonly run: number
  readonly holder: Holder
  readonly child: RemoteChild
}

/** An actor that another node has started here. */
interface Guest {
  readonly child: Child
  readonly peer: Holder
}

interface Watch {
  readonly watcher: string
  readonly target: string
  /** Undefined: the host's own. */
  readonly watcherHolder: Holder | undefined
  readonly targetHolder: Holder | undefined
}

export interface Hub extends Elsewhere {
  kill(thread: string): boolean
  names(): readonly string[]
  /** Joins the host's roots with the parts of the threads. */
  tree(deadlineMs: number): Promise<readonly TreeNode[]>
  totals(): { deadLetters: number; restarts: number; messages: number }
  /** Names of the nodes that answer. */
  nodes(): readonly string[]
  /** Starts nothing more for other nodes. What they have started here is given back, to be stopped first. */
  leave(): readonly Child[]
  /** Ends all sessions and threads; resolves when they are gone. */
  close(): Promise<void>
  /** Ends all without a word, as the death of the process would. */
  crash(): void
}

/** Paths whose thread is remembered; beyond, all are forgotten and looked up again. */
const MAX_ROUTES = 10_000

export interface HubInit {
  readonly roots: () => readonly Child[]
  readonly node?: NodeOptions | undefined
  readonly identity?: NodeIdentity | undefined
}

export function createHub(kernel: Kernel, driver: ThreadDriver, init: HubInit): Hub {
  const threads = new Map<string, Thread>()
  const placed = new Map<string, Placed>()
  const routes = new Map<string, Holder | undefined>()
  const guests = new Map<string, Guest>()
  const watches = new Map<string, Watch>()
  const retired = { deadLetters: 0, restarts: 0, messages: 0 }
  const dying = new Set<Promise<void>>()
  let births = 0
  let runs = 0
  let pings = 0
  let requests = 0
  let closed = false
  let leaving = false
  const peers = init.node === undefined ? undefined : createPeers(kernel, init.node, peerEvents())

  // Where things are -------------------------------------------------------------------------------------------------

  /** Who holds a path; undefined: the host. What came from a node goes to no node by its name, or it could go round. */
  function holderOf(path: string, from: Holder | undefined): Holder | undefined {
    const holder = nearestPlaced(path)
    if (holder !== undefined || peers === undefined || from?.kind === 'node') return holder
    const node = nodeOf(path)
    return node === undefined || kernel.cells.has(path) ? undefined : peers.of(node)
  }

  /** The holder of the nearest placed ancestor. */
  function nearestPlaced(path: string): Holder | undefined {
    if (routes.has(path)) return routes.get(path)
    let at = path
    let found: Holder | undefined
    while (at !== '') {
      const here = placed.get(at)
      if (here !== undefined || kernel.cells.has(at)) {
        found = here?.holder
        break
      }
      at = at.slice(0, at.lastIndexOf('/'))
    }
    if (routes.size >= MAX_ROUTES) routes.clear()
    if (found !== undefined) routes.set(path, found)
    return found
  }

  function byOrigin(origin: string): Holder | undefined {
    if (origin.startsWith('//')) return peers?.byOrigin(origin)
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
      {
        thread: name,
        origin,
        counters: counters.buffer,
        ...(init.identity === undefined ? {} : { identity: init.identity }),
      },
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
      kind: 'thread',
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
      offer: (message) => link.offer(message),
      post: (message) => link.post(message),
      answer: (_origin, id, outcome) => link.post({ type: 'answer', id, outcome }),
      forget: () => {},
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

  function hand(holder: Holder, message: Extract<ToThread, { type: 'user' }>): boolean {
    const { ask } = message
    if (ask === undefined) return holder.offer(message)
    const key = `${ask.origin}/${ask.id}`
    // Before it goes: it may be refused, and so answered, on the way.
    holder.questions.set(key, ask)
    const taken = holder.offer(message)
    if (!taken) holder.questions.delete(key)
    return taken
  }

  /** From the host's kernel, from a thread or from another node, to wherever it lives. */
  function pass(to: string, message: unknown, ask: Question | undefined, from: Holder | undefined): boolean {
    const holder = holderOf(to, from)
    const foreign = from?.kind === 'node' ? { node: from.name, origin: from.origin } : undefined
    const item = arrived(message, ask, foreign)
    if (holder === undefined) return kernel.deliver(to, item)
    // What a thread or node does not hold itself and would get back does not exist.
    if (holder === from) return kernel.refuse(to, item)
    const more = { ...(ask === undefined ? {} : { ask }), ...(foreign === undefined ? {} : { from: foreign }) }
    if (hand(holder, { type: 'user', to, message, ...more })) return true
    kernel.deadLetter(to, item, linkFull(to, holder.kind, holder.name))
    return false
  }

  function answerWire(origin: string, id: number, outcome: WireOutcome): void {
    if (origin === kernel.origin) kernel.settle(id, decodeOutcome(outcome))
    else byOrigin(origin)?.answer(origin, id, outcome)
  }

  function answerFrom(holder: Holder, question: Question, outcome: Outcome): void {
    holder.questions.delete(`${question.origin}/${question.id}`)
    if (question.origin === kernel.origin) kernel.settle(question.id, outcome)
    else byOrigin(question.origin)?.answer(question.origin, question.id, encodeOutcome(outcome))
  }

  function* holders(): Iterable<Holder> {
    yield* threads.values()
    if (peers !== undefined) yield* peers.all()
  }

  function forget(origin: string, id: number): void {
    for (const holder of holders()) if (holder.questions.delete(`${origin}/${id}`)) holder.forget(origin, id)
  }

  // Watching ---------------------------------------------------------------------------------------------------------

  function watch(watcher: string, target: string, token: string, watcherHolder: Holder | undefined): void {
    const here = kernel.cells.get(target)
    const targetHolder = here === undefined ? holderOf(target, watcherHolder) : undefined
    if (here === undefined && (targetHolder === undefined || targetHolder === watcherHolder)) {
      tellDown(watcherHolder, watcher, token, {
        path: target,
        reason: { kind: 'lost', detail: 'no such actor runs' },
      })
      return
    }
    watches.set(token, { watcher, target, watcherHolder, targetHolder })
    if (here !== undefined) here.watchers.set(token, watcher)
    else targetHolder?.post({ type: 'watch', watcher, target, token })
  }

  function unwatch(token: string): void {
    const known = watches.get(token)
    if (known === undefined) return
    watches.delete(token)
    const { target } = known
    if (known.targetHolder !== undefined) known.targetHolder.post({ type: 'unwatch', target, token })
    else kernel.cells.get(target)?.watchers.delete(token)
  }

  function tellDown(holder: Holder | undefined, watcher: string, token: string, down: Down): void {
    if (holder === undefined) kernel.downHere(watcher, token, down)
    else holder.post({ type: 'down', watcher, token, path: down.path, reason: encodeReason(down.reason) })
  }

  /** Told once: the record is the right to tell. Whoever tells must hold the target. */
  function down(token: string, reason: ExitReason, from: Holder | undefined): void {
    const known = watches.get(token)
    if (known === undefined || known.targetHolder !== from) return
    watches.delete(token)
    tellDown(known.watcherHolder, known.watcher, token, { path: known.target, reason })
  }

  // Actors on threads ------------------------------------------------------------------------------------------------

  function startChild(path: string, spec: ChildSpec, name: string): Child {
    if (closed) throw actorGone(path, 'the system is stopping')
    const node = nodeIn(spec)
    const away = node !== undefined && node !== kernel.node
    if (name === kernel.thread && !away && !placed.has(path)) return kernel.startHere(path, spec)
    if (placed.has(path) || kernel.cells.has(path)) throw childExists(path)
    return away ? startOnNode(path, spec, node) : startOnThread(path, spec, name)
  }

  function startOnNode(path: string, spec: ChildSpec, node: string): Child {
    const peer = peers?.of(node)
    if (peer === undefined) throw noNode(path, node)
    const run = ++runs
    const child = remoteChild(path, `//${node}`, {
      stop: () => peer.stop(run),
      kill(detail) {
        peer.kill(run, detail)
        placedEnded(path, run, { kind: 'killed', detail })
      },
    })
    placed.set(path, { run, holder: peer, child })
    routes.clear()
    peer.start(path, run, spec)
    return child
  }

  function startOnThread(path: string, spec: ChildSpec, name: string): Child {
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
    placed.set(path, { run, holder: thread, child })
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

  function startFor(holder: Holder, message: Extract<ToHost, { type: 'start-child' }>): void {
    const { run, path } = message
    const guest = holder.kind === 'node'
    if (guest && guests.get(path)?.peer.dead === true) {
      startAfter(guests.get(path)!.child, holder, message)
      return
    }
    let child: Child
    try {
      if (guest && leaving) throw actorGone(path, 'the node is stopping')
      child = startChild(path, message.spec, message.thread)
    } catch (thrown) {
      holder.post({ type: 'child-ended', run, reason: encodeReason({ kind: 'error', error: toError(thrown) }) })
      return
    }
    if (guest) hostGuest(path, { child, peer: holder })
    follow(holder, run, child)
    child.started.then(
      () => holder.post({ type: 'child-started', run }),
      () => {},
    )
  }

  function follow(holder: Holder, run: number, child: Child): void {
    holder.children.set(run, child)
    void child.ended.then((reason) => {
      if (holder.children.get(run) !== child) return
      holder.children.delete(run)
      holder.post({ type: 'child-ended', run, reason: encodeReason(reason) })
    })
  }

  function hostGuest(path: string, guest: Guest): void {
    guests.set(path, guest)
    void guest.child.ended.then(() => {
      if (guests.get(path) === guest) guests.delete(path)
    })
  }

  /** What an ended session had started under this name is still closing what it has opened. */
  function startAfter(old: Child, holder: Holder, message: Extract<ToHost, { type: 'start-child' }>): void {
    const { run, path } = message
    const waiting = remoteChild(path, kernel.thread, {
      stop: () => waiting.over({ kind: 'shutdown' }),
      kill: () => {},
    })
    follow(holder, run, waiting)
    void old.ended.then(() => {
      if (waiting.state !== 'starting' || holder.dead) return
      holder.children.delete(run)
      startFor(holder, message)
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
      case 'tree':
        thread.trees.get(message.request)?.(message.roots)
        return
      case 'pong':
        thread.lastPong = Math.max(thread.lastPong, message.n)
        return
      case 'log':
        kernel.log[message.level]({ thread: thread.name, ...message.fields }, message.message)
        return
      default:
        takeFrom(thread, message)
        return
    }
  }

  /** What a thread and a node say alike. */
  function takeFrom(holder: Holder, message: ToHost): void {
    switch (message.type) {
      case 'user':
        pass(message.to, message.message, message.ask, holder)
        return
      case 'answer':
        // Of what was not asked, nothing is answered.
        if (holder.questions.delete(`${message.origin}/${message.id}`))
          answerWire(message.origin, message.id, message.outcome)
        return
      case 'forget':
        forget(message.origin, message.id)
        return
      case 'watch':
        watch(message.watcher, message.target, message.token, holder)
        return
      case 'unwatch':
        unwatch(message.token)
        return
      case 'down':
        down(message.token, decodeReason(message.reason), holder)
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
        startFor(holder, message)
        return
      case 'stop-child':
        holder.children.get(message.run)?.stop()
        return
      case 'kill-child':
        holder.children.get(message.run)?.kill(message.detail)
        return
    }
  }

  // Death -------------------------------------------------------------------------------------------------

  function threadDied(thread: Thread, detail: string): void {
    thread.dead = true
    thread.link.close()
    threads.delete(thread.name)
    routes.clear()
    retire(thread)
    const reason = `thread '${thread.name}': ${detail}`
    if (!closed) kernel.log.warn({ report: 'thread', thread: thread.name, reason: detail }, 'a thread has died')
    for (const resolve of thread.trees.values()) resolve([])
    lose(thread, reason)
  }

  function nodeDied(peer: Peer, detail: string): void {
    peer.dead = true
    routes.clear()
    if (!closed) kernel.log.warn({ report: 'node', node: peer.name, reason: detail }, 'a node is gone')
    lose(peer, `node '${peer.name}': ${detail}`)
  }

  /** Tells all whom it concerns. */
  function lose(holder: Holder, detail: string): void {
    const reason: ExitReason = { kind: 'lost', detail }
    const lost = [...placed].filter(([, it]) => it.holder === holder)
    for (const [path] of lost) placed.delete(path)
    for (const question of [...holder.questions.values()])
      answerFrom(holder, question, { ok: false, error: actorGone(holder.name, detail) })
    for (const [token, known] of [...watches]) {
      if (known.watcherHolder === holder) unwatch(token)
      else if (known.targetHolder === holder) down(token, reason, holder)
    }
    const orphans = [...holder.children.values()]
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

  /** With the parts of the tree that are elsewhere. */
  async function joined(own: readonly TreeNode[], deadlineMs: number): Promise<readonly TreeNode[]> {
    const away = new Set([...placed.values()].map((it) => it.holder))
    const answers = await Promise.all([
      ...[...threads.values()].map((thread) => treeOf(thread, deadlineMs)),
      ...[...(peers?.all() ?? [])].filter((peer) => away.has(peer)).map((peer) => peer.tree(deadlineMs)),
    ])
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
  }

  function peerEvents(): Parameters<typeof createPeers>[2] {
    return {
      take: takeFrom,
      unsendable(peer, to, ask, error) {
        kernel.log.warn({ report: 'unsendable', to, reason: error.message }, 'a message cannot be sent to a node')
        kernel.deadLetter(to, undefined)
        if (ask !== undefined) answerFrom(peer, ask, { ok: false, error })
      },
      refused: (path, run, error) => placedEnded(path, run, { kind: 'error', error }),
      died: nodeDied,
      guests: (peer, deadlineMs) =>
        joined(
          [...peer.children.values()].map((child) => child.node()),
          deadlineMs,
        ),
    }
  }

  return {
    send(to, message) {
      if (message instanceof Asked)
        return pass(to, message.message, { origin: message.origin, id: message.id }, undefined)
      return pass(to, message, undefined, undefined)
    },
    answer(origin, id, outcome) {
      byOrigin(origin)?.answer(origin, id, encodeOutcome(outcome))
    },
    forget,
    watch: (watcher, target, token) => watch(watcher, target, token, undefined),
    unwatch: (_target, token) => unwatch(token),
    down: (_watcher, token, reason) => down(token, reason.reason, undefined),
    startChild,
    kill(name) {
      const thread = threads.get(name)
      thread?.running.terminate('killed')
      return thread !== undefined
    },
    names: () => [...threads.keys()],
    tree(deadlineMs) {
      const own = [...init.roots(), ...[...guests.values()].map((guest) => guest.child)]
      return joined(
        own.map((child) => child.node()),
        deadlineMs,
      )
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
    nodes: () => peers?.up() ?? [],
    leave() {
      leaving = true
      return [...guests.values()].map((guest) => guest.child)
    },
    async close() {
      closed = true
      peers?.close()
      const all = [...dying]
      for (const thread of threads.values()) thread.running.terminate('the system has stopped')
      await Promise.all(all)
    },
    crash() {
      closed = true
      peers?.halt()
      for (const thread of threads.values()) thread.running.terminate('the process has died')
    },
  }
}

function noNode(path: string, node: string): Error {
  return new TroupeError({
    code: 'no-such-node',
    message: `there is no way to a node '${node}'`,
    place: path,
    remedy: 'give createSystem the `node` option; a node has business with at most 1,024 others',
  })
}
