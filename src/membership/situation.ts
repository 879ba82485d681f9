/** From what a node sees to what it computes: the input of the assignment. */
import type { AssignmentInput, Candidate, Hold, Standing } from './assignment.js'
import type { Self } from './lease.js'
import type { MemberState } from './member.js'
import type { LeaseView, Observer } from './observer.js'
import type { Ownership } from './ownership-port.js'
import type { Resource } from './port.js'
import type { MembershipSettings } from './settings.js'

export interface SituationInit {
  readonly self: Self
  readonly weight: number
  readonly resources: readonly Resource[]
  readonly settings: MembershipSettings
  readonly observer: Observer
  readonly ownership: Ownership
}

export interface Situation {
  /** @param state this node's own, which its record may not say yet */
  at(now: number, state: MemberState): AssignmentInput
}

export function createSituation(init: SituationInit): Situation {
  const { self, observer, ownership, settings } = init
  let members = ''
  let changedAt: number | undefined

  function candidates(now: number, state: MemberState): Candidate[] {
    // We live, whatever the store shows of us: a store that fails stops nobody.
    const found: Candidate[] = [{ node: self.node, state, weight: init.weight }]
    const boots = [`${self.node}/${self.boot}/${state}`]
    for (const [node, { record, live }] of observer.members(now)) {
      if (!live || node === self.node) continue
      found.push({ node, state: record.state, weight: record.weight })
      boots.push(`${node}/${record.boot}/${record.state}`)
    }
    const signature = boots.sort().join(' ')
    if (signature !== members) {
      members = signature
      changedAt = now
    }
    return found
  }

  function standingOf(resource: Resource, now: number): Standing {
    const view = ownership.believed(resource, observer.lease(resource, now), now)
    if (!ownership.isMine(view)) return standingSeen(view)
    const { home, refused = [] } = view.record!
    const unfit = ownership.unfit(resource, now)
    return {
      holder: unfit ? null : self.node,
      ...(home === undefined ? {} : { home }),
      avoid: unfit ? [...refused, self.node] : refused,
    }
  }

  function hold(now: number): Hold | null {
    if (observer.orders().rolling) return 'rolling'
    return now - (changedAt ?? now) < settings.settle ? 'settling' : null
  }

  return {
    at(now, state) {
      return {
        members: candidates(now, state),
        resources: init.resources,
        standings: new Map(init.resources.map((resource) => [resource, standingOf(resource, now)])),
        paused: observer.orders().pausePipeline,
        hold: hold(now),
        settings,
      }
    },
  }
}

/** A lease of somebody else. */
export function standingSeen(view: LeaseView): Standing {
  if (view.record === null) return { holder: null }
  const { node, to, home, refused: avoid = [] } = view.record
  if (view.state === 'released')
    return {
      holder: null,
      last: node,
      avoid,
      ...(to === undefined ? {} : { to }),
      ...(home === undefined ? {} : { home }),
    }
  if (view.state === 'held') return { holder: node, avoid, ...(home === undefined ? {} : { home }) }
  const unfit = view.state === 'dead' && view.why === 'no-proof'
  if (unfit) return { holder: null, avoid: [...avoid, node], ...(home === undefined ? {} : { home }) }
  return { holder: null, last: node, home: home ?? node, avoid }
}
