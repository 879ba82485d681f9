/**
 * Finds a processor's handler in the thread that runs it.
 *
 * A definition crosses threads without its handlers; what crosses is where to find them (`handlerPlace`).
 */
import type { ProcessorHandler } from '../processor/processor.js'
import { TroupeError } from '../world/error.js'
import { isHandler, isPipelineModule } from './define.js'
import type { PipelineDefinition } from './definition.js'
import { importModule } from './module.js'

/** Cloneable. URLs are absolute file URLs. */
export type HandlerPlace = { readonly module: string } | { readonly pipelineModule: string; readonly processor: string }

/** Where another thread finds the handler; null if the processor has none. */
export function handlerPlace(definition: PipelineDefinition, processor: string): HandlerPlace | null {
  const handler = definition.processors[processor]!.handler
  if (handler === null) return null
  if ('module' in handler) return { module: handler.module }
  if (definition.module !== null) return { pipelineModule: definition.module, processor }
  throw new TroupeError({
    code: 'handler-not-loadable',
    message: 'its handler is a value of a pipeline without a module, which other threads cannot load',
    place: `processor ${processor}`,
    remedy: 'default-export the pipeline from a module of its own, name a module as the handler, or set threads: 0',
    exitCode: 2,
    permanent: true,
  })
}

/**
 * Loads a handler. Works in any thread; the module is run once in each.
 * @throws TroupeError `handler-load` (the module throws, or does not compile) or `not-a-processor`, exit code 2
 */
export async function loadHandler(place: HandlerPlace): Promise<ProcessorHandler> {
  if ('module' in place) {
    const exports = await importModule(place.module, 'handler-load')
    if (isHandler(exports.default)) return exports.default
    throw notAProcessor(place.module, 'the module has no default export made with defineProcessor')
  }
  const exports = await importModule(place.pipelineModule, 'handler-load')
  const pipeline = exports.default
  const handler = isPipelineModule(pipeline) ? pipeline.config.processors[place.processor]?.handler : undefined
  if (isHandler(handler)) return handler
  throw notAProcessor(place.pipelineModule, `processors.${place.processor}.handler was not made with defineProcessor`)
}

/**
 * Loads each handler's module once, on this thread.
 * @throws TroupeError `handler-load` or `not-a-processor`, exit code 2
 */
export async function preflightHandlers(definition: PipelineDefinition): Promise<void> {
  for (const [name, processor] of Object.entries(definition.processors)) {
    if (processor.handler === null || 'value' in processor.handler) continue
    const place = handlerPlace(definition, name)
    if (place !== null) await loadHandler(place)
  }
}

function notAProcessor(url: string, message: string): TroupeError {
  return new TroupeError({
    code: 'not-a-processor',
    message,
    place: decodeURIComponent(new URL(url).pathname),
    remedy: 'export default defineProcessor({ handle(event) { … } })',
    exitCode: 2,
    permanent: true,
  })
}
