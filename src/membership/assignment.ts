/**
 * Who should hold what: a pure function that every node computes for itself from what it sees, with the same result.
 *
 * Weighted rendezvous hashing with bounded load: a resource belongs to the member with the highest score that has room.
 * A member's even share is its part of the total by weight; `most` and `least` lie `slack` around it and at least at its
 * two whole neighbours. Readers and partitions have bounds apart. It is sticky: who holds keeps, and only a
 * member above `most` or below `least` makes a voluntary move. No member is above `most`, except where the others
 * could not run a resource or an earlier holder has not given it up yet.
 *
 * What has no live holder is placed at once: with the node that it was released to, else with the one that had it last,
 * else by score. What a leaving node holds goes at once; what a draining one holds, a few at a time; voluntary moves a
 * few at a time, once the members have settled. During a rolling upgrade there are none, except that a node that
 * came back gets back what was taken from it. While the pipeline is paused nobody is to hold anything.
 */
import { hashText } from '../event/hash.js'
import type { MemberState } from './member.js'
import type { Resource } from './port.js'
import { type MembershipSettings, moveBudget } from './settings.js'

export interface Candidate {
  readonly node: string
  readonly state: MemberState
  readonly weight: number
}

/** How a resource stands now. */
export interface Standing {
  /** The live holder. */
  readonly holder: string | null
  /** Released in favour of. */
  readonly to?: string
  /** Who had it last. */
  readonly last?: string
  readonly home?: string
  /** Who could not keep it running. */
  readonly avoid?: readonly string[]
}

/** What postpones voluntary moves. */
export type Hold = 'settling' | 'rolling'

export interface AssignmentInput {
  /** The live members. */
  readonly members: readonly Candidate[]
  readonly resources: readonly Resource[]
  readonly standings: ReadonlyMap<Resource, Standing>
  readonly paused: boolean
  readonly hold: Hold | null
  readonly settings: Pick<MembershipSettings, 'slack' | 'moves'>
}

export type Why =
  | 'kept'
  /** Released to it. */
  | 'handed'
  /** It had it last. */
  | 'returned'
  /** The highest score that had room. */
  | 'placed'
  /** The holder leaves or drains. */
  | 'evacuated'
  | 'balanced'
  /** Back to the node that went away in a rolling upgrade. */
  | 'home'
  /** Its holder drains, and others are on the move. */
  | 'waits-for-its-turn'
  | 'paused'
  | 'nobody-active'

export interface Placement {
  readonly node: string | null
  readonly why: Why
}

export type Kind = 'reader' | 'partition'

export interface Bounds {
  readonly least: number
  readonly most: number
}

export interface Assignment {
  readonly desired: ReadonlyMap<Resource, Placement>
  readonly bounds: ReadonlyMap<string, Readonly<Record<Kind, Bounds>>>
  /** Moves away from a live holder that are asked for. */
  readonly moves: number
  readonly hold: Hold | null
}

const kinds = ['reader', 'partition'] as const

export function kindOf(resource: Resource): Kind {
  return resource.startsWith('reader.') ? 'reader' : 'partition'
}

/** In (0, ∞); the share of resources for which a member's is the highest is its share of the weight. */
export function score(node: string, weight: number, resource: Resource): number {
  return -weight / Math.log((hashText(`${node}\n${resource}`) + 0.5) / 2 ** 32)
}

export function boundsOf(share: number, slack: number): Bounds {
  return {
    least: Math.min(Math.floor(share), Math.ceil(share / slack)),
    most: Math.max(Math.ceil(share), Math.floor(share * slack)),
  }
}

export function assign(input: AssignmentInput): Assignment {
  const members = [...input.members].sort((a, b) => compare(a.node, b.node))
  const resources = [...new Set(input.resources)].sort(compare)
  const actives = members.filter((member) => member.state === 'active')
  const weights = actives.reduce((sum, member) => sum + member.weight, 0)
  const desired = new Map<Resource, Placement>()
  const bounds = new Map<string, Record<Kind, Bounds>>()
  const load = new Map<string, Record<Kind, number>>()
  const byNode = new Map(members.map((member) => [member.node, member]))
  const standing = (resource: Resource): Standing => input.standings.get(resource) ?? { holder: null }
  const holderOf = (resource: Resource): Candidate | undefined => byNode.get(standing(resource).holder ?? '')

  for (const member of members) {
    const share = (kind: Kind): number =>
      member.state === 'active'
        ? (resources.filter((resource) => kindOf(resource) === kind).length * member.weight) / weights
        : 0
    bounds.set(member.node, {
      reader: boundsOf(share('reader'), input.settings.slack),
      partition: boundsOf(share('partition'), input.settings.slack),
    })
    load.set(member.node, { reader: 0, partition: 0 })
  }
  const loadOf = (node: string, kind: Kind): number => load.get(node)![kind]
  const boundOf = (node: string, kind: Kind): Bounds => bounds.get(node)![kind]

  function put(resource: Resource, node: string | null, why: Why): void {
    const before = desired.get(resource)?.node
    const kind = kindOf(resource)
    if (before !== undefined && before !== null) load.get(before)![kind]--
    if (node !== null) load.get(node)![kind]++
    desired.set(resource, { node, why })
  }

  /** Those with room that have not failed it; else those that have not failed it; else those with room. */
  function takers(resource: Resource, except?: string): readonly Candidate[] {
    const kind = kindOf(resource)
    const avoid = standing(resource).avoid ?? []
    const others = actives.filter((member) => member.node !== except)
    const able = others.filter((member) => !avoid.includes(member.node))
    const room = (some: readonly Candidate[]): readonly Candidate[] =>
      some.filter((member) => loadOf(member.node, kind) < boundOf(member.node, kind).most)
    const free = room(able)
    if (free.length > 0 || avoid.length === 0) return free
    return able.length > 0 ? able : room(others)
  }

  function place(resource: Resource, why: Why): void {
    const among = takers(resource)
    const { to, last } = standing(resource)
    if (among.some((member) => member.node === to)) put(resource, to!, why === 'placed' ? 'handed' : why)
    else if (among.some((member) => member.node === last)) put(resource, last!, why === 'placed' ? 'returned' : why)
    else put(resource, best(among, resource)?.node ?? null, among.length === 0 ? 'nobody-active' : why)
  }

  function result(moves: number): Assignment {
    return { desired, bounds, moves, hold: input.hold }
  }

  if (input.paused) {
    for (const resource of resources) put(resource, null, 'paused')
    return result(0)
  }
  for (const resource of resources) {
    const holder = holderOf(resource)
    if (holder?.state === 'active') put(resource, holder.node, 'kept')
  }
  let moves = 0
  /** What is between two holders is still on the move. */
  let budget =
    moveBudget(input.settings, resources.length) -
    resources.filter((resource) => {
      const { to } = standing(resource)
      return holderOf(resource) === undefined && to !== undefined && byNode.get(to)?.state === 'active'
    }).length

  for (const resource of resources) if (holderOf(resource) === undefined) place(resource, 'placed')
  for (const resource of resources) {
    if (holderOf(resource)?.state !== 'leaving') continue
    place(resource, 'evacuated')
    moves++
  }
  for (const resource of resources) {
    const holder = holderOf(resource)
    if (holder?.state !== 'draining') continue
    // With nobody to take it, better here than nowhere.
    if (budget <= 0 || actives.length === 0) put(resource, holder.node, 'waits-for-its-turn')
    else {
      place(resource, 'evacuated')
      budget--
      moves++
    }
  }
  if (actives.length === 0 || input.hold === 'settling') return result(moves)

  function move(resource: Resource, node: string, why: Why): void {
    put(resource, node, why)
    budget--
    moves++
  }

  if (input.hold === 'rolling') {
    for (const resource of resources) {
      const { home, avoid = [] } = standing(resource)
      if (budget <= 0) break
      if (home === undefined || desired.get(resource)!.why !== 'kept' || desired.get(resource)!.node === home) continue
      const back = byNode.get(home)
      if (back?.state !== 'active' || avoid.includes(home)) continue
      if (loadOf(home, kindOf(resource)) < boundOf(home, kindOf(resource)).most) move(resource, home, 'home')
    }
    return result(moves)
  }

  const movable = (kind: Kind): readonly Resource[] =>
    resources.filter((resource) => kindOf(resource) === kind && desired.get(resource)!.why === 'kept')
  for (const kind of kinds) {
    shed(kind)
    draw(kind)
  }
  return result(moves)

  /** Members above their bound give away what suits them least. */
  function shed(kind: Kind): void {
    for (const member of actives) {
      const mine = movable(kind)
        .filter((resource) => desired.get(resource)!.node === member.node)
        .sort((a, b) => score(member.node, member.weight, a) - score(member.node, member.weight, b) || compare(a, b))
      for (const resource of mine) {
        if (budget <= 0 || loadOf(member.node, kind) <= boundOf(member.node, kind).most) break
        const { avoid = [] } = standing(resource)
        const among = takers(resource, member.node).filter(
          (taker) => !avoid.includes(taker.node) && loadOf(taker.node, kind) < boundOf(taker.node, kind).most,
        )
        const needy = among.filter((taker) => loadOf(taker.node, kind) < boundOf(taker.node, kind).least)
        const taker = best(needy.length > 0 ? needy : among, resource)
        if (taker !== undefined) move(resource, taker.node, 'balanced')
      }
    }
  }

  /** Members below their bound take from the fullest what suits them best. */
  function draw(kind: Kind): void {
    for (const member of actives) {
      while (budget > 0 && loadOf(member.node, kind) < boundOf(member.node, kind).least) {
        const resource = gift(member, kind)
        if (resource === undefined) break
        move(resource, member.node, 'balanced')
      }
    }
  }

  function gift(member: Candidate, kind: Kind): Resource | undefined {
    let found: { resource: Resource; rank: readonly number[] } | undefined
    for (const resource of movable(kind)) {
      const donor = byNode.get(desired.get(resource)!.node!)!
      const { home, avoid = [] } = standing(resource)
      if (loadOf(donor.node, kind) <= boundOf(donor.node, kind).least || avoid.includes(member.node)) continue
      const rank = [
        loadOf(donor.node, kind) / donor.weight,
        home === member.node ? 1 : 0,
        score(member.node, member.weight, resource),
      ]
      if (found === undefined || above(rank, found.rank)) found = { resource, rank }
    }
    return found?.resource
  }
}

function best(among: readonly Candidate[], resource: Resource): Candidate | undefined {
  let found: { member: Candidate; score: number } | undefined
  for (const member of among) {
    const its = score(member.node, member.weight, resource)
    if (found === undefined || its > found.score) found = { member, score: its }
  }
  return found?.member
}

function above(a: readonly number[], b: readonly number[]): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! > b[i]!
  return false
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
