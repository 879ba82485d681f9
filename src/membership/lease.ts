/**
 * The lease of a resource: who holds it, or who gave it away to whom. Written at acquisition and release only, each time
 * by CAS; in between the holder's heartbeat renews it.
 *
 * A lease saves effort and keeps order; what makes a stale holder harmless is the fence in storage.
 */
import { z } from 'zod'
import { decodeRecord, type Read } from './member.js'

export interface LeaseRecord {
  readonly node: string
  readonly boot: string
  /** Acquisitions of this resource so far. Not the term: that lives in the fence alone. */
  readonly n: number
  readonly state: 'held' | 'released'
  /** Released in favour of this node. */
  readonly to?: string
  /** Whose it was before that node went away: it gets it back in a rolling upgrade. */
  readonly home?: string
  /** Nodes that could not keep it running since it last ran well. */
  readonly refused?: readonly string[]
}

const name = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/)

const lease = z.object({
  node: name,
  boot: name,
  n: z.int().min(0),
  state: z.enum(['held', 'released']),
  to: name.optional(),
  home: name.optional(),
  refused: z.array(name).max(1_000).optional(),
})

export function decodeLease(value: Uint8Array): Read<LeaseRecord> {
  return decodeRecord<LeaseRecord>(lease, value)
}

export interface Self {
  readonly node: string
  readonly boot: string
}

/** The record of a taker. `home`: the node that went away and may come back for it. */
export function acquiredBy(self: Self, before: LeaseRecord | null, home: string | undefined): LeaseRecord {
  const refused = before?.refused ?? []
  return {
    node: self.node,
    boot: self.boot,
    n: (before?.n ?? 0) + 1,
    state: 'held',
    ...(home === undefined || home === self.node ? {} : { home }),
    ...(refused.length === 0 ? {} : { refused }),
  }
}

export interface Release {
  readonly to: string | null
  /** The holder goes away (drains, leaves) and may come back. */
  readonly goesAway: boolean
  /** It ran well here: what others could not do before does not count any more. */
  readonly ranWell: boolean
  /** It could not be kept running here. */
  readonly failed: boolean
}

export function releasedBy(held: LeaseRecord, release: Release): LeaseRecord {
  const before = release.ranWell ? [] : (held.refused ?? [])
  const refused = release.failed ? [...before.filter((node) => node !== held.node), held.node] : before
  const home = release.goesAway ? (held.home ?? held.node) : undefined
  return {
    node: held.node,
    boot: held.boot,
    n: held.n,
    state: 'released',
    ...(release.to === null ? {} : { to: release.to }),
    ...(home === undefined ? {} : { home }),
    ...(refused.length === 0 ? {} : { refused }),
  }
}
