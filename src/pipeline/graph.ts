/**
 * From a definition to a supervision tree: which partition sets there are, who reads them, and every child spec.
 *
 *     node (one-for-one)
 *     └─ pipelines (one-for-one)
 *        └─ <pipeline> (rest-for-one)
 *           ├─ log                        frames and checkpoints; one writer
 *           ├─ owners (one-for-one)
 *           │  └─ <set>-<n> (rest-for-one, on a worker thread): consumer ▸ processors (one-for-one): <processor>…
 *           ├─ readers (one-for-one)
 *           │  └─ <source>
 *           └─ terminator                 drains front to back on stop
 */
import type { ChildSpec, Placement } from '../actor/actor.js'
import { childOf } from '../actor/child.js'
import { supervisor } from '../actor/supervisor.js'
import type { PartitionSet } from '../log/log.js'
import { log } from '../log/log-actor.js'
import { consumer } from '../partition/owner.js'
import { reader } from '../partition/reader.js'
import type { RoutedSet } from '../partition/router.js'
import type { HandlerRef } from '../processor/load.js'
import { processor } from '../processor/processor-actor.js'
import type { PipelineDefinition, ProcessorDefinition } from './definition.js'
import { handlerPlace } from './handler.js'
import { terminator } from './terminator.js'

/** Credits in bytes: what may be unfinished in one partition, and in the whole pipeline. */
export const credits = { partition: 4 * 1024 * 1024, pipeline: 64 * 1024 * 1024 } as const

/** Mailboxes that carry frames are bounded by credits; this bound only catches what breaks that rule. */
export const frameMailbox = { capacity: 262_144, full: 'fail' } as const

/** An outage of a server is waited for: retried every few seconds for about ten minutes before it is escalated. */
export const patient = {
  intensity: { restarts: 120, periodMs: 600_000 },
  backoff: { initialMs: 100, maxMs: 5_000, resetAfterMs: 10_000 },
} as const

export interface GraphOptions {
  /** For chaos: ms that every checkpoint flush is late. */
  readonly flushDelay?: number
}

export function setOf(definition: ProcessorDefinition): 'key' | 'global' {
  return definition.order === 'global' ? 'global' : 'key'
}

/** The partition sets that the processors' orders ask for. */
export function partitionSets(definition: PipelineDefinition): readonly PartitionSet[] {
  const names = { key: [] as string[], global: [] as string[] }
  for (const [name, processor] of Object.entries(definition.processors)) names[setOf(processor)].push(name)
  const sets: PartitionSet[] = []
  if (names.key.length > 0) sets.push({ name: 'key', partitions: definition.partitions, processors: names.key })
  if (names.global.length > 0) sets.push({ name: 'global', partitions: 1, processors: names.global })
  return sets
}

/** The sets as one source sees them: with the filters of the processors that read it. */
export function routedSets(definition: PipelineDefinition, source: string): readonly RoutedSet[] {
  return partitionSets(definition).map((set) => ({
    name: set.name,
    partitions: set.partitions,
    filters: set.processors
      .map((name) => definition.processors[name]!)
      .filter((processor) => processor.from.length === 0 || processor.from.includes(source))
      .map((processor) => processor.filter),
  }))
}

export function pathsOf(definition: PipelineDefinition) {
  const root = `/node/pipelines/${definition.name}`
  return {
    root,
    log: `${root}/log`,
    terminator: `${root}/terminator`,
    owner: (set: string, partition: number) => `${root}/owners/${set}-${partition}`,
    processor: (set: string, partition: number, name: string) =>
      `${root}/owners/${set}-${partition}/processors/${name}`,
    reader: (source: string) => `${root}/readers/${source}`,
  }
}

export function nodeSpec(definition: PipelineDefinition, options: GraphOptions = {}): ChildSpec {
  return childOf(supervisor, {
    id: 'node',
    args: {
      strategy: 'one-for-one',
      children: [
        childOf(supervisor, {
          id: 'pipelines',
          args: { strategy: 'one-for-one', children: [pipelineSpec(definition, options)] },
        }),
      ],
    },
  })
}

function pipelineSpec(definition: PipelineDefinition, options: GraphOptions): ChildSpec {
  const paths = pathsOf(definition)
  const sources = Object.keys(definition.sources)
  const owners = ownerSpecs(definition)
  return childOf(supervisor, {
    id: definition.name,
    args: {
      strategy: 'rest-for-one',
      children: [
        childOf(log, {
          id: 'log',
          mailbox: frameMailbox,
          args: {
            dataDirectory: definition.dataDirectory,
            sets: partitionSets(definition),
            sources,
            checkpointInterval: definition.checkpointInterval,
            flushDelay: options.flushDelay ?? 0,
          },
        }),
        childOf(supervisor, {
          id: 'owners',
          args: {
            strategy: 'one-for-one',
            // A thread that dies takes all its owners along: the period allows for several such deaths.
            intensity: { restarts: 10 * owners.length, periodMs: 30_000 },
            backoff: { initialMs: 50, maxMs: 5_000, resetAfterMs: 5_000 },
            children: owners,
          },
        }),
        childOf(supervisor, {
          id: 'readers',
          args: {
            strategy: 'one-for-one',
            ...patient,
            children: sources.map((source) =>
              readerSpec(definition, source, { id: source, log: paths.log, cluster: false }),
            ),
          },
        }),
        childOf(terminator, {
          id: 'terminator',
          shutdownMs: definition.stopDeadline + 1_000,
          args: { readers: sources.map(paths.reader), log: paths.log, deadline: definition.stopDeadline },
        }),
      ],
    },
  })
}

/** @param cluster its log is a stream: frames wait for the batch under way */
export function readerSpec(
  definition: PipelineDefinition,
  source: string,
  { id, log, cluster }: { readonly id: string; readonly log: string; readonly cluster: boolean },
): ChildSpec {
  const config = definition.sources[source]!
  const sources = Object.keys(definition.sources).length
  return childOf(reader, {
    id,
    mailbox: frameMailbox,
    placement: config.placement === 'thread' ? { thread: `reader-${source}` } : 'inline',
    args: {
      pipeline: definition.name,
      source,
      config,
      log,
      sets: routedSets(definition, source),
      credits: { partition: credits.partition / sources, source: credits.pipeline / sources },
      patient: cluster,
    },
  })
}

function ownerSpecs(definition: PipelineDefinition): ChildSpec[] {
  const specs: ChildSpec[] = []
  for (const set of partitionSets(definition))
    for (let partition = 0; partition < set.partitions; partition++)
      specs.push(ownerSpec(definition, set, partition, placementOf(definition, specs.length)))
  return specs
}

/** Partitions are dealt to the threads in turn. */
export function placementOf(definition: PipelineDefinition, index: number): Placement {
  return definition.threads === 0 ? 'inline' : { thread: `owners-${index % definition.threads}` }
}

function ownerSpec(
  definition: PipelineDefinition,
  set: PartitionSet,
  partition: number,
  placement: Placement,
): ChildSpec {
  const path = pathsOf(definition).owner(set.name, partition)
  return childOf(supervisor, {
    id: `${set.name}-${partition}`,
    placement,
    args: {
      strategy: 'rest-for-one',
      children: [
        consumerSpec(definition, set.name, partition, set.processors, pathsOf(definition).log),
        processorsSpec(
          set.processors.map((name) =>
            processorSpec(definition, name, { id: name, set, partition, consumer: `${path}/consumer` }),
          ),
        ),
      ],
    },
  })
}

/** The processors of a partition: each falls and rises alone, and waits for the sink of no other. */
export function processorsSpec(children: ChildSpec[]): ChildSpec {
  return childOf(supervisor, {
    id: 'processors',
    args: { strategy: 'one-for-one', startup: 'together', ...patient, children },
  })
}

export function consumerSpec(
  definition: PipelineDefinition,
  set: string,
  partition: number,
  processors: readonly string[],
  log: string,
): ChildSpec {
  return childOf(consumer, {
    id: 'consumer',
    mailbox: frameMailbox,
    args: {
      set,
      partition,
      processors: processors.map((name) => ({ name, from: definition.processors[name]!.from })),
      log,
    },
  })
}

export function processorSpec(
  definition: PipelineDefinition,
  name: string,
  place: {
    readonly id: string
    readonly set: PartitionSet
    readonly partition: number
    readonly consumer: string
    readonly permit?: string
  },
): ChildSpec {
  const { order, concurrency, filter, sink, retry, onFailure } = definition.processors[name]!
  return childOf(processor, {
    id: place.id,
    mailbox: frameMailbox,
    args: {
      pipeline: definition.name,
      processor: name,
      set: place.set.name,
      partition: place.partition,
      partitions: place.set.partitions,
      order,
      concurrency,
      filter,
      handler: handlerRef(definition, name),
      sink,
      retry,
      onFailure,
      dataDirectory: definition.dataDirectory,
      consumer: place.consumer,
      permit: place.permit ?? null,
    },
  })
}

const handlerModule = import.meta.url.replace(/graph\.(ts|js)$/, 'handler.$1')

/** How the owner's thread finds the handler. Inline, a value can be passed as it is. */
function handlerRef(definition: PipelineDefinition, name: string): HandlerRef | null {
  const { handler } = definition.processors[name]!
  if (handler === null) return null
  if (definition.threads === 0 && 'value' in handler) return { value: handler.value }
  return { loader: { module: handlerModule, export: 'loadHandler' }, place: handlerPlace(definition, name) }
}
