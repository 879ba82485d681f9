/**
 * Whether this process may join: nobody else lives under its name, and everybody who lives speaks its protocol.
 *
 * Who lives shows by moving, twice: one move may be the last write of a process that was killed a moment ago. A record that
 * stands still for a lease, by our own clock, is of a dead one. (Should it wake later, the CAS of its next beat tells it.)
 */
import { TroupeError } from '../world/error.js'
import { sleep } from '../world/sleep.js'
import type { World } from '../world/world.js'
import type { Self } from './lease.js'
import type { MemberView, Observer } from './observer.js'

export interface JoinInit {
  readonly self: Self
  readonly world: World
  readonly observer: Observer
  readonly protocol: number
  readonly lease: number
  /** False once the node is to end. */
  readonly wanted: () => boolean
}

/** Moves of a record that show a living process. */
const MOVES = 2

/**
 * Waits, at most two leases, until it is known. Gives the revision of the record to be replaced (0: there is none).
 * @throws TroupeError `node-name-taken`, `node-version` (exit code 2)
 */
export async function mayJoin(init: JoinInit): Promise<number> {
  const { self, world, observer, protocol, lease } = init
  const seen = new Map<string, { revision: number; moves: number; at: number }>()

  /** Null: not known yet. */
  function alive(node: string, view: MemberView, now: number): boolean | null {
    const before = seen.get(node)
    if (before === undefined || before.revision !== view.revision)
      seen.set(node, { revision: view.revision, moves: before === undefined ? 0 : before.moves + 1, at: now })
    const { moves, at } = seen.get(node)!
    if (moves >= MOVES) return true
    return now - at >= lease ? false : null
  }

  for (;;) {
    const now = world.monotonic()
    let open = false
    for (const [node, view] of observer.members(now)) {
      const { boot, protocol: its } = view.record
      const suspect = node === self.node ? boot !== self.boot : its !== protocol
      if (!suspect) continue
      const lives = alive(node, view, now)
      if (lives === true) throw node === self.node ? nameTaken(node) : otherProtocol(node, view, protocol)
      if (lives === null) open = true
    }
    if (!open || !init.wanted()) return observer.member(self.node, now)?.revision ?? 0
    await sleep(world, lease / 10)
  }
}

export function nameTaken(node: string): TroupeError {
  return new TroupeError({
    code: 'node-name-taken',
    message: `another process is the node '${node}' of this pipeline`,
    place: `node ${node}`,
    remedy: 'give each node a name of its own, or stop the other one first',
    exitCode: 2,
    permanent: true,
  })
}

function otherProtocol(node: string, view: MemberView, protocol: number): TroupeError {
  return new TroupeError({
    code: 'node-version',
    message: `node '${node}' (version ${view.record.version}) speaks protocol ${view.record.protocol}, this one ${protocol}`,
    place: `node ${node}`,
    remedy: 'stop all nodes of the older protocol before the first of the newer one starts',
    exitCode: 2,
    permanent: true,
  })
}
