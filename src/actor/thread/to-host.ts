/** The protocol between threads, thread → host. */
import type { ChildSpec, TreeNode } from '../actor.js'
import type { WireReason } from '../failure.js'
import type { Question, WireOutcome } from './to-thread.js'

export type ToHost =
  /** A message to an actor that this thread does not hold. */
  | { readonly type: 'user'; readonly to: string; readonly message: unknown; readonly ask?: Question }
  | { readonly type: 'answer'; readonly origin: string; readonly id: number; readonly outcome: WireOutcome }
  /** A question of this thread, or of one that it passed on, has timed out. */
  | { readonly type: 'forget'; readonly origin: string; readonly id: number }
  | { readonly type: 'watch'; readonly watcher: string; readonly target: string; readonly token: string }
  | { readonly type: 'unwatch'; readonly target: string; readonly token: string }
  | {
      readonly type: 'down'
      readonly watcher: string
      readonly token: string
      readonly path: string
      readonly reason: WireReason
    }
  | { readonly type: 'started'; readonly path: string; readonly run: number }
  | { readonly type: 'ended'; readonly path: string; readonly run: number; readonly reason: WireReason }
  /** An actor of this thread wants a child on another one. `run` is this thread's number for it. */
  | {
      readonly type: 'start-child'
      readonly path: string
      readonly run: number
      readonly spec: ChildSpec
      readonly thread: string
    }
  | { readonly type: 'stop-child'; readonly run: number }
  | { readonly type: 'kill-child'; readonly run: number; readonly detail: string }
  | { readonly type: 'tree'; readonly request: number; readonly roots: readonly TreeNode[] }
  | { readonly type: 'pong'; readonly n: number }
  /** For the host's log: workers own no file descriptors. */
  | {
      readonly type: 'log'
      readonly level: 'debug' | 'info' | 'warn' | 'error'
      readonly fields: object
      readonly message: string
    }
