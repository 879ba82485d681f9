/**
 * Everything that can be found wrong before a pipeline is started: handlers that do not load, servers that refuse,
 * publications and slots that are missing. Creates what the sources' policies allow, and nothing else.
 */

import { sinkDriver } from '../sink/drivers.js'
import { sourceDriver } from '../source/drivers.js'
import type { Logger } from '../world/logger.js'
import type { World } from '../world/world.js'
import type { PipelineDefinition } from './definition.js'
import { demandGuarantees } from './demand.js'
import { preflightHandlers } from './handler.js'

/**
 * Demanded guarantees and handlers first (they need no server), then sources, then sinks, one after the other so that the first error is told
 * plainly.
 * @throws TroupeError as the drivers' own preflights
 */
export async function preflightPipeline(
  definition: PipelineDefinition,
  { world, log, cluster = false }: { readonly world: World; readonly log: Logger; readonly cluster?: boolean },
): Promise<void> {
  await demandGuarantees(definition, cluster)
  await preflightHandlers(definition)
  for (const [name, source] of Object.entries(definition.sources))
    await (await sourceDriver(source.kind)).preflight(source, { world, log, pipeline: definition.name, name })
  for (const [name, processor] of Object.entries(definition.processors)) {
    if (processor.sink === null) continue
    const context = { world, log, pipeline: definition.name, processor: name }
    await (await sinkDriver(processor.sink.kind)).preflight(processor.sink, context)
  }
}
