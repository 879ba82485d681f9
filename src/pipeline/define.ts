/** The TypeScript form of a pipeline: the same keys as the file's, and handlers as values. */
import type { ProcessorHandler } from '../processor/processor.js'
import type { PipelineConfig } from './schema.js'

/** A pipeline as it was written, not yet checked: `loadPipeline` and `resolvePipeline` do that. */
export interface PipelineModule {
  readonly kind: 'pipeline'
  readonly config: PipelineConfig
}

/**
 * Declares a pipeline: the default export of its module.
 *
 *     export default definePipeline({
 *       name: 'shop',
 *       sources: { db: { kind: 'postgres', url: process.env.DATABASE_URL!, tables: ['public.orders'] } },
 *       processors: { orders: { handler: defineProcessor({ handle: (event) => event }), sink: { kind: 'jsonl', path: '-' } } },
 *     })
 *
 * With threads, each worker loads the module again to find its handlers: what it does at load happens once per thread.
 */
export function definePipeline(config: PipelineConfig): PipelineModule {
  return { kind: 'pipeline', config }
}

/** By shape: the module may have been loaded with another copy of the SDK. */
export function isPipelineModule(value: unknown): value is PipelineModule {
  if (typeof value !== 'object' || value === null) return false
  const candidate = value as Partial<PipelineModule>
  return candidate.kind === 'pipeline' && typeof candidate.config === 'object' && candidate.config !== null
}

/** Whether a value was made with `defineProcessor`; by shape, for the same reason. */
export function isHandler(value: unknown): value is ProcessorHandler {
  if (typeof value !== 'object' || value === null) return false
  const candidate = value as Partial<ProcessorHandler>
  return candidate.kind === 'processor' && typeof candidate.handle === 'function'
}
