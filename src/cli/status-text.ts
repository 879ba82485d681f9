/** A pipeline's status for a person: the same lines for `troupe status` and the progress on a terminal. */
import { bytesText } from '../pipeline/explain-text.js'
import type { PipelineStatus, ProcessorStatus, SourceStatus } from '../pipeline/status-shape.js'
import { countText, elapsedText, tableLines } from './format.js'

/** @param earlier an older sample of the same run; rates are shown if it is given */
export function statusLines(status: PipelineStatus, earlier: PipelineStatus | null): string[] {
  const seconds = earlier === null ? 0 : (status.upMs - earlier.upMs) / 1_000
  const rate = (now: number, before: number | undefined): string =>
    seconds <= 0 || before === undefined ? '' : `${countText(Math.max(0, (now - before) / seconds))}/s`
  const sources = status.sources.map((source) =>
    sourceRow(source, rate(source.eventsIn, earlier?.sources.find(({ name }) => name === source.name)?.eventsIn)),
  )
  const processors = status.processors.map((processor) =>
    processorRow(
      processor,
      rate(processor.done, earlier?.processors.find(({ name }) => name === processor.name)?.done),
    ),
  )
  const lines = [
    `${status.pipeline}  ${status.state}  up ${elapsedText(status.upMs)}  pid ${status.pid}  memory ${bytesText(status.memory.rssBytes)}`,
    ...tableLines(sources),
    ...tableLines(processors),
    partitionsLine(status),
    logLine(status),
  ]
  if (status.lastError !== null) lines.push(`  last error: ${status.lastError.split('\n', 1)[0]!.slice(0, 200)}`)
  return lines
}

function sourceRow(source: SourceStatus, rate: string): string[] {
  const lag = [
    source.lagBytes === null ? null : bytesText(source.lagBytes),
    source.lagEntries === null ? null : `${countText(source.lagEntries)} entries`,
    source.lagMs === null ? null : elapsedText(source.lagMs),
  ].filter((part) => part !== null)
  return [
    `source ${source.name}`,
    source.state,
    rate,
    `${countText(source.eventsIn)} in`,
    lag.length === 0 ? '' : `lag ${lag.join(', ')}`,
    source.positionConfirmed === null ? '' : `confirmed ${source.positionConfirmed}`,
    ...extras([
      [source.restarts, 'restarts'],
      [source.lossWindows, 'loss windows'],
    ]),
  ]
}

function processorRow(processor: ProcessorStatus, rate: string): string[] {
  return [
    `processor ${processor.name}`,
    processor.stopped.length > 0 ? `stopped in ${processor.stopped.join(', ')}` : 'running',
    rate,
    `${countText(processor.done)} done`,
    `${countText(processor.inFlight)} in flight`,
    processor.latencyMs === null ? '' : `latency ${elapsedText(processor.latencyMs)}`,
    ...extras([
      [processor.retries, 'retries'],
      [processor.deadLetters, 'dead letters'],
      [processor.restarts, 'restarts'],
    ]),
  ]
}

function extras(counts: readonly (readonly [number, string])[]): string[] {
  const shown = counts.filter(([count]) => count > 0).map(([count, noun]) => `${countText(count)} ${noun}`)
  return shown.length === 0 ? [] : [shown.join(', ')]
}

function partitionsLine(status: PipelineStatus): string {
  const running = status.partitions.filter(({ state }) => state === 'running').length
  const restarts = status.partitions.reduce((sum, partition) => sum + partition.restarts, 0)
  return `  partitions ${running}/${status.partitions.length} running on ${status.actors.threads.length || 'no'} threads  restarts ${restarts} of owners, ${status.actors.restarts} in all`
}

function logLine({ log }: PipelineStatus): string {
  const age = log.checkpointAgeMs === null ? 'none yet' : `${elapsedText(log.checkpointAgeMs)} ago`
  return `  unfinished ${bytesText(log.outstandingBytes)} of ${bytesText(log.limitBytes)}  checkpoint ${age}`
}
