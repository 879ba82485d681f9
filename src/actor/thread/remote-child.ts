/** A child on another thread, as its parent's thread holds it. */
import type { ExitReason } from '../actor.js'
import type { Child } from '../cell.js'
import { actorGone, describeReason } from '../failure.js'
import { idOf } from '../path.js'

export interface RemoteChild extends Child {
  readonly state: 'starting' | 'running' | 'stopping' | 'ended'
  running(): void
  over(reason: ExitReason): void
}

export function remoteChild(
  path: string,
  thread: string,
  remote: { stop(): void; kill(detail: string): void },
): RemoteChild {
  let state: RemoteChild['state'] = 'starting'
  let startedUp!: () => void
  let failed!: (error: Error) => void
  let finish!: (reason: ExitReason) => void
  const started = new Promise<void>((resolve, reject) => {
    startedUp = resolve
    failed = reject
  })
  started.catch(() => {})
  const ended = new Promise<ExitReason>((resolve) => {
    finish = resolve
  })
  const child: RemoteChild = {
    path,
    started,
    ended,
    get state() {
      return state
    },
    running() {
      if (state === 'starting') state = 'running'
      startedUp()
    },
    over(reason) {
      if (state === 'ended') return
      state = 'ended'
      failed(reason.kind === 'error' ? reason.error : actorGone(path, `did not start (${describeReason(reason)})`))
      finish(reason)
    },
    stop() {
      if (state === 'stopping' || state === 'ended') return
      state = 'stopping'
      remote.stop()
    },
    kill(detail) {
      if (state === 'ended') return
      remote.kill(detail)
      child.over({ kind: 'killed', detail })
    },
    /** A stub: the host puts the thread's own node in its place. What stays a stub did not answer. */
    node: () => ({
      path,
      id: idOf(path),
      kind: 'actor',
      state: 'ended',
      thread,
      mailbox: 0,
      restarts: 0,
      upMs: 0,
      lastError: 'lost: its thread did not answer',
      children: [],
    }),
  }
  return child
}
