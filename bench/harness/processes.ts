/** What other processes of this machine have taken, where the system says so (Linux). */
import { readFileSync } from 'node:fs'

/** Clock ticks of /proc are hundredths of a second on every Linux that Node runs on. */
const tickMs = 10

/** CPU, ms, of all of them; null where it cannot be told. */
export function cpuOf(pids: readonly number[]): number | null {
  try {
    return pids.reduce((sum, pid) => {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
      return sum + (Number(fields[11]) + Number(fields[12])) * tickMs
    }, 0)
  } catch {
    return null
  }
}

/** The largest peak of resident memory among them, MB; 0 where it cannot be told. */
export function peakRssOf(pids: readonly number[]): number {
  const peaks = pids.map((pid) => {
    try {
      return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024
    } catch {
      return 0
    }
  })
  return Math.round(Math.max(0, ...peaks))
}
