/**
 * A network under the simulated World: links that delay, lose and repeat, and can be cut.
 *
 * Keeps the order of what one node sends to another, as a link must; everything else is chance under the seed. Bytes are
 * copied, as they are between processes.
 */
import type { World } from '../../world/world.js'
import type { NodeLink } from './link.js'

export interface SimulatedNetwork {
  /** The link of a node; a later one of the same name takes its place, as a restarted process does. */
  link(node: string): NodeLink
  /** Nothing gets through between the two, in one direction or both. */
  cut(from: string, to: string): void
  heal(): void
  /** Share of the messages that are lost, 0 to 1; a tenth of it is delivered twice. */
  lossy(share: number): void
  readonly sent: number
  readonly lost: number
}

export function createSimulatedNetwork(world: World, maxDelayMs = 5): SimulatedNetwork {
  const receivers = new Map<string, (bytes: Uint8Array) => void>()
  const cuts = new Set<string>()
  const last = new Map<string, number>()
  let loss = 0
  let sent = 0
  let lost = 0

  function deliver(from: string, to: string, bytes: Uint8Array): void {
    const way = `${from}>${to}`
    // A step that no rounding can swallow keeps the second behind the first.
    const due = Math.max(world.monotonic() + world.random() * maxDelayMs, (last.get(way) ?? 0) + 0.001)
    last.set(way, due)
    world.setTimer(due - world.monotonic(), () => {
      if (cuts.has(way)) lost++
      else receivers.get(to)?.(bytes)
    })
  }

  return {
    link(node) {
      let mine: ((bytes: Uint8Array) => void) | undefined
      return {
        node,
        send(to, bytes) {
          // A link that was replaced belongs to a process that is dead.
          if (mine === undefined || receivers.get(node) !== mine) return
          sent++
          if (cuts.has(`${node}>${to}`) || world.random() < loss) {
            lost++
            return
          }
          deliver(node, to, bytes.slice())
          if (world.random() < loss / 10) deliver(node, to, bytes.slice())
        },
        listen(received) {
          mine = received
          receivers.set(node, received)
        },
        close() {
          if (receivers.get(node) === mine) receivers.delete(node)
          mine = undefined
        },
      }
    },
    cut: (from, to) => void cuts.add(`${from}>${to}`),
    heal: () => cuts.clear(),
    lossy(share) {
      loss = share
    },
    get sent() {
      return sent
    },
    get lost() {
      return lost
    },
  }
}
