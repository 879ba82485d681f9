/** The status of one pipeline from those of its nodes: who does a thing speaks for it, and counters are summed. Pure. */
import type { PipelineStatus } from '../../src/index.js'

export interface NodeStatus {
  readonly name: string
  readonly status: PipelineStatus
}

type Source = PipelineStatus['sources'][number]
type Processor = PipelineStatus['processors'][number]
type Partition = PipelineStatus['partitions'][number]

/**
 * @param live at least one
 * @param departed the last word of processes that are no more: their counters count on
 */
export function merged(live: readonly NodeStatus[], departed: readonly PipelineStatus[]): PipelineStatus {
  const first = live[0]!.status
  const all = [...live.map(({ status }) => status), ...departed]
  return {
    ...first,
    state: live.every(({ status }) => status.state === 'running') ? 'running' : first.state,
    sources: first.sources.map(({ name }) => sourceOf(name, live, all)),
    processors: first.processors.map(({ name }) => processorOf(name, live, all)),
    partitions: first.partitions.map(({ set, partition }) => partitionOf(set, partition, live, all)),
    log: {
      ...first.log,
      outstandingBytes: sum(live, ({ status }) => status.log.outstandingBytes),
      appends: sum(all, ({ log }) => log.appends),
      checkpoints: sum(all, ({ log }) => log.checkpoints),
    },
    actors: {
      threads: live.flatMap(({ name, status }) => status.actors.threads.map((thread) => `${name}/${thread}`)),
      restarts: sum(all, ({ actors }) => actors.restarts),
      deadLetters: sum(all, ({ actors }) => actors.deadLetters),
      messages: sum(all, ({ actors }) => actors.messages),
    },
    memory: {
      rssBytes: sum(live, ({ status }) => status.memory.rssBytes),
      heapUsedBytes: sum(live, ({ status }) => status.memory.heapUsedBytes),
      externalBytes: sum(live, ({ status }) => status.memory.externalBytes),
    },
    lastError: live.map(({ status }) => status.lastError).find((error) => error !== null) ?? null,
  }
}

function sourceOf(name: string, live: readonly NodeStatus[], all: readonly PipelineStatus[]): Source {
  const find = (status: PipelineStatus) => status.sources.find((source) => source.name === name)!
  const seen = live.map(({ status }) => find(status))
  const reader = seen.find(({ state }) => state !== 'stopped') ?? seen[0]!
  const every = all.map(find)
  return {
    ...reader,
    eventsIn: sum(every, ({ eventsIn }) => eventsIn),
    bytesIn: sum(every, ({ bytesIn }) => bytesIn),
    flushes: sum(every, ({ flushes }) => flushes),
    restarts: sum(every, ({ restarts }) => restarts),
    lossWindows: sum(every, ({ lossWindows }) => lossWindows),
  }
}

function processorOf(name: string, live: readonly NodeStatus[], all: readonly PipelineStatus[]): Processor {
  const find = (status: PipelineStatus) => status.processors.find((processor) => processor.name === name)!
  const seen = live.map(({ status }) => find(status))
  const every = all.map(find)
  const latencies = seen.flatMap(({ latencyMs }) => (latencyMs === null ? [] : [latencyMs]))
  return {
    ...seen[0]!,
    done: sum(every, ({ done }) => done),
    skipped: sum(every, ({ skipped }) => skipped),
    emitted: sum(every, ({ emitted }) => emitted),
    retries: sum(every, ({ retries }) => retries),
    deadLetters: sum(every, ({ deadLetters }) => deadLetters),
    restarts: sum(every, ({ restarts }) => restarts),
    inFlight: sum(seen, ({ inFlight }) => inFlight),
    retrying: sum(seen, ({ retrying }) => retrying),
    latencyMs: latencies.length === 0 ? null : Math.max(...latencies),
    stopped: [...new Set(seen.flatMap(({ stopped }) => stopped))],
  }
}

function partitionOf(
  set: string,
  partition: number,
  live: readonly NodeStatus[],
  all: readonly PipelineStatus[],
): Partition {
  const find = (status: PipelineStatus) =>
    status.partitions.find((one) => one.set === set && one.partition === partition)!
  const holder = live.find(({ status }) => find(status).thread !== null)
  const every = all.map(find)
  return {
    ...find((holder ?? live[0]!).status),
    thread: holder === undefined ? null : `${holder.name}/${find(holder.status).thread}`,
    events: sum(every, ({ events }) => events),
    restarts: sum(every, ({ restarts }) => restarts),
  }
}

function sum<T>(list: readonly T[], value: (one: T) => number): number {
  return list.reduce((total, one) => total + value(one), 0)
}
