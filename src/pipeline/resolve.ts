/**
 * From what an author wrote to a `PipelineDefinition`: checked by the schema, checked across keys, every default filled
 * in, every path absolute. Throws one error that holds all problems.
 */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { isAbsolute, resolve as resolvePath } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { SinkDefinition } from '../sink/definition.js'
import type { PipelineModule } from './define.js'
import type { ClusterDefinition, PipelineDefinition, ProcessorDefinition, SourceDefinition } from './definition.js'
import { nearest } from './nearest.js'
import { formatPath, invalidPipeline, type Origin, type Path, type Problem, problemsOfIssues } from './problem.js'
import { type CheckedPipeline, type PipelineConfig, pipelineSchema } from './schema.js'

export interface ResolveOptions {
  /** Absolute file URL of the module that holds the pipeline; needed where handlers are values and threads are used. */
  readonly module?: string | null
  /** What relative paths are relative to; default the working directory. */
  readonly directory?: string
  /** Cores to share out by default; default those of the machine. */
  readonly cores?: number
}

interface Setting {
  readonly origin: Origin
  readonly module: string | null
  readonly directory: string
  readonly cores: number
}

const inMemory: Origin = {
  label: 'definePipeline',
  locate: () => null,
  quote: () => null,
}

/**
 * A pipeline made in memory, ready for `runPipeline`.
 * @throws TroupeError, exit code 2; `problemsOf` gives the single errors
 */
export function resolvePipeline(pipeline: PipelineModule, options: ResolveOptions = {}): PipelineDefinition {
  const origin: Origin = { ...inMemory, quote: (path) => quoteOf(pipeline.config, path) }
  return resolveConfig(pipeline.config, origin, options)
}

export function resolveConfig(
  config: unknown,
  origin: Origin,
  options: ResolveOptions,
  earlier: { readonly problems: readonly Problem[]; readonly unfilled: readonly Path[] } = {
    problems: [],
    unfilled: [],
  },
): PipelineDefinition {
  const setting: Setting = {
    origin,
    module: options.module ?? null,
    directory: options.directory ?? process.cwd(),
    cores: options.cores ?? availableParallelism(),
  }
  const parsed = pipelineSchema.safeParse(config)
  const found = parsed.success
    ? crossProblems(parsed.data, setting)
    : [
        ...problemsOfIssues(parsed.error.issues, pipelineSchema, config, origin),
        ...fromProblems(config as Partial<PipelineConfig>, origin),
      ]
  const unfilled = new Set(earlier.unfilled.map(formatPath))
  const problems = [...earlier.problems, ...found.filter((problem) => !unfilled.has(formatPath(problem.path)))]
  if (problems.length > 0 || !parsed.success) throw invalidPipeline(inOrder(problems, origin), origin)
  return complete(parsed.data, setting)
}

/** Names that an author wrote in code; anything longer or stranger may be a secret. */
export function quoteOf(config: unknown, path: Path): string | null {
  let value = config
  for (const part of path) value = (value as Record<string | number, unknown> | null | undefined)?.[part]
  return typeof value === 'string' && /^[A-Za-z0-9_-]{1,64}$/.test(value) ? value : null
}

function inOrder(problems: readonly Problem[], origin: Origin): Problem[] {
  const rank = (problem: Problem): number => {
    const [line, column] = (problem.position ?? origin.locate(problem.path, problem.at) ?? '0:0').split(':').map(Number)
    return line! * 10_000 + column!
  }
  return [...problems].sort((a, b) => rank(a) - rank(b))
}

/** Names in `from` that are no sources; also for a pipeline that has other faults, so that all are told at once. */
function fromProblems(config: Partial<PipelineConfig>, origin: Origin): Problem[] {
  const sources = Object.keys(objectOf(config?.sources))
  if (sources.length === 0) return []
  return Object.entries(objectOf(config?.processors)).flatMap(([name, processor]) => {
    const from: unknown = objectOf(processor).from
    const list: unknown[] = Array.isArray(from) ? from : [from]
    return list.flatMap((source, index) => {
      if (typeof source !== 'string' || sources.includes(source)) return []
      const path: Path = ['processors', name, 'from', ...(Array.isArray(from) ? [index] : [])]
      const quoted = origin.quote(path)
      const meant = quoted === null ? null : nearest(quoted, sources)
      return [
        {
          code: 'unknown-source',
          path,
          at: 'value' as const,
          message: `names ${quoted === null ? 'something that is' : `${JSON.stringify(quoted)}, which is`} no source of this pipeline${meant === null ? '' : `; did you mean ${meant}?`}`,
          remedy: `sources: ${sources.join(', ')}`,
        },
      ]
    })
  })
}

function objectOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}

function crossProblems(pipeline: CheckedPipeline, setting: Setting): Problem[] {
  const problems = fromProblems(pipeline as Partial<PipelineConfig>, setting.origin)
  const add = (code: string, path: Path, message: string, remedy?: string): void => {
    problems.push({ code, path, at: 'value', message, ...(remedy === undefined ? {} : { remedy }) })
  }
  if (Object.keys(pipeline.sources).length === 0) add('no-sources', ['sources'], 'must hold at least one source')
  if (Object.keys(pipeline.processors).length === 0)
    add('no-processors', ['processors'], 'must hold at least one processor')
  for (const [name, processor] of Object.entries(pipeline.processors)) {
    const path: Path = ['processors', name]
    if (processor.handler == null && processor.sink == null)
      add('idle-processor', path, 'has neither a handler nor a sink', 'give it one of them')
    if (processor.order === 'global' && (processor.concurrency ?? 1) > 1)
      add('out-of-range', [...path, 'concurrency'], 'must be 1 with order global')
    if (processor.retry.initial > processor.retry.max)
      add('out-of-range', [...path, 'retry', 'initial'], 'must not be above retry.max')
    const missing = missingModule(processor.handler, setting.directory)
    if (missing !== null)
      add(
        'no-such-module',
        [...path, 'handler'],
        'names a module that does not exist',
        `it was looked for at ${missing}`,
      )
    if (isValue(processor.handler) && setting.module === null && (pipeline.threads ?? 0) > 0)
      add(
        'handler-not-loadable',
        [...path, 'handler'],
        'is a value of a pipeline without a module, which other threads cannot load',
        'default-export the pipeline from a module of its own, name a module as the handler, or set threads: 0',
      )
  }
  // A misspelt name in a from is told already; that its source is not read would only repeat it.
  if (problems.some(({ code }) => code === 'unknown-source')) return problems
  const read = readSources(pipeline)
  for (const name of Object.keys(pipeline.sources))
    if (Object.keys(pipeline.processors).length > 0 && !read.has(name))
      add('unread-source', ['sources', name], 'is read by no processor', 'name it in a from, or take it out')
  problems.push(...sharedSlots(pipeline), ...loops(pipeline))
  return problems
}

function readSources(pipeline: CheckedPipeline): ReadonlySet<string> {
  const all = Object.keys(pipeline.sources)
  return new Set(Object.values(pipeline.processors).flatMap((processor) => processor.from ?? all))
}

/** Two readers of one slot would cut each other off. */
function sharedSlots(pipeline: CheckedPipeline): Problem[] {
  const owners = new Map<string, string>()
  return Object.entries(pipeline.sources).flatMap(([name, source]) => {
    if (source.kind !== 'postgres') return []
    const slot = source.slot ?? identifier(pipeline.name, name)
    const server = `${serverOf(source.url)}/${slot}`
    const owner = owners.get(server)
    if (owner === undefined) {
      owners.set(server, name)
      return []
    }
    return [
      {
        code: 'duplicate-slot',
        path: ['sources', name, 'slot'],
        at: 'value' as const,
        message: `is the slot ${slot}, which source ${owner} reads already`,
        remedy: 'give each source a slot of its own',
      },
    ]
  })
}

/** A sink that writes to a stream which the same processor reads would feed itself without end. */
function loops(pipeline: CheckedPipeline): Problem[] {
  const all = Object.keys(pipeline.sources)
  return Object.entries(pipeline.processors).flatMap(([name, processor]) => {
    const sink = processor.sink
    if (sink?.kind !== 'redis' || sink.write !== 'stream') return []
    return (processor.from ?? all).flatMap((from) => {
      const source = pipeline.sources[from]
      if (source?.kind !== 'redis-streams' || serverOf(source.url) !== serverOf(sink.url)) return []
      const loop = source.streams.find(
        (stream) => (sink.name ?? streamName).replaceAll('{entity}', stream).replaceAll('{source}', from) === stream,
      )
      if (loop === undefined) return []
      return [
        {
          code: 'sink-loop',
          path: ['processors', name, 'sink', sink.name === undefined ? 'kind' : 'name'] as Path,
          at: 'value' as const,
          message: `writes to the stream that source ${from} reads: the pipeline would feed itself`,
          remedy: 'write to a stream of another name',
        },
      ]
    })
  })
}

function serverOf(url: string): string {
  const { host, pathname, search } = new URL(url)
  return `${host}${pathname === '/' ? '/0' : pathname}${host === '' ? search : ''}`
}

type CheckedHandler = CheckedPipeline['processors'][string]['handler']

function isValue(handler: CheckedHandler): boolean {
  return typeof handler === 'object' && handler !== null && !(handler instanceof URL)
}

function moduleUrl(handler: string | URL, directory: string): string {
  if (handler instanceof URL) return handler.href
  if (handler.startsWith('file:')) return new URL(handler).href
  return pathToFileURL(resolvePath(directory, handler)).href
}

function missingModule(handler: CheckedHandler, directory: string): string | null {
  if (typeof handler !== 'string' && !(handler instanceof URL)) return null
  const url = moduleUrl(handler, directory)
  if (!url.startsWith('file:')) return url
  const path = fileURLToPath(url)
  return existsSync(path) ? null : path
}

const streamName = '{source}:{entity}'
const rowName = '{entity}:{key}'

function complete(pipeline: CheckedPipeline, setting: Setting): PipelineDefinition {
  const data = pipeline.data ?? `.troupe/${pipeline.name}`
  return {
    name: pipeline.name,
    dataDirectory: resolvePath(setting.directory, data),
    module: setting.module,
    partitions: pipeline.partitions,
    threads: pipeline.threads ?? defaultThreads(pipeline, setting),
    stopDeadline: pipeline.stopDeadline,
    checkpointInterval: pipeline.checkpointInterval,
    cluster: completeCluster(pipeline.cluster),
    sources: mapValues(pipeline.sources, (source, name) => completeSource(pipeline.name, name, source)),
    processors: mapValues(pipeline.processors, (processor) => completeProcessor(pipeline, processor, setting)),
  }
}

function completeCluster(cluster: CheckedPipeline['cluster']): ClusterDefinition {
  return {
    ...cluster,
    replicas: cluster.replicas ?? null,
    holdback: cluster.durability === 'synced' ? 0 : cluster.holdback,
  }
}

/** One thread for every 4 partitions, at most the cores; none where handlers live in this thread alone. */
function defaultThreads(pipeline: CheckedPipeline, setting: Setting): number {
  const bound = Object.values(pipeline.processors).some((processor) => isValue(processor.handler))
  if (bound && setting.module === null) return 0
  return Math.max(1, Math.min(Math.ceil(pipeline.partitions / 4), setting.cores))
}

function mapValues<T, R>(values: Readonly<Record<string, T>>, map: (value: T, name: string) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, map(value, name)]))
}

function completeSource(pipeline: string, name: string, source: CheckedPipeline['sources'][string]): SourceDefinition {
  if (source.kind === 'redis-streams')
    return { ...source, group: source.group ?? (source.mode === 'group' ? `troupe-${pipeline}` : null) }
  return {
    ...source,
    publication: source.publication ?? identifier(pipeline, name),
    slot: source.slot ?? identifier(pipeline, name),
    createPublication: source.createPublication ?? (source.tables.length > 0 ? 'if-missing' : 'never'),
  }
}

/** A PostgreSQL name for a source: at most 63 of a-z, 0-9 and _; what had to be cut is told apart by a hash. */
function identifier(pipeline: string, source: string): string {
  const full = `troupe_${pipeline}_${source}`.toLowerCase().replace(/[^a-z0-9_]/g, '_')
  if (full.length <= 63) return full
  const digest = createHash('sha256').update(`${pipeline}/${source}`).digest('hex').slice(0, 8)
  return `${full.slice(0, 54)}_${digest}`
}

function completeProcessor(
  pipeline: CheckedPipeline,
  processor: CheckedPipeline['processors'][string],
  setting: Setting,
): ProcessorDefinition {
  return {
    from: processor.from ?? Object.keys(pipeline.sources),
    order: processor.order,
    concurrency: processor.order === 'global' ? 1 : (processor.concurrency ?? 16),
    filter: processor.filter,
    handler: completeHandler(processor.handler, setting.directory),
    sink: processor.sink == null ? null : completeSink(processor.sink, setting.directory),
    start: processor.start,
    retry: processor.retry,
    onFailure: processor.onFailure,
    guarantee: processor.guarantee ?? null,
  }
}

function completeHandler(handler: CheckedHandler, directory: string): ProcessorDefinition['handler'] {
  if (handler == null) return null
  if (typeof handler === 'string' || handler instanceof URL) return { module: moduleUrl(handler, directory) }
  return { value: handler }
}

function completeSink(
  sink: NonNullable<CheckedPipeline['processors'][string]['sink']>,
  directory: string,
): SinkDefinition {
  if (sink.kind === 'redis') return { ...sink, name: sink.name ?? (sink.write === 'stream' ? streamName : rowName) }
  if (sink.kind === 'nats' || sink.path === '-' || isAbsolute(sink.path)) return sink
  return { ...sink, path: resolvePath(directory, sink.path) }
}
