/**
 * What the machine says about processes: whether one is still the one that we knew, and what its children are.
 *
 * A pid alone says nothing, for pids are given again; a pid and the time of its start do.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'

export interface ProcessIdentity {
  readonly pid: number
  /** When it started, in the system's own words; never parsed, only compared. */
  readonly started: string
}

/** Who runs under this pid now; undefined if nobody does (a process that has ended and was not yet reaped is nobody). */
export function identify(pid: number): ProcessIdentity | undefined {
  const started = startOf(pid)
  return started === undefined ? undefined : { pid, started }
}

export function isAlive({ pid, started }: ProcessIdentity): boolean {
  return startOf(pid) === started
}

/** The name of the program that runs under this pid. */
export function programNameOf(pid: number): string | undefined {
  if (existsSync('/proc/self/stat')) return statOf(pid)?.name
  return ps(['-p', String(pid), '-o', 'comm='])
    ?.trim()
    .split('/')
    .at(-1)
}

/** All pids below this one. */
export function descendantsOf(pid: number): number[] {
  const parents = parentTable()
  const family = new Set([pid])
  for (let grown = true; grown; ) {
    grown = false
    for (const [child, parent] of parents)
      if (family.has(parent) && !family.has(child)) {
        family.add(child)
        grown = true
      }
  }
  family.delete(pid)
  return [...family]
}

/** Sends a signal; a process that is gone already is no error. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function startOf(pid: number): string | undefined {
  if (!existsSync('/proc/self/stat')) return ps(['-p', String(pid), '-o', 'lstart='])?.trim() || undefined
  const stat = statOf(pid)
  return stat === undefined || stat.state === 'Z' ? undefined : stat.started
}

function parentTable(): [child: number, parent: number][] {
  if (!existsSync('/proc/self/stat'))
    return (ps(['-A', '-o', 'pid=,ppid=']) ?? '')
      .trim()
      .split('\n')
      .map((line) => line.trim().split(/\s+/).map(Number) as [number, number])
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => [Number(name), statOf(Number(name))?.parent ?? -1])
}

/** proc(5): fields are counted after the last `)`, for a name may hold anything. */
function statOf(pid: number): { name: string; state: string; parent: number; started: string } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const end = text.lastIndexOf(')')
    const fields = text.slice(end + 2).split(' ')
    const name = text.slice(text.indexOf('(') + 1, end)
    return { name, state: fields[0]!, parent: Number(fields[1]), started: fields[19]! }
  } catch {
    return undefined
  }
}

function ps(args: string[]): string | undefined {
  try {
    return execFileSync('ps', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  } catch {
    return undefined
  }
}
