/**
 * One pipeline in this process, from the claim on its data directory to its release: what `troupe run` and the SDK's
 * `runPipeline` do.
 *
 * Handlers are loaded first, since a module that throws needs no server to be found; then the directory is claimed, and
 * the pipeline checks its servers and starts. Whatever fails, what was claimed is released.
 */
import { join } from 'node:path'
import type { PipelineDefinition } from '../pipeline/definition.js'
import { preflightHandlers } from '../pipeline/handler.js'
import type { RunningPipeline, RunOptions } from '../pipeline/run.js'
import { claimDataDirectory } from './claim.js'

/**
 * @throws TroupeError: `handler-load`, `data-directory-in-use`, what the drivers' preflights find
 */
export async function runNode(pipeline: PipelineDefinition, options: RunOptions): Promise<RunningPipeline> {
  const definition = options.cluster === undefined ? pipeline : ofNode(pipeline, options.cluster.node)
  await preflightHandlers(definition)
  const claim = await claimDataDirectory(definition.dataDirectory, options)
  try {
    const { runPipeline } = await import('../pipeline/run.js')
    const running = await runPipeline(definition, options)
    claim.serve({ status: () => running.status(), tree: () => running.tree() })
    const ended = running.ended.finally(() => claim.release())
    return {
      ...running,
      async stop(deadlineMs) {
        await running.stop(deadlineMs)
        await claim.release()
      },
      ended,
    }
  } catch (error) {
    await claim.release()
    throw error
  }
}

/** Nodes may share a machine: each has a directory of its own, for its socket and its dead letters. */
export function ofNode(pipeline: PipelineDefinition, node: string): PipelineDefinition {
  return { ...pipeline, dataDirectory: join(pipeline.dataDirectory, 'nodes', node) }
}
