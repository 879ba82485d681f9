/**
 * A worker's side: what its kernel does not hold goes to the host; what the host says is done here.
 *
 * Where an actor lives is the host's knowledge alone, so messages between two workers pass through the host.
 */
import { toError } from '../../world/error.js'
import type { ChildSpec, ExitReason, TreeNode } from '../actor.js'
import { Asked, arrived } from '../asks.js'
import type { Cell, Child } from '../cell.js'
import type { Elsewhere } from '../elsewhere.js'
import { decodeReason, encodeReason, linkFull } from '../failure.js'
import type { Kernel } from '../kernel.js'
import { type Batch, createLink } from './link.js'
import { decodeOutcome, encodeOutcome } from './outcome.js'
import { type RemoteChild, remoteChild } from './remote-child.js'
import type { ToHost } from './to-host.js'
import type { ToThread } from './to-thread.js'

export interface Uplink extends Elsewhere {
  receive(batch: Batch<ToThread>): void
  log(level: 'debug' | 'info' | 'warn' | 'error', fields: object, message: string): void
}

export function createUplink(kernel: Kernel, send: (batch: Batch<ToHost>) => void): Uplink {
  const link = createLink<ToHost>(kernel.world, { send, unsendable })
  /** Children of our actors on other threads, by our number. */
  const remote = new Map<number, RemoteChild>()
  /** Actors of ours whose parents are elsewhere: path → cell and the host's number. */
  const roots = new Map<string, { readonly cell: Cell; readonly run: number }>()
  let nextRun = 1

  function unsendable(message: ToHost, error: Error): void {
    if (message.type === 'user') {
      const { ask, to } = message
      kernel.log.warn({ report: 'unsendable', to, reason: error.message }, 'a message cannot be cloned')
      kernel.deadLetter(to, ask === undefined ? undefined : new Asked(undefined, ask.origin, ask.id), error)
    } else if (message.type === 'answer') link.post({ ...message, outcome: encodeOutcome({ ok: false, error }) })
    else if (message.type === 'start-child') remote.get(message.run)?.over({ kind: 'error', error })
    else if (message.type === 'tree') link.post({ ...message, roots: message.roots.map(withoutDetail) })
    else if (message.type !== 'log') throw error
  }

  function start(path: string, run: number, spec: ChildSpec): void {
    const ended = (reason: ExitReason): void => {
      roots.delete(path)
      link.post({ type: 'ended', path, run, reason: encodeReason(reason) })
    }
    let cell: Cell
    try {
      cell = kernel.startHere(path, spec)
    } catch (thrown) {
      link.post({ type: 'ended', path, run, reason: encodeReason({ kind: 'error', error: toError(thrown) }) })
      return
    }
    roots.set(path, { cell, run })
    cell.started.then(
      () => link.post({ type: 'started', path, run }),
      () => {},
    )
    void cell.ended.then(ended)
  }

  function root(path: string, run: number): Cell | undefined {
    const found = roots.get(path)
    return found?.run === run ? found.cell : undefined
  }

  function take(message: ToThread): void {
    switch (message.type) {
      case 'user': {
        kernel.deliver(message.to, arrived(message.message, message.ask, message.from))
        return
      }
      case 'answer':
        kernel.settle(message.id, decodeOutcome(message.outcome))
        return
      case 'watch': {
        const { watcher, target, token } = message
        const cell = kernel.cells.get(target)
        if (cell !== undefined) cell.watchers.set(token, watcher)
        else uplink.down(watcher, token, { path: target, reason: { kind: 'lost', detail: 'no such actor runs' } })
        return
      }
      case 'unwatch':
        kernel.cells.get(message.target)?.watchers.delete(message.token)
        return
      case 'down':
        kernel.downHere(message.watcher, message.token, { path: message.path, reason: decodeReason(message.reason) })
        return
      case 'start':
        start(message.path, message.run, message.spec)
        return
      case 'stop':
        root(message.path, message.run)?.stop()
        return
      case 'kill':
        root(message.path, message.run)?.kill(message.detail)
        return
      case 'child-started':
        remote.get(message.run)?.running()
        return
      case 'child-ended': {
        remote.get(message.run)?.over(decodeReason(message.reason))
        remote.delete(message.run)
        return
      }
      case 'tree':
        link.post({
          type: 'tree',
          request: message.request,
          roots: [...roots.values()].map((it) => it.cell.node()),
        })
        return
      case 'ping':
        link.post({ type: 'pong', n: message.n })
        return
    }
  }

  const uplink: Uplink = {
    receive(batch) {
      link.received(batch)
      for (const message of batch.messages) take(message)
    },
    send(to, message) {
      const asked = message instanceof Asked ? message : undefined
      const wire: ToHost =
        asked === undefined
          ? { type: 'user', to, message }
          : { type: 'user', to, message: asked.message, ask: { origin: asked.origin, id: asked.id } }
      if (link.offer(wire)) return true
      kernel.deadLetter(to, message, linkFull(to, 'thread', 'main'))
      return false
    },
    answer(origin, id, outcome) {
      link.post({ type: 'answer', origin, id, outcome: encodeOutcome(outcome) })
    },
    forget(origin, id) {
      link.post({ type: 'forget', origin, id })
    },
    watch(watcher, target, token) {
      link.post({ type: 'watch', watcher, target, token })
    },
    unwatch(target, token) {
      link.post({ type: 'unwatch', target, token })
    },
    down(watcher, token, down) {
      link.post({ type: 'down', watcher, token, path: down.path, reason: encodeReason(down.reason) })
    },
    startChild(path, spec, thread): Child {
      const run = nextRun++
      const child = remoteChild(path, thread, {
        stop: () => link.post({ type: 'stop-child', run }),
        kill: (detail) => link.post({ type: 'kill-child', run, detail }),
      })
      remote.set(run, child)
      link.post({ type: 'start-child', path, run, spec, thread })
      return child
    },
    log(level, fields, message) {
      link.post({ type: 'log', level, fields, message })
    },
  }
  return uplink
}

function withoutDetail(node: TreeNode): TreeNode {
  const { detail: _detail, ...rest } = node
  return { ...rest, children: node.children.map(withoutDetail) }
}
