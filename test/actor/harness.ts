/** A system for one test, with the reports that it made; and waiting for a condition instead of sleeping. */
import type { ActorSystem, SupervisorArgs } from '../../src/actor/actor.js'
import type { NodeLink, NodeOptions } from '../../src/actor/node/link.js'
import { createSystem } from '../../src/actor/system.js'
import type { Logger } from '../../src/world/logger.js'
import { realWorld } from '../../src/world/real.js'

export interface Bench {
  readonly system: ActorSystem
  readonly records: { readonly level: string; readonly fields: Record<string, unknown>; readonly message: string }[]
}

/** Links in this process: what one node sends arrives in order, in a later turn, as bytes of its own. */
export function loopback(): (node: string) => NodeLink {
  const receivers = new Map<string, (bytes: Uint8Array) => void>()
  return (node) => ({
    node,
    send(to, bytes) {
      const copy = bytes.slice()
      setImmediate(() => receivers.get(to)?.(copy))
    },
    listen: (received) => void receivers.set(node, received),
    close: () => void receivers.delete(node),
  })
}

export function bench(threadHeapMb = 64, node?: NodeOptions): Bench {
  const records: Bench['records'] = []
  const at =
    (level: string) =>
    (fields: object, message: string): void => {
      records.push({ level, fields: fields as Record<string, unknown>, message })
    }
  const log: Logger = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
  return {
    system: createSystem({ world: realWorld, log, threadHeapMb, ...(node === undefined ? {} : { node }) }),
    records,
  }
}

/** Back-off that a test does not feel. */
export const quick: Pick<SupervisorArgs, 'backoff' | 'intensity'> = {
  backoff: { initialMs: 1, maxMs: 5 },
  intensity: { restarts: 5, periodMs: 30_000 },
}

/** Waits until `check` gives something other than undefined or false; fails after `deadlineMs`. */
export async function until<T>(
  check: () => T | undefined | false | Promise<T | undefined | false>,
  deadlineMs = 10_000,
): Promise<T> {
  const end = performance.now() + deadlineMs
  for (;;) {
    const value = await check()
    if (value !== undefined && value !== false) return value
    if (performance.now() > end) throw new Error(`condition not met within ${deadlineMs} ms: ${check}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
