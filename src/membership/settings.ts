/** The numbers of membership, with their defaults. All times in ms. */
import { TroupeError } from '../world/error.js'

export interface MembershipSettings {
  /** Silence after which a node, or the proof of life of what it holds, counts as dead. Default 3,000. */
  readonly lease: number
  /** How long the members must have stayed the same before anything is moved for balance. Default 5,000. */
  readonly settle: number
  /** Most resources that are on the move at once for balance or a drain. Default: an eighth of them, at least one. */
  readonly moves?: number
  /** How far above its even share a member may go before it must give away. Default 1.1. */
  readonly slack: number
  /** Most that the planned stop of one unit may take. Default 10,000. */
  readonly stopDeadline: number
  /** How long a unit may fail to start, or give no proof of life, before its lease is given up to another node. Default 30,000. */
  readonly giveUp: number
  /** First and largest delay between attempts to start a unit. Default 200 and 5,000. */
  readonly backoff: { readonly initial: number; readonly most: number }
  /** How long the record of a dead member is kept for those who look. Default 600,000. */
  readonly forget: number
}

export const defaultMembership: MembershipSettings = {
  lease: 3_000,
  settle: 5_000,
  slack: 1.1,
  stopDeadline: 10_000,
  giveUp: 30_000,
  backoff: { initial: 200, most: 5_000 },
  forget: 600_000,
}

/** Beats in a lease: one that is lost or late must not cost a node its leases. */
export const BEATS_PER_LEASE = 6

/** @throws TroupeError `bad-membership` */
export function membershipSettings(given: Partial<MembershipSettings> = {}): MembershipSettings {
  const settings = { ...defaultMembership, ...given }
  const wrong =
    settings.lease < 300
      ? `lease is ${settings.lease} ms; give at least 300`
      : settings.slack < 1
        ? `slack is ${settings.slack}; give at least 1`
        : settings.moves !== undefined && settings.moves < 1
          ? `moves is ${settings.moves}; give at least 1`
          : undefined
  if (wrong === undefined) return settings
  throw new TroupeError({
    code: 'bad-membership',
    message: wrong,
    remedy: 'correct the cluster settings',
    exitCode: 2,
    permanent: true,
  })
}

/** Most resources on the move at once. */
export function moveBudget(settings: Pick<MembershipSettings, 'moves'>, resources: number): number {
  return settings.moves ?? Math.max(1, Math.floor(resources / 8))
}
