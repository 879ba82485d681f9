/**
 * Judges the journal of a run of the kernel by OTP's rules. Knows nothing of how the kernel works.
 *
 * What it holds a supervisor to, in the order of the functions below: one incarnation at a time; ordered start and
 * reverse stop in groups; no restart beyond the intensity, and none refused within it; a watcher is told exactly once;
 * messages of a pair in order. And after a quiet while, who is to be restarted was.
 */
import type { Strategy } from '../../src/actor/actor.js'
import type { Entry, Journal } from './journal.js'

export interface SupervisorPlan {
  readonly path: string
  readonly strategy: Strategy
  readonly restarts: number
  readonly periodMs: number
  /** Ids in order. */
  readonly children: readonly { readonly id: string; readonly restart: string }[]
}

type Dated = Entry & { readonly at: number }

/** A thing told may be on its way for so long, ms: two hops of the longest delay, and then some. */
export const IN_FLIGHT_MS = 60

export function check(entries: readonly Dated[], plans: readonly SupervisorPlan[]): string[] {
  return [
    ...oneIncarnation(entries),
    ...plans.flatMap((plan) => (plan.strategy === 'one-for-one' ? [] : groupOrder(entries, plan))),
    ...plans.flatMap((plan) => intensity(entries, plan)),
    ...watching(entries),
    ...pairOrder(entries),
  ]
}

/** After a quiet while: children of a running supervisor that should run and do not. What a command did to one is not judged. */
export function leftDown({ entries, stateOf }: Journal, plans: readonly SupervisorPlan[]): string[] {
  const begun = new Map<string, number>()
  const commanded = new Map<string, number>()
  const reasons = new Map<string, string>()
  for (const entry of entries) {
    if (entry.type === 'starting') begun.set(entry.path, entry.at)
    else if (entry.type === 'ended') reasons.set(entry.path, entry.reason)
    else if (entry.type === 'lost') reasons.set(entry.path, 'lost')
    else if (entry.type === 'command') commanded.set(`${entry.supervisor}/${entry.child}`, entry.at)
  }
  return plans.flatMap(({ path, children }) => {
    if (stateOf(path) !== 'running') return []
    // A command may have been on its way to the supervisor when that began.
    const since = begun.get(path)! - IN_FLIGHT_MS
    return children.flatMap(({ id, restart }) => {
      const child = `${path}/${id}`
      const state = stateOf(child)
      if (state === 'running' || restart === 'temporary' || (commanded.get(child) ?? -1) >= since) return []
      if (restart === 'transient' && state === 'ended' && reasons.get(child) === 'normal') return []
      return [`${child} (${restart}) is ${state} after a quiet while, and ${path} runs`]
    })
  })
}

function describe(entry: Dated): string {
  return `at ${entry.at.toFixed(3)} ms`
}

function oneIncarnation(entries: readonly Dated[]): string[] {
  const alive = new Set<string>()
  const found: string[] = []
  for (const entry of entries) {
    if (entry.type === 'starting') {
      if (alive.has(entry.path)) found.push(`two incarnations of ${entry.path} ${describe(entry)}`)
      alive.add(entry.path)
    } else if (entry.type === 'ended' || entry.type === 'lost') alive.delete(entry.path)
  }
  for (const path of alive) found.push(`${path} outlived the system`)
  return found
}

/** When a child starts, no earlier sibling may lie where its supervisor has laid it; when it stops for its group, no later one may run. */
function groupOrder(entries: readonly Dated[], plan: SupervisorPlan): string[] {
  const found: string[] = []
  const index = new Map(plan.children.map((child, i) => [`${plan.path}/${child.id}`, i]))
  const temporary = new Set(
    plan.children.filter((it) => it.restart === 'temporary').map((it) => `${plan.path}/${it.id}`),
  )
  /** Ended by their supervisor, to be started again. */
  const laid = new Map<string, number>()
  /** Stopped, started again or removed by a command: out of the group's order. */
  const commanded = new Set<string>()
  for (const entry of entries) {
    if (entry.type === 'starting' && entry.path === plan.path) {
      laid.clear()
      commanded.clear()
    }
    if (entry.type === 'command' && entry.supervisor === plan.path) commanded.add(`${plan.path}/${entry.child}`)
    if (!('path' in entry)) continue
    const i = index.get(entry.path)
    if (i === undefined || commanded.has(entry.path)) continue
    if (entry.type === 'ended' && entry.reason === 'shutdown' && !temporary.has(entry.path)) laid.set(entry.path, i)
    if (entry.type !== 'starting') continue
    laid.delete(entry.path)
    for (const [path, earlier] of laid)
      if (earlier < i && !commanded.has(path)) found.push(`${entry.path} started before ${path} ${describe(entry)}`)
  }
  return found
}

/** At most `restarts` failures within the period are healed; one more ends the supervisor at once, and fewer do not. */
function intensity(entries: readonly Dated[], plan: SupervisorPlan): string[] {
  const found: string[] = []
  const added = new Set<string>()
  let failures: { readonly at: number; readonly sure: boolean }[] = []
  let mayEnd = false
  entries.forEach((entry, i) => {
    if (entry.type === 'starting' && entry.path === plan.path) {
      failures = []
      added.clear()
      mayEnd = false
    } else if (entry.type === 'command' && entry.supervisor === plan.path && entry.command === 'start-child')
      added.add(entry.child)
    else if (entry.type === 'failure' && entry.supervisor === plan.path && counts(entry)) {
      // A first start on command that fails is the asker's; a later one counts. From outside they look alike.
      const sure = !(entry.context === 'start-error' && added.has(entry.child))
      failures = failures.filter((failure) => entry.at - failure.at <= plan.periodMs)
      failures.push({ at: entry.at, sure })
      const hopeless = entry.reason.startsWith('no-remedy')
      mayEnd ||= hopeless || failures.length > plan.restarts
      if (!sure || (!hopeless && failures.filter((failure) => failure.sure).length <= plan.restarts)) return
      const next = entries.slice(i + 1).find((it) => isOf(it, plan.path))
      if (next?.type !== 'lost' && next?.at !== entry.at)
        found.push(`${plan.path} went on beyond its intensity of ${plan.restarts} ${describe(entry)}`)
    } else if (entry.type === 'ended' && entry.path === plan.path && entry.reason === 'restart-intensity' && !mayEnd)
      found.push(`${plan.path} gave up within its intensity of ${plan.restarts} ${describe(entry)}`)
  })
  return found
}

function isOf(entry: Dated, path: string): boolean {
  return 'path' in entry && entry.path === path && entry.type !== 'fault'
}

function counts(entry: Extract<Entry, { type: 'failure' }>): boolean {
  return entry.restart !== 'temporary' && entry.context !== 'shutdown-error'
}

/** Of all watches whose watcher lived on, each is told once after its target's end, and never before. */
function watching(entries: readonly Dated[]): string[] {
  const found: string[] = []
  const open = new Map<string, Dated & { type: 'watch' }>()
  const ends = new Map<string, number>()
  const last = entries.at(-1)?.at ?? 0
  const check = (watch: Dated & { type: 'watch' }, until: number): void => {
    const end = ends.get(watch.target)
    if (end !== undefined && end >= watch.at + IN_FLIGHT_MS && until - end > IN_FLIGHT_MS)
      found.push(`${watch.watcher} was not told of the end of ${watch.target} at ${end.toFixed(3)} ms`)
  }
  for (const entry of entries) {
    if (entry.type === 'watch') open.set(`${entry.watcher} ${entry.target}`, entry)
    else if (entry.type === 'down') {
      const key = `${entry.watcher} ${entry.target}`
      if (!open.delete(key)) found.push(`${entry.watcher} was told twice of ${entry.target} ${describe(entry)}`)
    } else if (entry.type === 'ended' || entry.type === 'lost') {
      for (const [key, watch] of open)
        if (watch.watcher === entry.path) {
          check(watch, entry.at)
          open.delete(key)
        }
      if (!endedAlready(ends, entry.path, open)) ends.set(entry.path, entry.at)
    }
  }
  for (const watch of open.values()) check(watch, last)
  return found
}

/** The first end after a watch is the one that counts. */
function endedAlready(ends: Map<string, number>, path: string, open: Map<string, Dated & { type: 'watch' }>): boolean {
  const before = ends.get(path)
  if (before === undefined) return false
  return [...open.values()].some((watch) => watch.target === path && before >= watch.at + IN_FLIGHT_MS)
}

function pairOrder(entries: readonly Dated[]): string[] {
  const found: string[] = []
  const next = new Map<string, number>()
  for (const entry of entries) {
    if (entry.type !== 'received') continue
    const pair = `${entry.from} ${entry.path}`
    if (entry.n <= (next.get(pair) ?? -1)) found.push(`${entry.path} got ${entry.n} of ${entry.from} out of order`)
    next.set(pair, entry.n)
  }
  return found
}
