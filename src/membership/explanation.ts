/** Why a resource is where it is: what `troupe why PARTITION` prints of the assignment. */
import {
  type Assignment,
  type AssignmentInput,
  type Bounds,
  type Hold,
  kindOf,
  type Standing,
  score,
  type Why,
} from './assignment.js'
import type { MemberState } from './member.js'
import type { Resource } from './port.js'

export interface Explanation {
  readonly resource: Resource
  readonly desired: string | null
  readonly why: Why
  readonly standing: Standing
  /** What postpones voluntary moves now. */
  readonly hold: Hold | null
  /** By score, highest first. */
  readonly candidates: readonly {
    readonly node: string
    readonly state: MemberState
    readonly weight: number
    readonly score: number
    /** Resources of this kind that it is to hold, and its bounds. */
    readonly load: number
    readonly bounds: Bounds
    /** It could not keep this one running. */
    readonly avoided: boolean
  }[]
}

export function explainAssignment(
  input: AssignmentInput,
  assignment: Assignment,
  resource: Resource,
): Explanation | undefined {
  const placement = assignment.desired.get(resource)
  if (placement === undefined) return undefined
  const kind = kindOf(resource)
  const standing = input.standings.get(resource) ?? { holder: null }
  const load = (node: string): number =>
    [...assignment.desired].filter(([other, its]) => kindOf(other) === kind && its.node === node).length
  const candidates = input.members.map(({ node, state, weight }) => ({
    node,
    state,
    weight,
    score: score(node, weight, resource),
    load: load(node),
    bounds: assignment.bounds.get(node)![kind],
    avoided: standing.avoid?.includes(node) === true,
  }))
  candidates.sort((a, b) => b.score - a.score || (a.node < b.node ? -1 : 1))
  return { resource, desired: placement.node, why: placement.why, standing, hold: assignment.hold, candidates }
}
