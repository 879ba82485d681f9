/**
 * What happened in a simulated run, in order, as the actors themselves saw it. The checker reads nothing else.
 *
 * Simulated threads live in this process, so one journal hears all of them.
 */
import type { SimulatedWorld } from '../../src/world/simulated.js'

export type Entry =
  | { readonly type: 'starting'; readonly path: string; readonly thread: string; readonly supervisor: boolean }
  | { readonly type: 'running'; readonly path: string }
  | { readonly type: 'stopping'; readonly path: string }
  | { readonly type: 'ended'; readonly path: string; readonly reason: string }
  /** Its thread was killed; it says nothing itself. */
  | { readonly type: 'lost'; readonly path: string }
  | { readonly type: 'received'; readonly path: string; readonly from: string; readonly n: number }
  | { readonly type: 'watch'; readonly watcher: string; readonly target: string; readonly n: number }
  | { readonly type: 'down'; readonly watcher: string; readonly target: string; readonly reason: string }
  /** A supervisor's report of a failure that it counts. */
  | {
      readonly type: 'failure'
      readonly supervisor: string
      readonly child: string
      readonly restart: string
      readonly context: string
      readonly reason: string
    }
  | { readonly type: 'fault'; readonly fault: string; readonly path: string; readonly state: string }
  | { readonly type: 'command'; readonly supervisor: string; readonly child: string; readonly command: string }

export interface Journal {
  readonly entries: readonly (Entry & { readonly at: number })[]
  write(entry: Entry): void
  /** Last state of a path; `none` if it never was. */
  stateOf(path: string): ActorState
  threadOf(path: string): string | undefined
  digest(): string
}

export type ActorState = 'none' | 'starting' | 'running' | 'stopping' | 'ended'

/** Where actors of the present run write. One run at a time. */
let current: Journal | undefined

export function openJournal(world: SimulatedWorld): Journal {
  const entries: (Entry & { readonly at: number })[] = []
  const states = new Map<string, ActorState>()
  const threads = new Map<string, string>()
  current = {
    entries,
    write(entry) {
      entries.push({ ...entry, at: world.monotonic() })
      if (entry.type === 'starting') threads.set(entry.path, entry.thread)
      if (entry.type === 'lost') states.set(entry.path, 'ended')
      else if (
        entry.type === 'starting' ||
        entry.type === 'running' ||
        entry.type === 'stopping' ||
        entry.type === 'ended'
      )
        states.set(entry.path, entry.type)
    },
    stateOf: (path) => states.get(path) ?? 'none',
    threadOf: (path) => threads.get(path),
    digest() {
      let hash = 0x811c9dc5
      for (const char of JSON.stringify(entries)) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193)
      return (hash >>> 0).toString(16).padStart(8, '0')
    },
  }
  return current
}

export function journal(): Journal {
  if (current === undefined) throw new Error('no simulated run is open')
  return current
}
