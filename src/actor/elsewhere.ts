/**
 * What a kernel needs of the other threads. On the host that is the hub, which knows where everything runs; on a worker
 * the uplink, which asks the host.
 */
import type { ChildSpec, Down } from './actor.js'
import type { Outcome } from './asks.js'
import type { Child } from './cell.js'

export interface Elsewhere {
  /** A message (or an `Asked`) to a path that this thread does not hold. False when it was refused at once. */
  send(to: string, message: unknown): boolean
  /** The answer to a question that came from another thread. */
  answer(origin: string, id: number, outcome: Outcome): void
  /** A question of this thread has timed out; no record of it need be kept. */
  forget(origin: string, id: number): void
  watch(watcher: string, target: string, token: string): void
  unwatch(target: string, token: string): void
  down(watcher: string, token: string, down: Down): void
  startChild(path: string, spec: ChildSpec, thread: string): Child
}
