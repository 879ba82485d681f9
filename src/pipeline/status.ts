/**
 * Fills `PipelineStatus` from the live tree. Actors count from their own start; what a restarted one had counted is
 * carried on here, as of the last sample.
 */
import type { ActorSystem, TreeNode } from '../actor/actor.js'
import type { LogFigures } from '../log/memory.js'
import type { World } from '../world/world.js'
import type { PipelineDefinition } from './definition.js'
import { credits, partitionSets, pathsOf, setOf } from './graph.js'
import type { PartitionStatus, PipelineState, PipelineStatus, ProcessorStatus, SourceStatus } from './status-shape.js'

export interface StatusKeeper {
  sample(tree: readonly TreeNode[]): void
  status(now: {
    readonly state: PipelineState
    readonly lastError: string | null
    readonly threads: readonly string[]
    readonly counters: ActorSystem['counters']
  }): PipelineStatus
}

type Detail = Readonly<Record<string, unknown>>

/** Counters of the actors' `inspect()` that go on over a restart. */
const carried = [
  'events',
  'bytes',
  'flushes',
  'lossWindows',
  'done',
  'skipped',
  'emitted',
  'retries',
  'deadLetters',
  'appends',
  'checkpoints',
] as const

export function createStatusKeeper(
  definition: PipelineDefinition,
  world: World,
  paths: ReturnType<typeof pathsOf> = pathsOf(definition),
): StatusKeeper {
  const startedAt = new Date(world.now()).toISOString()
  const startedMono = world.monotonic()
  let nodes = new Map<string, TreeNode>()
  /** By path and counter: what ended instances had counted, and the last value seen. */
  const base = new Map<string, number>()
  const last = new Map<string, number>()

  function visit(list: readonly TreeNode[], into: Map<string, TreeNode>): void {
    for (const node of list) {
      into.set(node.path, node)
      for (const counter of carried) {
        const value = node.detail?.[counter]
        if (typeof value !== 'number') continue
        const key = `${node.path} ${counter}`
        const before = last.get(key) ?? 0
        if (value < before) base.set(key, (base.get(key) ?? 0) + before)
        last.set(key, value)
      }
      visit(node.children, into)
    }
  }

  function count(path: string, counter: (typeof carried)[number]): number {
    const key = `${path} ${counter}`
    return (base.get(key) ?? 0) + (last.get(key) ?? 0)
  }

  function detailOf(path: string): Detail {
    return nodes.get(path)?.detail ?? {}
  }

  function sourceStatus(name: string): SourceStatus {
    const path = paths.reader(name)
    const node = nodes.get(path)
    const detail = detailOf(path)
    const driver = (detail.driver ?? {}) as Detail
    const newest = numberOr(detail.newestMicros, null)
    return {
      name,
      kind: definition.sources[name]!.kind,
      state: sourceState(node, detail),
      epoch: placeText(driver.epoch),
      eventsIn: count(path, 'events'),
      bytesIn: count(path, 'bytes'),
      flushes: count(path, 'flushes'),
      positionRead: placeText(driver.received ?? driver.position),
      positionConfirmed: placeText(driver.confirmed),
      lagBytes: numberOr(driver.unconfirmedBytes, null),
      lagEntries: numberOr(driver.lagEntries, null),
      lagMs: numberOr(driver.lagMs, newest === null ? null : Math.max(0, world.now() - newest / 1000)),
      restarts: node?.restarts ?? 0,
      lossWindows: count(path, 'lossWindows'),
      detail: driver,
    }
  }

  function processorStatus(name: string): ProcessorStatus {
    const set = setOf(definition.processors[name]!)
    const partitions = set === 'key' ? definition.partitions : 1
    let restarts = 0
    let inFlight = 0
    let retrying = 0
    let latencyMs: number | null = null
    const stopped: number[] = []
    const sums = { done: 0, skipped: 0, emitted: 0, retries: 0, deadLetters: 0 }
    for (let partition = 0; partition < partitions; partition++) {
      const path = paths.processor(set, partition, name)
      const detail = detailOf(path)
      for (const counter of ['done', 'skipped', 'emitted', 'retries', 'deadLetters'] as const)
        sums[counter] += count(path, counter)
      restarts += nodes.get(path)?.restarts ?? 0
      inFlight += numberOr(detail.active, 0) + numberOr(detail.waiting, 0) + numberOr(detail.sinkInFlight, 0)
      retrying += numberOr(detail.retrying, 0)
      const latency = numberOr(detail.latencyMs, null)
      if (latency !== null) latencyMs = Math.max(latencyMs ?? 0, latency)
      if (typeof detail.stoppedBy === 'string') stopped.push(partition)
    }
    return { name, set, ...sums, restarts, inFlight, retrying, latencyMs, stopped }
  }

  function partitionStatuses(figures: LogFigures | null): PartitionStatus[] {
    const statuses: PartitionStatus[] = []
    for (const set of partitionSets(definition))
      for (let partition = 0; partition < set.partitions; partition++) {
        const path = paths.owner(set.name, partition)
        const node = nodes.get(path)
        const held = figures?.partitions.find((one) => one.set === set.name && one.partition === partition)
        let events = 0
        let halted = false
        for (const name of set.processors) {
          events = Math.max(events, count(paths.processor(set.name, partition, name), 'done'))
          if (typeof detailOf(paths.processor(set.name, partition, name)).stoppedBy === 'string') halted = true
        }
        statuses.push({
          set: set.name,
          partition,
          thread: node?.thread ?? null,
          state: halted ? 'stopped' : partitionState(node),
          outstandingBytes: held?.bytes ?? 0,
          outstandingFrames: held?.frames ?? 0,
          events,
          restarts: node?.restarts ?? 0,
        })
      }
    return statuses
  }

  return {
    sample(tree) {
      const found = new Map<string, TreeNode>()
      visit(tree, found)
      nodes = found
    },
    status({ state, lastError, threads, counters }) {
      const logDetail = detailOf(paths.log)
      const figures = 'partitions' in logDetail ? (logDetail as unknown as LogFigures) : null
      const partitions = partitionStatuses(figures)
      const usage = process.memoryUsage()
      return {
        pipeline: definition.name,
        state,
        pid: process.pid,
        startedAt,
        upMs: Math.round(world.monotonic() - startedMono),
        sources: Object.keys(definition.sources).map(sourceStatus),
        processors: Object.keys(definition.processors).map(processorStatus),
        partitions,
        log: {
          outstandingBytes: partitions.reduce((sum, one) => sum + one.outstandingBytes, 0),
          limitBytes: credits.pipeline,
          appends: count(paths.log, 'appends'),
          checkpoints: count(paths.log, 'checkpoints'),
          checkpointAgeMs: numberOr(logDetail.checkpointAgeMs, null),
        },
        actors: {
          threads,
          restarts: counters.restarts,
          deadLetters: counters.deadLetters,
          messages: counters.messages,
        },
        memory: { rssBytes: usage.rss, heapUsedBytes: usage.heapUsed, externalBytes: usage.external },
        lastError: lastError ?? lastErrorIn(nodes),
      }
    },
  }
}

function sourceState(node: TreeNode | undefined, detail: Detail): SourceStatus['state'] {
  switch (node?.state) {
    case 'running':
      return detail.blocked === true ? 'blocked' : 'streaming'
    case 'starting':
      return node.restarts > 0 ? 'reconnecting' : 'starting'
    case 'waiting':
      return 'reconnecting'
    default:
      return 'stopped'
  }
}

function partitionState(node: TreeNode | undefined): PartitionStatus['state'] {
  switch (node?.state) {
    case 'running':
      return 'running'
    case 'starting':
      return node.restarts > 0 ? 'restarting' : 'starting'
    case 'waiting':
      return 'restarting'
    default:
      return 'stopped'
  }
}

function lastErrorIn(nodes: ReadonlyMap<string, TreeNode>): string | null {
  let found: TreeNode | null = null
  for (const node of nodes.values())
    if (node.lastError !== undefined && (found === null || node.upMs < found.upMs)) found = node
  return found === null ? null : `${found.path}: ${found.lastError}`
}

function numberOr<T>(value: unknown, otherwise: T): number | T {
  return typeof value === 'number' && Number.isFinite(value) ? value : otherwise
}

/** A driver's place as it writes it, or one for each lane: `clicks=1700000000000-0`. */
function placeText(value: unknown): string | null {
  if (typeof value === 'string') return value
  if (typeof value !== 'object' || value === null) return null
  const lanes = Object.entries(value)
  return lanes.length === 0 ? null : lanes.map(([lane, place]) => `${lane}=${String(place)}`).join(' ')
}
