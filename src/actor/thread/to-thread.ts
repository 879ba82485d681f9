/** The protocol between threads, host → thread. Batches of these are posted; user messages are cloned as they are. */
import type { ChildSpec } from '../actor.js'
import type { WireError, WireReason } from '../failure.js'
import type { NodeIdentity } from '../kernel.js'

export interface Question {
  /** The asker's thread. */
  readonly origin: string
  readonly id: number
}

export type WireOutcome =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly error: WireError }

export type ToThread =
  | {
      readonly type: 'user'
      readonly to: string
      readonly message: unknown
      readonly ask?: Question
      /** It comes from another node, through this session: check it first. */
      readonly from?: { readonly node: string; readonly origin: string }
    }
  | { readonly type: 'answer'; readonly id: number; readonly outcome: WireOutcome }
  | { readonly type: 'watch'; readonly watcher: string; readonly target: string; readonly token: string }
  | { readonly type: 'unwatch'; readonly target: string; readonly token: string }
  | {
      readonly type: 'down'
      readonly watcher: string
      readonly token: string
      readonly path: string
      readonly reason: WireReason
    }
  /** Start an actor on this thread. Answered by `started` or `ended`. */
  | { readonly type: 'start'; readonly path: string; readonly run: number; readonly spec: ChildSpec }
  | { readonly type: 'stop'; readonly path: string; readonly run: number }
  | { readonly type: 'kill'; readonly path: string; readonly run: number; readonly detail: string }
  /** What became of a child that an actor of this thread has on another one. */
  | { readonly type: 'child-started'; readonly run: number }
  | { readonly type: 'child-ended'; readonly run: number; readonly reason: WireReason }
  | { readonly type: 'tree'; readonly request: number }
  | { readonly type: 'ping'; readonly n: number }

/** What a worker thread is born with. */
export interface ThreadBirth {
  readonly thread: string
  readonly origin: string
  readonly counters: SharedArrayBuffer
  readonly identity?: NodeIdentity
}
