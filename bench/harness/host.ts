/** The machine that a result was measured on, and how much of it others took meanwhile. */
import { readFileSync } from 'node:fs'
import { cpus, loadavg, totalmem, type } from 'node:os'

export interface Host {
  readonly cores: number
  readonly cpu: string
  readonly memoryGb: number
  readonly system: string
  readonly node: string
  readonly loadBefore: number
  readonly loadAfter: number
  /** Share of the CPU time that the hypervisor gave to others; null where the system does not say. */
  readonly stealPercent: number | null
}

interface CpuTimes {
  readonly steal: number
  readonly total: number
}

/** Call at the begin; the function that it gives is called at the end. */
export function watchHost(): () => Host {
  const loadBefore = load()
  const before = cpuTimes()
  return () => {
    const after = cpuTimes()
    const span = before === null || after === null ? 0 : after.total - before.total
    return {
      cores: cpus().length,
      cpu: cpus()[0]?.model ?? 'unknown',
      memoryGb: Math.round(totalmem() / 2 ** 30),
      system: `${type()} ${process.arch}`,
      node: process.version,
      loadBefore,
      loadAfter: load(),
      stealPercent: span === 0 ? null : Math.round(((after!.steal - before!.steal) / span) * 1000) / 10,
    }
  }
}

function load(): number {
  return Math.round(loadavg()[0]! * 100) / 100
}

function cpuTimes(): CpuTimes | null {
  try {
    const line = readFileSync('/proc/stat', 'utf8').split('\n')[0]!
    const times = line.trim().split(/\s+/).slice(1, 9).map(Number)
    return { steal: times[7] ?? 0, total: times.reduce((sum, time) => sum + time, 0) }
  } catch {
    return null
  }
}
