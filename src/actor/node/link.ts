/**
 * The port between the kernel and whatever carries bytes from node to node, and what makes a system one of several.
 *
 * A link may lose, delay and repeat; it must not reorder what one node sends to another, nor hand over torn bytes. It
 * knows nothing of liveness: that is decided by the kernel, on the monotonic clock, from what arrives (sessions.ts).
 * Drivers: NATS core (src/wire/nats/node-transport.ts); simulated-network.ts for tests.
 */
import type { BehaviorRef } from '../actor.js'

export interface NodeLink {
  /** This node's name, `[A-Za-z0-9_-]{1,64}`, the only one of its kind among those that run. */
  readonly node: string
  /** Most bytes of one message, where that is less than `MAX_BYTES`. */
  readonly maxBytes?: number
  /**
   * To whoever listens under that name, if anyone does.
   * @throws when it is refused at once (not connected, too much under way, too large)
   */
  send(node: string, bytes: Uint8Array): void
  /** Called once, before anything is sent. The bytes are the receiver's to keep. Must not throw. */
  listen(received: (bytes: Uint8Array) => void): void
  close(): void
}

export interface NodeOptions {
  readonly link: NodeLink
  /**
   * What other nodes may start here, beside supervisors; each must have a check for its arguments. The rest is refused
   * with `behavior-not-registered`: names from the network load no modules.
   */
  readonly behaviors?: readonly BehaviorRef[]
  /** A node that another one has business with is heard of at least so often, ms; default 1,000. */
  readonly pingMs?: number
  /** A node that was silent for so long, ms, is down; default 5,000, at least twice `pingMs`. The same on all nodes. */
  readonly deadMs?: number
}

export const DEFAULT_PING_MS = 1_000
export const DEFAULT_DEAD_MS = 5_000
/** Most bytes of one message between nodes, with all that is around it. NATS's default limit is the same. */
export const MAX_BYTES = 1_048_576
/** Most nodes that one has business with. */
export const MAX_NODES = 1_024
