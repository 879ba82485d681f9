/** What the terminal shows of the demo while it runs: two samples of the status become a few lines. Pure. */
import type { PipelineStatus } from '../../src/index.js'

export interface Sample {
  readonly atMs: number
  readonly status: PipelineStatus
  readonly written: number
  readonly behindMs: number
  readonly kills: number
  /** What is killed, and a line of the nodes where there are any. */
  readonly victims?: 'threads' | 'nodes'
  readonly nodes?: string | null
}

export function frame(before: Sample | null, now: Sample, forMs: number): string[] {
  const { status } = now
  const seconds = before === null ? 0 : (now.atMs - before.atMs) / 1000
  const rate = (count: number, earlier: number | undefined) =>
    seconds <= 0 ? '-' : `${Math.round(Math.max(0, count - (earlier ?? 0)) / seconds).toLocaleString('en')}/s`
  const lines = [
    `Troupe: the shop        ${(now.atMs / 1000).toFixed(0)} of ${(forMs / 1000).toFixed(0)} s`,
    '',
    `writer     ${pad(rate(now.written, before?.written), 10)} written ${now.written.toLocaleString('en')}, ${Math.round(now.behindMs)} ms behind its schedule`,
  ]
  for (const source of status.sources) {
    const earlier = before?.status.sources.find(({ name }) => name === source.name)
    lines.push(
      `${source.name.padEnd(10)} ${pad(rate(source.eventsIn, earlier?.eventsIn), 10)} ${source.state}, lag ${lagOf(source)}, confirmed ${source.positionConfirmed ?? '-'}`,
    )
  }
  for (const processor of status.processors) {
    const earlier = before?.status.processors.find(({ name }) => name === processor.name)
    lines.push(
      `${processor.name.padEnd(10)} ${pad(rate(processor.emitted, earlier?.emitted), 10)} done ${processor.done.toLocaleString('en')}, ${processor.latencyMs === null ? '' : `${Math.round(processor.latencyMs)} ms behind its events, `}${processor.retries} retries, ${processor.deadLetters} dead letters`,
    )
  }
  lines.push('', 'partitions')
  for (const partition of status.partitions) {
    const earlier = before?.status.partitions.find(
      (other) => other.set === partition.set && other.partition === partition.partition,
    )
    const mark = partition.state === 'running' ? '*' : partition.state === 'stopped' ? 'x' : '.'
    lines.push(
      `  ${mark} ${`${partition.set}-${partition.partition}`.padEnd(8)} ${pad(rate(partition.events, earlier?.events), 10)} on ${(partition.thread ?? '-').padEnd(10)} waiting ${pad(String(partition.outstandingFrames), 4)} frames  restarts ${partition.restarts}`,
    )
  }
  lines.push(
    '',
    ...(now.nodes ? [`nodes      ${now.nodes}`] : []),
    `threads    ${status.actors.threads.join(' ')}; ${now.kills} ${now.nodes ? 'nodes ' : ''}killed, ${status.actors.restarts} restarts of actors`,
    `memory     ${Math.round(status.memory.rssBytes / 2 ** 20)} MB resident`,
  )
  return lines
}

function lagOf(source: PipelineStatus['sources'][number]): string {
  if (source.lagBytes !== null) return `${Math.round(source.lagBytes / 1024).toLocaleString('en')} kB`
  if (source.lagEntries !== null) return `${source.lagEntries.toLocaleString('en')} entries`
  return source.lagMs === null ? '-' : `${Math.round(source.lagMs)} ms`
}

function pad(text: string, width: number): string {
  return text.padStart(width)
}

/** One line for a log or a pipe. */
export function line(before: Sample | null, now: Sample): string {
  const seconds = before === null ? 0 : (now.atMs - before.atMs) / 1000
  const emitted = (sample: Sample) => sample.status.processors.reduce((sum, processor) => sum + processor.emitted, 0)
  const rate = before === null || seconds <= 0 ? 0 : Math.round((emitted(now) - emitted(before)) / seconds)
  return `${(now.atMs / 1000).toFixed(1)} s: written ${now.written}, out ${emitted(now)} (${rate}/s), ${now.victims ?? 'threads'} killed ${now.kills}, restarts ${now.status.actors.restarts}${now.nodes ? ` (${now.nodes})` : ''}`
}
