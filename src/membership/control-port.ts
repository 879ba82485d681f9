/** The control of one node: what it needs, what it tells, what it can be asked. */
import type { Logger } from '../world/logger.js'
import type { World } from '../world/world.js'
import type { MemberRecord } from './member.js'
import type { Orders } from './observer.js'
import type { OwnershipEvent } from './ownership-port.js'
import type { KvPort, Resource, Units } from './port.js'
import type { MembershipSettings } from './settings.js'
import type { ControlView, WhyView } from './view.js'

export type ControlEvent =
  | OwnershipEvent
  | { readonly type: 'member-joined'; readonly node: string; readonly version: string }
  /** Dead: silent for a lease. */
  | { readonly type: 'member-lost'; readonly node: string; readonly silentMs: number }
  /** Gone in good order. */
  | { readonly type: 'member-left'; readonly node: string }
  /** Also once at the start. Which processors are to rest is in it. */
  | { readonly type: 'orders'; readonly orders: Orders }
  | { readonly type: 'drained' }
  /** No beat could be stored for a lease: others may take over. Units go on; storage fences. */
  | { readonly type: 'heartbeat-late'; readonly ms: number }
  | { readonly type: 'heartbeat-again' }
  /** Another process has our name: every unit is being stopped, and this control has ended. */
  | { readonly type: 'name-lost'; readonly error: Error }

export interface ControlInit {
  readonly kv: KvPort
  readonly units: Units
  readonly world: World
  readonly log: Logger
  /** `[A-Za-z0-9_-]{1,64}`. */
  readonly node: string
  /** Random, one a process: not one a control, so that a control that is started again keeps what the process holds. */
  readonly boot: string
  /** Of the package. */
  readonly version: string
  readonly protocol: number
  /** Default 1. */
  readonly weight?: number
  /** Everything that the pipeline has; the same on every node. */
  readonly resources: readonly Resource[]
  readonly settings?: Partial<MembershipSettings>
  readonly onEvent?: (event: ControlEvent) => void
  /** Small figures for the heartbeat. */
  readonly status?: () => NonNullable<MemberRecord['status']>
  /** For chaos: faults planted on purpose. `ignore-leases`: what runs here goes on whoever has taken its lease. */
  readonly planted?: readonly string[]
}

export interface Control {
  /**
   * Joins. Resolves when the node is a member and takes part.
   * @throws TroupeError `node-name-taken`, `node-version` (exit 2), `membership-timeout` when the store does not answer
   */
  start(): Promise<void>
  /** Gives everything away, a few at a time; `drained` is told, and stands in the view. */
  drain(): void
  /** Takes part again, unless an order says otherwise. */
  resume(): void
  /** Gives everything away at once, and goes: true if all of it was given away within the deadline. */
  leave(deadlineMs: number): Promise<boolean>
  /** Ends without a word: units go on, leases die. For a control that is about to be started again. */
  halt(): void
  view(): ControlView
  why(resource: Resource): WhyView | undefined
}
