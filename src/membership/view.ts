/** What a node tells of the cluster: its part of `troupe status` and `troupe why`. Plain data, cloneable. */
import type { Assignment, Hold, Why } from './assignment.js'
import type { MembershipCounters } from './counters.js'
import type { Explanation } from './explanation.js'
import type { MemberRecord, MemberState } from './member.js'
import type { Death, LeaseView, Observer } from './observer.js'
import type { UnitView } from './ownership-port.js'
import type { Resource } from './port.js'

export interface MemberLine {
  readonly node: string
  readonly boot: string
  readonly self: boolean
  readonly live: boolean
  readonly state: MemberState
  readonly version: string
  readonly protocol: number
  readonly weight: number
  readonly startedAt: number
  readonly beat: number
  readonly silentMs: number
  readonly holds: readonly Resource[]
  readonly status: NonNullable<MemberRecord['status']>
}

export interface LeaseLine {
  readonly resource: Resource
  readonly state: LeaseView['state']
  readonly node: string | null
  readonly boot: string | null
  readonly n: number
  readonly revision: number
  readonly silentMs: number
  readonly to: string | null
  readonly home: string | null
  readonly refused: readonly string[]
  readonly death: Death | null
  readonly desired: string | null
  readonly why: Why | null
}

/** Something that happened; `at` by the wall clock, a label. */
export interface EventLine {
  readonly at: number
  readonly type: string
  readonly resource: Resource | null
  readonly text: string
}

export interface ControlView {
  readonly node: string
  readonly boot: string
  readonly state: MemberState
  /** It drains, and holds nothing any more. */
  readonly drained: boolean
  /** The first look at the store is complete. */
  readonly ready: boolean
  readonly members: readonly MemberLine[]
  readonly leases: readonly LeaseLine[]
  readonly units: readonly UnitView[]
  readonly hold: Hold | null
  /** Moves away from a live holder that are asked for now. */
  readonly moves: number
  readonly orders: {
    readonly rolling: boolean
    readonly drain: readonly string[]
    readonly pausePipeline: boolean
    readonly pausedProcessors: readonly string[]
  }
  readonly heartbeat: { readonly beat: number; readonly revision: number; readonly lateMs: number }
  /** ms since anything came through the watch. */
  readonly deafMs: number
  readonly counters: MembershipCounters
  readonly events: readonly EventLine[]
}

/** For `troupe why RESOURCE`. */
export interface WhyView {
  readonly explanation: Explanation
  readonly lease: LeaseLine
  readonly unit: UnitView | null
  readonly events: readonly EventLine[]
}

export function memberLines(observer: Observer, now: number, boot: string): readonly MemberLine[] {
  return [...observer.members(now).values()].map(({ record, live, silent }) => ({
    node: record.node,
    boot: record.boot,
    self: record.boot === boot,
    live,
    state: record.state,
    version: record.version,
    protocol: record.protocol,
    weight: record.weight,
    startedAt: record.startedAt,
    beat: record.beat,
    silentMs: Math.round(silent),
    holds: Object.keys(record.holds).sort(),
    status: record.status ?? {},
  }))
}

export function leaseLine(resource: Resource, view: LeaseView, assignment: Assignment | undefined): LeaseLine {
  const { record, state, revision } = view
  const placement = assignment?.desired.get(resource)
  return {
    resource,
    state,
    node: record?.node ?? null,
    boot: record?.boot ?? null,
    n: record?.n ?? 0,
    revision,
    silentMs: view.state === 'held' || view.state === 'dead' ? Math.round(view.silent) : 0,
    to: record?.to ?? null,
    home: record?.home ?? null,
    refused: record?.refused ?? [],
    death: view.state === 'dead' ? view.why : null,
    desired: placement?.node ?? null,
    why: placement?.why ?? null,
  }
}
