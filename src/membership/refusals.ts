/** Commits that the log has refused to this node: figures of its heartbeat, so that `troupe why` can tell them. */
import type { MemberRecord } from './member.js'
import type { Resource } from './port.js'

/** Resources that are remembered, those that were refused last. */
const KEPT = 32
const LONGEST = 300
const PREFIX = 'refused.'

export interface Refusals {
  note(resource: Resource, why: string): void
  status(): NonNullable<MemberRecord['status']>
}

export interface Refused {
  readonly count: number
  /** The last one. */
  readonly why: string
}

export function createRefusals(): Refusals {
  const refused = new Map<Resource, Refused>()
  return {
    note(resource, why) {
      const count = (refused.get(resource)?.count ?? 0) + 1
      refused.delete(resource)
      refused.set(resource, { count, why: why.slice(0, LONGEST) })
      for (const oldest of refused.keys()) {
        if (refused.size <= KEPT) break
        refused.delete(oldest)
      }
    },
    status: () =>
      Object.fromEntries([...refused].map(([resource, { count, why }]) => [`${PREFIX}${resource}`, `${count} ${why}`])),
  }
}

/** What a node's record says of one resource; null: nothing was refused. */
export function refusedIn({ status }: Pick<MemberRecord, 'status'>, resource: Resource): Refused | null {
  const [, count = '', why = ''] = /^(\d+) (.*)$/s.exec(String(status?.[`${PREFIX}${resource}`] ?? '')) ?? []
  return count === '' ? null : { count: Number(count), why }
}
