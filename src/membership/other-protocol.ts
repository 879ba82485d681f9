/**
 * Whether a node of another protocol lives: asked before a new protocol is written into the log, when nobody has joined yet.
 * Nodes are watched for at most two leases, on our monotonic clock, as when a node joins.
 */
import type { Logger } from '../world/logger.js'
import type { World } from '../world/world.js'
import { within } from './deadline.js'
import { mayJoin } from './join.js'
import { createObserver } from './observer.js'
import type { KvPort } from './port.js'
import { createWatching } from './watching.js'

export interface OtherProtocolInit {
  readonly kv: KvPort
  readonly world: World
  readonly log: Logger
  /** Ours. */
  readonly protocol: number
  /** ms */
  readonly lease: number
}

/** ms for the first look. */
const lookWithin = 30_000
/** Nobody's name: whoever asks is no member. */
const nobody = { node: '', boot: '' }

/** Resolves where none lives. @throws TroupeError `node-version` (exit code 2) */
export async function mustBeAlone({ kv, world, log, protocol, lease }: OtherProtocolInit): Promise<void> {
  const observer = createObserver(lease, Number.POSITIVE_INFINITY)
  const watching = createWatching({
    kv,
    world,
    log,
    node: 'start',
    retry: lease / 10,
    entry: (entry) => void observer.heard(entry, world.monotonic()),
  })
  try {
    await within(world, lookWithin, 'the first look at the members', watching.start())
    await mayJoin({ self: nobody, world, observer, protocol, lease, wanted: () => true })
  } finally {
    watching.stop()
  }
}
