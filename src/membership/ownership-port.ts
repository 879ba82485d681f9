/** What goes into the machine of ownership.ts, and what comes out of it. */
import type { Assignment } from './assignment.js'
import type { LeaseRecord } from './lease.js'
import type { LeaseView } from './observer.js'
import type { Resource } from './port.js'

/** `resting`: it could not be started, or has ended, and is tried again later. */
export type UnitState = 'none' | 'starting' | 'running' | 'resting' | 'stopping'

export type How =
  /** Nobody had it, or nobody in particular was to have it next. */
  | 'free'
  /** It was released to us. */
  | 'handoff'
  /** Its holder is dead. */
  | 'takeover'
  /** The store had lost our lease. */
  | 'restored'

export type OwnershipEvent =
  | { readonly type: 'acquired'; readonly resource: Resource; readonly how: How; readonly from: string | null }
  /** `ms`: since the holder's last sign of life (takeover), or since its release was seen. */
  | { readonly type: 'running'; readonly resource: Resource; readonly how: How; readonly ms: number }
  /** `ms`: since the decision to give it away. */
  | { readonly type: 'released'; readonly resource: Resource; readonly to: string | null; readonly ms: number }
  | { readonly type: 'taken'; readonly resource: Resource; readonly by: string | null }
  | { readonly type: 'refused'; readonly resource: Resource; readonly write: 'acquire' | 'release' }
  | { readonly type: 'start-failed'; readonly resource: Resource; readonly attempt: number; readonly error: Error }
  /** It ran, and has ended without having been asked to. */
  | { readonly type: 'ended'; readonly resource: Resource; readonly error: Error }
  | { readonly type: 'silent'; readonly resource: Resource; readonly ms: number }
  | { readonly type: 'given-up'; readonly resource: Resource; readonly why: string }

export type Action =
  /** Revision 0: the key must not exist. */
  | {
      readonly type: 'acquire' | 'release'
      readonly resource: Resource
      readonly revision: number
      readonly record: LeaseRecord
    }
  | { readonly type: 'start'; readonly resource: Resource; readonly run: number }
  | { readonly type: 'stop'; readonly resource: Resource; readonly run: number; readonly deadlineMs: number }
  | { readonly type: 'tell'; readonly event: OwnershipEvent }

export type Outcome =
  /** The CAS was decided: a revision, or null where it was refused. */
  | { readonly type: 'written'; readonly resource: Resource; readonly revision: number | null }
  /** Nobody knows whether it was written. */
  | { readonly type: 'unknown'; readonly resource: Resource }
  | { readonly type: 'started'; readonly resource: Resource; readonly run: number }
  | { readonly type: 'start-failed'; readonly resource: Resource; readonly run: number; readonly error: Error }
  | { readonly type: 'ended'; readonly resource: Resource; readonly run: number; readonly error: Error }
  /** It is being stopped: all that it did is stored, and it does nothing more. */
  | { readonly type: 'closed'; readonly resource: Resource; readonly run: number }
  | { readonly type: 'stopped'; readonly resource: Resource; readonly run: number }
  | {
      readonly type: 'proof'
      readonly resource: Resource
      readonly run: number
      readonly beat: number
      readonly alive: boolean
    }

export interface DecideInput {
  readonly now: number
  /** In [0, 1), for jitter. */
  readonly random: number
  readonly desired: Assignment['desired']
  readonly lease: (resource: Resource) => LeaseView
  /** Whether another node could run it. */
  readonly others: (resource: Resource) => boolean
  /** This node drains or leaves. */
  readonly goesAway: boolean
  /** Most that a planned stop may take now. */
  readonly stopDeadline: number
}

export interface UnitView {
  readonly resource: Resource
  readonly unit: UnitState
  readonly run: number
  /** Attempts in a row that failed, or after which it ended before it had run for long. */
  readonly attempts: number
  readonly lastError?: string
}

export interface Ownership {
  decide(input: DecideInput): readonly Action[]
  outcome(outcome: Outcome, at: { readonly now: number; readonly random: number }): readonly Action[]
  /** What is believed of a lease, given what the watch shows: our own last write, if the watch is behind it. */
  believed(resource: Resource, seen: LeaseView, now: number): LeaseView
  isMine(view: LeaseView): boolean
  /** It gives no proof of life, or is to be given up: another should have it. */
  unfit(resource: Resource, now: number): boolean
  /** For the heartbeat: what this node holds or runs, with the beat of its last proof. */
  holds(beat: number): Readonly<Record<Resource, number>>
  running(): readonly { readonly resource: Resource; readonly run: number }[]
  /** Neither a unit nor a lease nor a write under way. */
  idle(): boolean
  /** Stops every unit; the leases are left to die. */
  abandon(deadlineMs: number): readonly Action[]
  units(): readonly UnitView[]
}
