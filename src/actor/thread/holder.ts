/** Whatever holds actors that are not the host's own: a worker thread, or the session with another node. */
import type { Child } from '../cell.js'
import type { Question, ToThread, WireOutcome } from './to-thread.js'

export interface Holder {
  readonly kind: 'thread' | 'node'
  readonly name: string
  readonly origin: string
  /** Questions on their way to it or unanswered by it: `origin/id` → question. */
  readonly questions: Map<string, Question>
  /** Children that its actors have elsewhere, by its number. */
  readonly children: Map<number, Child>
  dead: boolean
  /** A user message; false when the way to it is full. */
  offer(message: Extract<ToThread, { readonly type: 'user' }>): boolean
  post(
    message: Extract<ToThread, { readonly type: 'watch' | 'unwatch' | 'down' | 'child-started' | 'child-ended' }>,
  ): void
  /** To a question that one of its actors has put. */
  answer(origin: string, id: number, outcome: WireOutcome): void
  /** Whoever put this question to one of its actors waits no longer. */
  forget(origin: string, id: number): void
}
