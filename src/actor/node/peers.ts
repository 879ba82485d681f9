/**
 * The other nodes as the hub sees them: each session is a `Holder`, as each life of a thread is.
 *
 * Translates: this system's paths, tokens and origins to those that all nodes understand, and back; values to bytes.
 * Promises: nothing that comes over a link can throw into the kernel, name a module that was not registered, answer a
 * question that was not put to that node, or speak for a watch that is not that node's. Delivery of messages and answers is at most once;
 * watches, starts and ends arrive or the session ends (sessions.ts).
 */
import { TroupeError, toError } from '../../world/error.js'
import type { ChildSpec, TreeNode } from '../actor.js'
import { checkSpec } from '../child.js'
import { encodeError, encodeReason } from '../failure.js'
import type { Kernel } from '../kernel.js'
import { globalPath, isNodeName, localPath, resolvePath } from '../path.js'
import type { Holder } from '../thread/holder.js'
import type { ToHost } from '../thread/to-host.js'
import type { Question } from '../thread/to-thread.js'
import { inward, outward, withoutDetail } from './guest-tree.js'
import { DEFAULT_DEAD_MS, DEFAULT_PING_MS, type NodeOptions } from './link.js'
import { createSessions, maxBodyBytes, type Session } from './sessions.js'
import { MAX_TEXT, shortOutcome, shortReason } from './shorten.js'
import { encodeSpec } from './spec.js'
import { checkChild } from './spec-check.js'
import { parseToNode, type ToNode } from './to-node.js'
import { badFrame, encodeValue } from './value.js'

export interface Peer extends Holder {
  readonly kind: 'node'
  start(path: string, run: number, spec: ChildSpec): void
  stop(run: number): void
  kill(run: number, detail: string): void
  /** The parts of the tree that it holds for this node; none when it does not answer in time. */
  tree(deadlineMs: number): Promise<readonly TreeNode[]>
}

/** What the hub does with what a node says; in the words of the threads' protocol. */
export interface PeerEvents {
  take(peer: Peer, message: ToHost): void
  /** What was sent to it cannot be sent. */
  unsendable(peer: Peer, to: string, ask: Question | undefined, error: Error): void
  /** A child of ours on it has ended before it could begin. */
  refused(path: string, run: number, error: Error): void
  died(peer: Peer, detail: string): void
  /** The trees of what that node has started here. */
  guests(peer: Peer, deadlineMs: number): Promise<readonly TreeNode[]>
}

export interface Peers {
  /** The session with a node, begun if there is none. */
  of(node: string): Peer | undefined
  byOrigin(origin: string): Peer | undefined
  all(): Iterable<Peer>
  up(): readonly string[]
  close(): void
  halt(): void
}

/** Stands between the origin of a session and the asker's own words. */
const VIA = '|'

interface State extends Peer {
  readonly session: Session
  /** Children of ours on it: our number → path. */
  readonly away: Map<number, string>
  readonly trees: Map<number, (roots: readonly TreeNode[]) => void>
}

export function createPeers(kernel: Kernel, options: NodeOptions, events: PeerEvents): Peers {
  const { world } = kernel
  const { link, pingMs = DEFAULT_PING_MS, deadMs = DEFAULT_DEAD_MS } = options
  const peers = new Map<number, State>()
  const most = maxBodyBytes(link)
  let requests = 0

  const sessions = createSessions(
    world,
    link,
    { pingMs, deadMs: Math.max(deadMs, pingMs * 2) },
    {
      opened(session) {
        peers.set(session.number, createPeer(session))
      },
      message(session, body) {
        const peer = peers.get(session.number)
        if (peer !== undefined) receive(peer, body)
      },
      died(session, detail, unsent) {
        const peer = peers.get(session.number)
        if (peer === undefined) return
        peers.delete(session.number)
        for (let i = 0; i < unsent; i++) kernel.counters.deadLetter()
        for (const resolve of [...peer.trees.values()]) resolve([])
        events.died(peer, detail)
      },
      refused: (error, node) => refuse(error, node),
    },
  )

  const out = (path: string): string => globalPath(kernel.node, path)
  const back = (path: string): string => localPath(kernel.node, path)

  // Out --------------------------------------------------------------------------------------------------------------

  function createPeer(session: Session): State {
    const origin = `//${session.node}#${session.number}`
    const peer: State = {
      kind: 'node',
      name: session.node,
      origin,
      session,
      questions: new Map(),
      children: new Map(),
      away: new Map(),
      trees: new Map(),
      dead: false,
      offer({ to, message, ask }) {
        const wire: ToNode = { type: 'user', to: out(to), message, ...(ask === undefined ? {} : { ask }) }
        const body = encoded(wire)
        if (typeof body === 'string') return session.offer(body)
        events.unsendable(peer, to, ask, body)
        return true
      },
      post(message) {
        switch (message.type) {
          case 'watch':
          case 'unwatch':
            post({
              ...message,
              target: out(message.target),
              ...('watcher' in message ? { watcher: out(message.watcher) } : {}),
            } as ToNode)
            return
          case 'down':
            post({ type: 'down', token: inner(message.token), reason: shortReason(message.reason) })
            return
          case 'child-started':
            post({ type: 'started', run: message.run })
            return
          case 'child-ended':
            post({ type: 'ended', run: message.run, reason: shortReason(message.reason) })
            return
        }
      },
      answer(askedBy, id, outcome) {
        const wire: ToNode = { type: 'answer', origin: inner(askedBy), id, outcome: shortOutcome(outcome) }
        const body = encoded(wire)
        if (typeof body === 'string') session.offer(body)
        else peer.answer(askedBy, id, { ok: false, error: encodeError(body) })
      },
      forget(askedBy, id) {
        const body = encoded({ type: 'forget', origin: askedBy, id })
        if (typeof body === 'string') session.offer(body)
      },
      start(path, run, spec) {
        let body: string | Error
        try {
          body = encoded({ type: 'start', path: out(path), run, spec: encodeSpec(spec) })
        } catch (thrown) {
          body = toError(thrown)
        }
        if (typeof body === 'string') {
          peer.away.set(run, path)
          session.post(body)
        } else events.refused(path, run, body)
      },
      stop: (run) => post({ type: 'stop', run }),
      kill(run, detail) {
        peer.away.delete(run)
        post({ type: 'kill', run, detail: detail.slice(0, MAX_TEXT) })
      },
      tree(deadlineMs) {
        const request = ++requests
        return new Promise((resolve) => {
          const timer = world.setTimer(deadlineMs, () => done([]))
          const done = (roots: readonly TreeNode[]): void => {
            timer.cancel()
            peer.trees.delete(request)
            resolve(roots)
          }
          peer.trees.set(request, done)
          // Half of it, so that what hangs there is shown as what hangs there.
          const body = encoded({ type: 'tree', request, deadlineMs: Math.floor(deadlineMs / 2) })
          if (typeof body !== 'string' || !session.up || !session.offer(body)) done([])
        })
      },
    }
    /** The kernel's own is small and plain. */
    function post(wire: ToNode): void {
      const body = encoded(wire)
      if (typeof body === 'string') session.post(body)
      else kernel.log.error({ report: 'unsendable', type: wire.type, reason: body.message }, 'a message was not sent')
    }
    return peer
  }

  /** Its JSON, or why it cannot be sent. */
  function encoded(wire: ToNode): string | Error {
    try {
      const body = encodeValue(wire)
      const bytes = body.length > most ? body.length : Buffer.byteLength(body)
      return bytes > most ? tooLarge(bytes, most) : body
    } catch (thrown) {
      return toError(thrown)
    }
  }

  // In ---------------------------------------------------------------------------------------------------------------

  function refuse(error: Error, node: string): void {
    kernel.counters.deadLetter()
    kernel.refused(error instanceof TroupeError ? `${error.code}: ${error.message}` : error.message, node, out('/'))
  }

  function receive(peer: State, body: unknown): void {
    try {
      take(peer, parseToNode(body))
    } catch (thrown) {
      refuse(toError(thrown), peer.name)
    }
  }

  function take(peer: State, wire: ToNode): void {
    switch (wire.type) {
      case 'user': {
        const ask = wire.ask && { origin: via(peer, wire.ask.origin), id: wire.ask.id }
        events.take(peer, {
          type: 'user',
          to: back(wire.to),
          message: wire.message,
          ...(ask === undefined ? {} : { ask }),
        })
        return
      }
      case 'answer':
        events.take(peer, wire)
        return
      case 'forget':
        events.take(peer, { ...wire, origin: via(peer, wire.origin) })
        return
      case 'watch':
        // The watcher's name is made one that no actor here can have: the hub alone tells it.
        events.take(peer, {
          ...wire,
          watcher: via(peer, wire.watcher),
          target: back(wire.target),
          token: via(peer, wire.token),
        })
        return
      case 'unwatch':
        events.take(peer, { ...wire, target: back(wire.target), token: via(peer, wire.token) })
        return
      case 'down':
        events.take(peer, { ...wire, watcher: '', path: '' })
        return
      case 'start':
        start(peer, wire)
        return
      case 'stop':
        events.take(peer, { type: 'stop-child', run: wire.run })
        return
      case 'kill':
        events.take(peer, { type: 'kill-child', run: wire.run, detail: wire.detail })
        return
      case 'started':
      case 'ended': {
        const path = peer.away.get(wire.run)
        if (path === undefined) return
        if (wire.type === 'ended') peer.away.delete(wire.run)
        events.take(peer, { ...wire, path })
        return
      }
      case 'tree':
        void events.guests(peer, wire.deadlineMs).then((roots) => answerTree(peer, wire.request, roots))
        return
      case 'guests':
        peer.trees.get(wire.request)?.(wire.roots.map((root) => inward(root, back)))
        return
    }
  }

  function start(peer: State, { path, run, spec }: Extract<ToNode, { type: 'start' }>): void {
    let wrong: Error | undefined
    try {
      const local = back(path)
      if (!local.startsWith('//')) throw returning(path)
      const decoded = checkChild(spec)
      if (checkSpec(local.slice(0, local.lastIndexOf('/')), decoded) !== resolvePath('/', local))
        throw badFrame('its path does not fit its id')
      const placement = decoded.placement
      const thread = typeof placement === 'object' ? placement.thread : undefined
      events.take(peer, { type: 'start-child', path: local, run, spec: decoded, thread: thread ?? kernel.thread })
    } catch (thrown) {
      wrong = toError(thrown)
    }
    if (wrong !== undefined)
      peer.post({ type: 'child-ended', run, reason: encodeReason({ kind: 'error', error: wrong }) })
  }

  // The tree ---------------------------------------------------------------------------------------------------------

  function answerTree(peer: State, request: number, roots: readonly TreeNode[]): void {
    const whole = roots.map((root) => outward(root, link.node, out))
    let body = encoded({ type: 'guests', request, roots: whole })
    if (typeof body !== 'string') body = encoded({ type: 'guests', request, roots: whole.map(withoutDetail) })
    if (typeof body === 'string') peer.session.offer(body)
  }

  return {
    of(node) {
      const session = isNodeName(node) ? sessions.with(node) : undefined
      return session === undefined ? undefined : peers.get(session.number)
    },
    byOrigin(origin) {
      const known = peers.get(Number(origin.slice(origin.indexOf('#') + 1).split(VIA, 1)[0]))
      return known !== undefined && origin.startsWith(known.origin) ? known : undefined
    },
    all: () => peers.values(),
    up: sessions.up,
    close: sessions.close,
    halt: sessions.halt,
  }
}

/** Another node's words, which mean something only with the session that they came through. */
function via(peer: Holder, words: string): string {
  return `${peer.origin}${VIA}${words}`
}

/** What stands behind the origin of a session. */
function inner(token: string): string {
  return token.slice(token.indexOf(VIA) + 1)
}

function tooLarge(bytes: number, most: number): TroupeError {
  return new TroupeError({
    code: 'message-too-large',
    message: `a message of ${bytes} bytes was to go to another node; the most is ${most}`,
    remedy: 'control traffic is small: send a name or a place, and let the receiver fetch the rest',
    permanent: true,
  })
}

function returning(path: string): TroupeError {
  return new TroupeError({
    code: 'bad-child-spec',
    message: 'a child cannot be placed back on the node whose name it bears',
    place: path,
    remedy: 'leave its placement out, or name a third node',
    permanent: true,
  })
}
