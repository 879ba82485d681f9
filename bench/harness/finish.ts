/** The end of a side: prints its one line. The peak of memory is that of the whole process. */
import type { Moment } from './first-ask.js'
import type { SideOutput } from './side.js'
import type { Tally } from './tally.js'

export function printTally(tally: Tally, began: Moment, extra?: SideOutput['extra']): void {
  print({
    count: tally.count,
    elapsedMs: tally.endedAt - began.at,
    cpuMs: tally.endedCpu - began.cpu,
    peakRssMb: peakRssMb(),
    tally,
    ...(extra === undefined ? {} : { extra }),
  })
}

export function print(output: SideOutput): void {
  process.stdout.write(`${JSON.stringify(output)}\n`)
}

export function peakRssMb(): number {
  return process.resourceUsage().maxRSS / 1024
}
