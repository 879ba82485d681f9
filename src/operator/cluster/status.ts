/** The status of a whole cluster: its nodes, who owns what, how far each processor is, the log, the orders in force. */
import { culprit, mark } from '../../log/jetstream/room.js'
import { decodeReader } from '../../log/jetstream/stored.js'
import { partitionKey } from '../../log/log.js'
import type { MemberState } from '../../membership/member.js'
import type { LeaseView } from '../../membership/observer.js'
import { partitionResource, type Resource, readerResource } from '../../membership/port.js'
import { partitionSets } from '../../pipeline/graph.js'
import { type FoundCheckpoint, readCheckpoints, readFrames, type WaitingFrames } from './checkpoints.js'
import { answerWithin, type ClusterAccess } from './connect.js'
import { lookAtBucket, type Snapshot } from './snapshot.js'

export interface NodeLine {
  readonly node: string
  /** `lost`: its last beat is older than a lease. */
  readonly state: MemberState | 'lost'
  readonly version: string
  /** ms since its last beat. */
  readonly beatAgeMs: number
  readonly holds: readonly Resource[]
}

export interface OwnerLine {
  readonly resource: Resource
  readonly lease: LeaseView['state']
  /** The living holder. */
  readonly node: string | null
  readonly leaseRevision: number
  /** Of the fence in the log; 0: nobody has owned it yet. */
  readonly term: number
}

export interface PartitionLine extends OwnerLine {
  readonly set: string
  readonly partition: number
  readonly frames: WaitingFrames
  readonly processors: readonly ProcessorLine[]
}

export interface ProcessorLine {
  readonly processor: string
  /** Finished up to here; null: no checkpoint yet. */
  readonly sequence: number | null
  readonly finished: boolean
  /** Sequences of the stream between the last frame and the checkpoint: at least as many as frames. */
  readonly lag: number
  /** Wall clock of whoever wrote it, ms. */
  readonly checkpointAt: number | null
  /** By order: this processor, or the pipeline. */
  readonly paused: boolean
}

export interface ReaderLine extends OwnerLine {
  readonly source: string
  /** When the reader's checkpoint was stored, by the server's clock. */
  readonly checkpointAt: number | null
}

export interface DepartedLine {
  readonly processor: string
  readonly partitions: readonly string[]
  /** Frames behind the oldest of its checkpoints can not be removed. */
  readonly sequence: number
}

export interface ClusterStatus {
  readonly pipeline: string
  readonly at: number
  readonly durability: 'lazy' | 'synced'
  readonly holdbackMs: number
  readonly nodes: readonly NodeLine[]
  readonly readers: readonly ReaderLine[]
  readonly partitions: readonly PartitionLine[]
  readonly log: {
    readonly bytes: number
    /** Null: the stream has no bound. */
    readonly limitBytes: number | null
    readonly used: number | null
    readonly messages: number
    /** At its mark, where readers stop: the processor that keeps it there, as `processor set.partition`. Else null. */
    readonly stoppedBy: string | null
  }
  readonly departed: readonly DepartedLine[]
  readonly orders: {
    readonly paused: boolean
    readonly rolling: boolean
    readonly draining: readonly string[]
    readonly pausedProcessors: readonly string[]
  }
  readonly problems: readonly string[]
}

export async function clusterStatus(access: ClusterAccess): Promise<ClusterStatus> {
  const { definition, stream, names } = access
  const snapshot = await lookAtBucket(access)
  const checkpoints = await readCheckpoints(access)
  const frames = await readFrames(access)
  const state = await stream.state(answerWithin)
  const orders = snapshot.observer.orders()
  const bounded = Number.isFinite(state.maxBytes)
  return {
    pipeline: definition.name,
    at: snapshot.serverTime,
    durability: definition.cluster.durability,
    holdbackMs: definition.cluster.holdback,
    nodes: nodesOf(snapshot),
    readers: await readersOf(access, snapshot),
    partitions: partitionsOf(access, snapshot, checkpoints, frames),
    log: {
      bytes: state.bytes,
      limitBytes: bounded ? state.maxBytes : null,
      used: bounded ? state.bytes / state.maxBytes : null,
      messages: state.messages,
      stoppedBy: state.bytes < mark * state.maxBytes ? null : await culprit(stream, names, partitionSets(definition)),
    },
    departed: departedOf(checkpoints),
    orders: {
      paused: orders.pausePipeline,
      rolling: orders.rolling,
      draining: [...orders.drain].sort(),
      pausedProcessors: [...orders.pausedProcessors].sort(),
    },
    problems: snapshot.problems.map(({ key, problem }) => `${key}: ${problem}`),
  }
}

function nodesOf({ observer, now }: Snapshot): NodeLine[] {
  return [...observer.members(now).values()].map(({ record, live, silent }) => ({
    node: record.node,
    state: live ? record.state : 'lost',
    version: record.version,
    beatAgeMs: Math.max(0, Math.round(silent)),
    holds: Object.keys(record.holds).sort(),
  }))
}

export function ownerOf({ observer, now }: Snapshot, resource: Resource, term: number): OwnerLine {
  const lease = observer.lease(resource, now)
  const node = lease.state === 'held' ? lease.record.node : null
  return { resource, lease: lease.state, node, leaseRevision: lease.revision, term }
}

async function readersOf({ definition, stream, names }: ClusterAccess, snapshot: Snapshot): Promise<ReaderLine[]> {
  const lines: ReaderLine[] = []
  for (const source of Object.keys(definition.sources)) {
    const subject = names.reader(source)
    const found = await stream.last(subject, answerWithin)
    const term = found === null ? 0 : decodeReader(found.payload, subject).term
    lines.push({
      ...ownerOf(snapshot, readerResource(source), term),
      source,
      checkpointAt: found?.storedAt ?? null,
    })
  }
  return lines
}

export function partitionsOf(
  { definition }: ClusterAccess,
  snapshot: Snapshot,
  checkpoints: readonly FoundCheckpoint[],
  waiting: ReadonlyMap<string, WaitingFrames>,
): PartitionLine[] {
  const lines: PartitionLine[] = []
  for (const set of partitionSets(definition))
    for (let partition = 0; partition < set.partitions; partition++) {
      const frames = waiting.get(partitionKey(set.name, partition)) ?? { retained: 0, last: 0 }
      const here = checkpoints.filter((one) => !one.departed && one.set === set.name && one.partition === partition)
      const term = Math.max(0, ...here.map(({ stored }) => stored.term))
      lines.push({
        ...ownerOf(snapshot, partitionResource(set.name, partition), term),
        set: set.name,
        partition,
        frames,
        processors: set.processors.map((processor) =>
          processorLine(
            processor,
            here.find((one) => one.processor === processor),
            frames.last,
            pausedIn(snapshot, processor),
          ),
        ),
      })
    }
  return lines
}

export function pausedIn({ observer }: Pick<Snapshot, 'observer'>, processor: string): boolean {
  const orders = observer.orders()
  return orders.pausePipeline || orders.pausedProcessors.has(processor)
}

function processorLine(
  processor: string,
  found: FoundCheckpoint | undefined,
  last: number,
  paused: boolean,
): ProcessorLine {
  const sequence = found?.stored.sequence ?? 0
  const lag = Math.max(0, last - sequence)
  return {
    processor,
    sequence: found === undefined ? null : sequence,
    finished: lag === 0,
    lag,
    checkpointAt: found?.stored.at || null,
    paused,
  }
}

function departedOf(checkpoints: readonly FoundCheckpoint[]): DepartedLine[] {
  const names = new Set(checkpoints.filter(({ departed }) => departed).map(({ processor }) => processor))
  return [...names].sort().map((processor) => {
    const its = checkpoints.filter((one) => one.departed && one.processor === processor)
    return {
      processor,
      partitions: its.map(({ set, partition }) => partitionKey(set, partition)),
      sequence: Math.min(...its.map(({ stored }) => stored.sequence)),
    }
  })
}
