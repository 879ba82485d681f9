/**
 * What one node sees of the others: who lives, which leases hold, which orders are in force. A state machine without I/O;
 * it is told each entry of the watch, with the time on this node's own monotonic clock.
 *
 * A member is dead when its record has not moved for `lease` ms; a lease, when its holder is dead, gone or another
 * process, or when the proof of life of this resource has not moved for `lease` ms. Nobody's wall clock is read.
 *
 * Silence counts only while we can hear. If nothing at all has come through the watch for half a lease (our own beats
 * come through it too), it is we who are deaf: paused, or cut off, or the store is down. The clock that judges others, the
 * *heard* clock, stands still until the next entry. So an outage of the store kills nobody, nor does our own sleep.
 */
import { named } from './keys.js'
import { decodeLease, type LeaseRecord } from './lease.js'
import { decodeMember, type MemberRecord } from './member.js'
import type { KvEntry, Resource } from './port.js'

export interface MemberView {
  readonly record: MemberRecord
  readonly revision: number
  readonly live: boolean
  /** ms since its record moved, by the heard clock. */
  readonly silent: number
}

export type Death = 'no-member' | 'member-silent' | 'other-boot' | 'no-proof' | 'unreadable'

export type LeaseView =
  /** Nobody has it: never, or its key is gone. */
  | { readonly state: 'free'; readonly record: null; readonly revision: number }
  | { readonly state: 'released'; readonly record: LeaseRecord; readonly revision: number }
  | { readonly state: 'held'; readonly record: LeaseRecord; readonly revision: number; readonly silent: number }
  | {
      readonly state: 'dead'
      readonly why: Death
      readonly record: LeaseRecord | null
      readonly revision: number
      readonly silent: number
    }
  /** Of a form that only a newer version knows: not ours to judge. */
  | { readonly state: 'foreign'; readonly record: null; readonly revision: number }

export interface Orders {
  readonly rolling: boolean
  readonly drain: ReadonlySet<string>
  readonly pausePipeline: boolean
  readonly pausedProcessors: ReadonlySet<string>
}

/** Something in the store that could not be read. */
export interface Problem {
  readonly key: string
  readonly revision: number
  readonly problem: string
}

export interface Observer {
  /** An entry of the watch. */
  heard(entry: KvEntry, now: number): Problem | undefined
  members(now: number): ReadonlyMap<string, MemberView>
  member(node: string, now: number): MemberView | undefined
  lease(resource: Resource, now: number): LeaseView
  orders(): Orders
  /** ms since anything came through the watch, by the monotonic clock. */
  deafFor(now: number): number
}

interface Seen {
  readonly record: MemberRecord
  readonly revision: number
  readonly movedAt: number
  /** When each proof moved. */
  readonly proofs: ReadonlyMap<Resource, { readonly beat: number; readonly at: number }>
}

type SeenLease =
  | { readonly kind: 'record'; readonly record: LeaseRecord; readonly revision: number; readonly at: number }
  | { readonly kind: 'newer' | 'malformed' | 'gone'; readonly revision: number; readonly at: number }

/** `deafAfter`: ms of silence after which we are deaf; default half a lease. Infinity: for an onlooker that beats no heart. */
export function createObserver(lease: number, deafAfter = lease / 2): Observer {
  const members = new Map<string, Seen>()
  const leases = new Map<Resource, SeenLease>()
  const drain = new Set<string>()
  const processors = new Set<string>()
  let rolling = false
  let pausePipeline = false
  /** What was made of the entries for those who ask, often several times between two of them. */
  let ordersNow: Orders | null = null
  let membersNow: { readonly at: number; readonly views: ReadonlyMap<string, MemberView> } | null = null
  /** The heard clock at `heardAt` of the monotonic one. */
  let clock = 0
  let heardAt: number | undefined

  function heardClock(now: number): number {
    if (heardAt === undefined) return 0
    return clock + Math.min(Math.max(0, now - heardAt), deafAfter)
  }

  function toggle(set: Set<string>, key: string, on: boolean): void {
    if (on) set.add(key)
    else set.delete(key)
  }

  function memberHeard(node: string, entry: KvEntry, at: number): Problem | undefined {
    if (entry.value === null) {
      members.delete(node)
      return undefined
    }
    const before = members.get(node)
    if (before?.revision === entry.revision) return undefined
    const read = decodeMember(node, entry.value)
    if (read.kind !== 'record') return problemOf(entry, read.problem)
    const { record } = read
    const same = before?.record.boot === record.boot ? before : undefined
    const proofs = new Map<Resource, { beat: number; at: number }>()
    for (const [resource, beat] of Object.entries(record.holds)) {
      const proof = same?.proofs.get(resource)
      proofs.set(resource, proof?.beat === beat ? proof : { beat, at })
    }
    members.set(node, { record, revision: entry.revision, movedAt: at, proofs })
    return undefined
  }

  function leaseHeard(resource: Resource, entry: KvEntry, at: number): Problem | undefined {
    const { revision } = entry
    if (leases.get(resource)?.revision === revision) return undefined
    if (entry.value === null) {
      leases.set(resource, { kind: 'gone', revision, at })
      return undefined
    }
    const read = decodeLease(entry.value)
    if (read.kind === 'record') {
      leases.set(resource, { kind: 'record', record: read.record, revision, at })
      return undefined
    }
    leases.set(resource, { kind: read.kind, revision, at })
    return problemOf(entry, read.problem)
  }

  function viewOf(seen: Seen, at: number): MemberView {
    const silent = at - seen.movedAt
    return { record: seen.record, revision: seen.revision, live: silent < lease, silent }
  }

  function judge(resource: Resource, record: LeaseRecord, acquiredAt: number, at: number): [Death | null, number] {
    const holder = members.get(record.node)
    if (holder === undefined) return ['no-member', 0]
    if (holder.record.boot !== record.boot) return ['other-boot', 0]
    const silent = at - holder.movedAt
    if (silent >= lease) return ['member-silent', silent]
    // An acquisition is a proof of its own: the beat that names the resource comes after it.
    const proof = at - Math.max(acquiredAt, holder.proofs.get(resource)?.at ?? 0)
    return [proof >= lease ? 'no-proof' : null, Math.max(silent, proof)]
  }

  return {
    heard(entry, now) {
      clock = heardClock(now)
      heardAt = now
      ordersNow = null
      membersNow = null
      const what = named(entry.key)
      const on = entry.value !== null
      switch (what?.kind) {
        case 'member':
          return memberHeard(what.node, entry, clock)
        case 'lease':
          return leaseHeard(what.resource, entry, clock)
        case 'rolling':
          rolling = on
          return undefined
        case 'pause-pipeline':
          pausePipeline = on
          return undefined
        case 'drain':
          toggle(drain, what.node, on)
          return undefined
        case 'pause-processor':
          toggle(processors, what.processor, on)
          return undefined
        default:
          return undefined
      }
    },
    members(now) {
      const at = heardClock(now)
      if (membersNow?.at !== at)
        membersNow = { at, views: new Map([...members].sort(byName).map(([node, seen]) => [node, viewOf(seen, at)])) }
      return membersNow.views
    },
    member(node, now) {
      const seen = members.get(node)
      return seen && viewOf(seen, heardClock(now))
    },
    lease(resource, now) {
      const seen = leases.get(resource)
      if (seen === undefined) return { state: 'free', record: null, revision: 0 }
      const { revision } = seen
      if (seen.kind !== 'record') return unheld(seen.kind, revision)
      const { record } = seen
      if (record.state === 'released') return { state: 'released', record, revision }
      const [why, silent] = judge(resource, record, seen.at, heardClock(now))
      return why === null
        ? { state: 'held', record, revision, silent }
        : { state: 'dead', why, record, revision, silent }
    },
    orders() {
      ordersNow ??= { rolling, drain: new Set(drain), pausePipeline, pausedProcessors: new Set(processors) }
      return ordersNow
    },
    deafFor: (now) => (heardAt === undefined ? 0 : Math.max(0, now - heardAt)),
  }
}

function unheld(kind: 'gone' | 'newer' | 'malformed', revision: number): LeaseView {
  if (kind === 'gone') return { state: 'free', record: null, revision }
  if (kind === 'newer') return { state: 'foreign', record: null, revision }
  return { state: 'dead', why: 'unreadable', record: null, revision, silent: 0 }
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function problemOf(entry: KvEntry, problem: string): Problem {
  return { key: entry.key, revision: entry.revision, problem }
}
