/**
 * What a pipeline will promise and cost, told before it is started: the guarantee and the order of each path with the
 * reason, the connections on each server, the bounds in bytes. Reads the definition alone; connects to nothing.
 */

import { sinkDriver } from '../sink/drivers.js'
import { sourceDriver } from '../source/drivers.js'
import type { ClusterDefinition, PipelineDefinition, ProcessorDefinition, SourceDefinition } from './definition.js'
import { credits, partitionSets } from './graph.js'
import { type Guarantee, guaranteeOf, orderingOf, type Promised } from './guarantee.js'
import { redactText } from './redact.js'

export interface Explanation {
  readonly pipeline: string
  readonly dataDirectory: string
  readonly partitions: number
  readonly threads: number
  /** ms */
  readonly checkpointInterval: number
  /** ms */
  readonly stopDeadline: number
  readonly credits: { readonly partitionBytes: number; readonly pipelineBytes: number }
  readonly paths: readonly ExplainedPath[]
  readonly servers: readonly ExplainedServer[]
  /** How it runs on a cluster; null when explained for one machine. Times in ms. */
  readonly cluster: ClusterDefinition | null
}

export interface ExplainedPath {
  readonly source: string
  readonly sourceKind: string
  readonly processor: string
  /** `pass` without one, `module` or `inline`. */
  readonly handler: 'pass' | 'module' | 'inline'
  /** Null without a sink. */
  readonly sink: string | null
  readonly guarantee: Guarantee
  readonly reason: string
  readonly order: string
  readonly ordering: string
  /** Partitions of the set that it reads. */
  readonly partitions: number
  readonly filter: string
}

export interface ExplainedServer {
  /** Host and port, or the path of a file; no credentials. */
  readonly server: string
  readonly connections: number
  readonly uses: readonly { readonly by: string; readonly count: number; readonly purpose: string }[]
}

/** Partitions of the set in which a processor of this order runs. */
export function partitionsOf(definition: PipelineDefinition, processor: ProcessorDefinition): number {
  return processor.order === 'global' ? 1 : definition.partitions
}

export async function explainPipeline(
  definition: PipelineDefinition,
  { cluster = false }: { readonly cluster?: boolean } = {},
): Promise<Explanation> {
  const paths: ExplainedPath[] = []
  for (const [name, processor] of Object.entries(definition.processors))
    for (const from of processor.from) paths.push(await explainPath(definition, from, name, processor, cluster))
  return {
    pipeline: definition.name,
    dataDirectory: definition.dataDirectory,
    partitions: definition.partitions,
    threads: definition.threads,
    checkpointInterval: definition.checkpointInterval,
    stopDeadline: definition.stopDeadline,
    credits: { partitionBytes: credits.partition, pipelineBytes: credits.pipeline },
    paths,
    servers: await explainServers(definition, cluster),
    cluster: cluster ? definition.cluster : null,
  }
}

/** What the path from this source through this processor promises. */
export async function promiseOf(
  source: SourceDefinition,
  processor: ProcessorDefinition,
  cluster: boolean,
): Promise<Promised> {
  const { sink } = processor
  return guaranteeOf({
    replayable: (await sourceDriver(source.kind)).replayable,
    sourceKind: source.kind,
    ordered: source.kind !== 'redis-streams' || source.mode === 'read',
    cluster,
    sink: sink === null ? null : { kind: sink.kind, guarantee: (await sinkDriver(sink.kind)).guarantee(sink) },
    handler: processor.handler !== null,
    onFailure: processor.onFailure,
  })
}

async function explainPath(
  definition: PipelineDefinition,
  from: string,
  name: string,
  processor: ProcessorDefinition,
  cluster: boolean,
): Promise<ExplainedPath> {
  const source = definition.sources[from]!
  const promised = await promiseOf(source, processor, cluster)
  const keyField = source.kind === 'redis-streams' ? source.keyField : null
  const { order, meaning } = orderingOf(processor.order, processor.concurrency, source.kind, keyField)
  return {
    source: from,
    sourceKind: source.kind,
    processor: name,
    handler: processor.handler === null ? 'pass' : 'module' in processor.handler ? 'module' : 'inline',
    sink: processor.sink === null ? null : sinkName(processor),
    guarantee: promised.guarantee,
    reason: promised.reason,
    order,
    ordering: lateness(source, meaning),
    partitions: partitionsOf(definition, processor),
    filter: filterText(processor),
  }
}

function lateness(source: SourceDefinition, meaning: string): string {
  if (source.kind !== 'redis-streams' || source.mode !== 'group') return meaning
  return `${meaning}; entries that a dead consumer left come later than their successors, marked late`
}

function sinkName(processor: ProcessorDefinition): string {
  const sink = processor.sink!
  switch (sink.kind) {
    case 'jsonl':
      return `jsonl ${sink.path}`
    case 'redis':
      return `redis ${sink.write} ${sink.name}`
    case 'nats':
      return `nats ${sink.stream} ${sink.subject}`
  }
}

function filterText({ filter }: ProcessorDefinition): string {
  const parts = [
    filter.namespaces.length > 0 ? `namespaces ${filter.namespaces.join(', ')}` : null,
    filter.entities.length > 0 ? `entities ${filter.entities.join(', ')}` : null,
    filter.operations.length > 0 ? `operations ${filter.operations.join(', ')}` : null,
  ]
  return parts.filter((part) => part !== null).join('; ') || 'everything'
}

/**
 * Each source has one reader; each processor has one writer in each partition of its set. In a cluster each of these is on
 * one node at a time, so the sums hold for all nodes together.
 */
async function explainServers(definition: PipelineDefinition, cluster: boolean): Promise<ExplainedServer[]> {
  const servers = new Map<string, { by: string; count: number; purpose: string }[]>()
  const add = (server: string, by: string, count: number, purpose: string): void => {
    const shown = redactText(server)
    const uses = servers.get(shown) ?? []
    uses.push({ by, count, purpose })
    servers.set(shown, uses)
  }
  for (const [name, source] of Object.entries(definition.sources))
    for (const use of (await sourceDriver(source.kind)).connections(source))
      add(use.server, `source ${name}`, use.count, use.purpose)
  for (const [name, processor] of Object.entries(definition.processors)) {
    if (processor.sink === null) continue
    const partitions = partitionsOf(definition, processor)
    for (const use of (await sinkDriver(processor.sink.kind)).connections(processor.sink))
      add(
        use.server,
        `processor ${name}`,
        use.count * partitions,
        `${use.purpose} (${use.count} × ${partitions} partitions)`,
      )
  }
  if (cluster) {
    add('NATS', 'each node', 2, 'membership and leases; actors of other nodes')
    for (const set of partitionSets(definition))
      add(
        'NATS',
        `partitions '${set.name}'`,
        set.partitions,
        'the log and its checkpoints, one a partition, where it is owned',
      )
    for (const name of Object.keys(definition.sources))
      add('NATS', `source ${name}`, 1, 'the log and its checkpoint, where it is read')
  }
  return [...servers].map(([server, uses]) => ({
    server,
    connections: uses.reduce((sum, use) => sum + use.count, 0),
    uses,
  }))
}
