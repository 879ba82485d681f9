/**
 * Progress while a pipeline runs: on a terminal a block of lines that is drawn again in place, otherwise a log line from
 * time to time. Log lines appear above the block.
 */
import type { PipelineStatus } from '../pipeline/status-shape.js'
import type { Logger } from '../world/logger.js'
import type { Timer, World } from '../world/world.js'
import { statusLines } from './status-text.js'

export interface Screen {
  readonly columns: number
  write(text: string): void
}

export interface Progress {
  show(status: () => Promise<PipelineStatus>): void
  /** Ends it; the last block stays on the screen. */
  end(): void
}

/** The block, and where log lines must go so that they do not tear it. */
export interface TerminalProgress extends Progress {
  line(text: string): void
}

const erase = '\u001b[J'
const up = (lines: number): string => (lines === 0 ? '' : `\u001b[${lines}A\r`)

export function terminalProgress(world: World, screen: Screen, intervalMs = 500): TerminalProgress {
  let block: readonly string[] = []
  const draw = (lines: readonly string[], above: string): void => {
    const fitted = lines.map((line) => line.slice(0, Math.max(20, screen.columns - 1)))
    screen.write(`${up(block.length)}${erase}${above}${fitted.map((line) => `${line}\n`).join('')}`)
    block = fitted
  }
  let samples: PipelineStatus[] = []
  const poll = poller(world, intervalMs, (status) => {
    // Rates are over the last few seconds, so that they can be read.
    samples = [...samples, status].slice(-6)
    draw(statusLines(status, samples.length > 1 ? samples[0]! : null), '')
  })
  return {
    show: poll.start,
    line: (text) => draw(block, `${text}\n`),
    end: poll.end,
  }
}

export function loggedProgress(world: World, log: Logger, intervalMs = 10_000): Progress {
  let earlier: PipelineStatus | null = null
  const poll = poller(world, intervalMs, (status) => {
    log.info(progressFields(status, earlier), 'progress')
    earlier = status
  })
  return { show: poll.start, end: poll.end }
}

export function progressFields(status: PipelineStatus, earlier: PipelineStatus | null): Record<string, unknown> {
  const seconds = earlier === null ? status.upMs / 1_000 : (status.upMs - earlier.upMs) / 1_000
  const eventsIn = sum(status.sources, ({ eventsIn }) => eventsIn)
  const done = sum(status.processors, ({ done }) => done)
  const rate = (now: number, before: number): number => (seconds <= 0 ? 0 : Math.round((now - before) / seconds))
  return {
    pipeline: status.pipeline,
    state: status.state,
    eventsIn,
    eventsInRate: rate(
      eventsIn,
      sum(earlier?.sources ?? [], ({ eventsIn }) => eventsIn),
    ),
    done,
    doneRate: rate(
      done,
      sum(earlier?.processors ?? [], ({ done }) => done),
    ),
    emitted: sum(status.processors, ({ emitted }) => emitted),
    retries: sum(status.processors, ({ retries }) => retries),
    deadLetters: sum(status.processors, ({ deadLetters }) => deadLetters),
    lossWindows: sum(status.sources, ({ lossWindows }) => lossWindows),
    outstandingBytes: status.log.outstandingBytes,
    restarts: status.actors.restarts,
    rssBytes: status.memory.rssBytes,
    lag: Object.fromEntries(
      status.sources.map(({ name, lagBytes, lagEntries, lagMs }) => [name, { lagBytes, lagEntries, lagMs }]),
    ),
  }
}

function sum<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0)
}

/** Asks, shows, waits; never two questions at once, and a question that fails is asked again. */
function poller(world: World, intervalMs: number, show: (status: PipelineStatus) => void) {
  let timer: Timer | null = null
  let ended = false
  const again = (ask: () => Promise<PipelineStatus>): void => {
    if (!ended) timer = world.setTimer(intervalMs, () => void once(ask), { background: true })
  }
  const once = async (ask: () => Promise<PipelineStatus>): Promise<void> => {
    const status = await ask().catch(() => null)
    if (status !== null && !ended) show(status)
    again(ask)
  }
  return {
    start: again,
    end(): void {
      ended = true
      timer?.cancel()
    },
  }
}
