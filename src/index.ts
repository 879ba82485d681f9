/**
 * The public SDK: what pipelines, processors and programs that embed Troupe import from `troupe`.
 *
 * Light on purpose: worker threads load it for every handler. Drivers and the runtime are loaded when they are used.
 */
export type {
  ChangeEvent,
  EventSource,
  Marker,
  Operation,
  Row,
  StreamItem,
  TransactionInfo,
  Value,
} from './event/event.js'
export type { LossWindow } from './event/marker.js'
export { comparePositions, formatPosition, type Position, parsePosition } from './event/position.js'
export { definePipeline, type PipelineModule } from './pipeline/define.js'
export type { PipelineDefinition } from './pipeline/definition.js'
export type { RunningPipeline, RunOptions } from './pipeline/run.js'
export type { PipelineConfig } from './pipeline/schema.js'
export type { PipelineStatus } from './pipeline/status-shape.js'
export {
  defineProcessor,
  type Emission,
  type ProcessorContext,
  type ProcessorHandler,
  type ProcessorSpec,
  record,
} from './processor/processor.js'
export type { SinkItem, SinkRecord } from './sink/sink.js'
export { TroupeError } from './world/error.js'
export type { Logger } from './world/logger.js'
export { realWorld } from './world/real.js'
export type { World } from './world/world.js'

import type { PipelineModule } from './pipeline/define.js'
import type { PipelineDefinition } from './pipeline/definition.js'
import type { LoadOptions } from './pipeline/load.js'
import type { ResolveOptions } from './pipeline/resolve.js'
import type { RunningPipeline, RunOptions } from './pipeline/run.js'

/** Reads, checks and completes a pipeline file. @throws TroupeError, exit code 2 */
export async function loadPipeline(path: string, options?: LoadOptions): Promise<PipelineDefinition> {
  return (await import('./pipeline/load.js')).loadPipeline(path, options)
}

/** Checks and completes a pipeline made in memory. @throws TroupeError, exit code 2 */
export async function resolvePipeline(pipeline: PipelineModule, options?: ResolveOptions): Promise<PipelineDefinition> {
  return (await import('./pipeline/resolve.js')).resolvePipeline(pipeline, options)
}

/**
 * Runs a pipeline in this process. Resolves once it runs; `ended` tells how it came to an end.
 * The data directory is claimed: a second process on it is refused.
 * @throws TroupeError: a handler that does not load, a server that refuses, a data directory in use
 */
export async function runPipeline(definition: PipelineDefinition, options: RunOptions): Promise<RunningPipeline> {
  return (await import('./operator/node.js')).runNode(definition, options)
}
