/**
 * Where the simulated processors' work is seen: targets that outlive every node.
 *
 * A plain target takes what comes, and says what comes again. A fenced one stores the lanes with the effects in one step and takes them only from
 * the incarnation that sealed it last.
 */
import type { LaneVector } from '../../../src/checkpoint/checkpoint.js'
import type { Change } from './sources.js'

export type TargetKind = 'plain' | 'fenced'

export interface Target {
  readonly processor: string
  readonly kind: TargetKind
  readonly scope: string
  readonly partition: number
  /** How often each change was seen. */
  readonly seen: ReadonlyMap<Change, number>
  /** Fenced: from now on only this incarnation writes. Gives the lanes as they are stored. */
  seal(owner: string): LaneVector
  /** False where another incarnation has sealed since. */
  write(owner: string, changes: readonly Change[], lanes: LaneVector): boolean
}

export interface TargetInit {
  readonly processor: string
  readonly kind: TargetKind
  readonly scope: string
  readonly partition: number
  /** Written into the trace. */
  readonly note: (text: string) => void
  readonly violation: (text: string) => void
  /** This incarnation wrote a change that was seen before. */
  readonly repeated: (incarnation: string, change: Change) => void
}

export function createTarget(init: TargetInit): Target {
  const { processor, kind, scope, partition, violation } = init
  const seen = new Map<Change, number>()
  /** By source and key: the number of the last change that was new. */
  const newest = new Map<string, number>()
  let owner = ''
  let stored: LaneVector = {}
  const place = `${processor} ${scope}.${partition}`

  function note(from: string, change: Change, ordered: boolean): void {
    const count = (seen.get(change) ?? 0) + 1
    seen.set(change, count)
    if (count > 1) init.repeated(from, change)
    const name = `${change.source} ${change.major}-${change.minor}`
    // In group mode what the log has lost comes again under another mark.
    if (kind === 'fenced' && count > 1 && (ordered || !change.lost))
      violation(`${place}: ${name} was seen ${count} times`)
    if (!ordered || count > 1) return
    const key = `${change.source}/${change.key}`
    const before = newest.get(key) ?? -1
    if (before > change.number) violation(`${place}: ${name} came after change ${before} of its key`)
    newest.set(key, Math.max(before, change.number))
  }

  return {
    processor,
    kind,
    scope,
    partition,
    seen,
    seal(next) {
      owner = next
      return stored
    },
    write(from, changes, lanes) {
      if (kind === 'fenced') {
        if (owner !== from) return false
        stored = lanes
      }
      if (changes.length > 0)
        init.note(`${place} of ${from}: ${changes.map((change) => `${change.major}-${change.minor}`).join(' ')}`)
      for (const change of changes) note(from, change, change.source !== 'group')
      return true
    },
  }
}
