/**
 * Loads a handler in the thread that runs it, through the loader that the pipeline names: this room knows nothing of
 * pipeline files.
 */
import type { BehaviorRef } from '../actor/actor.js'
import { compiled } from '../actor/loader.js'
import type { ProcessorHandler } from './processor.js'

/** The handler itself, for an actor on the same thread; or, cloneable, which function finds it and what to tell that. */
export type HandlerRef =
  | { readonly value: ProcessorHandler }
  | { readonly loader: BehaviorRef; readonly place: unknown }

type Loader = (place: unknown) => Promise<ProcessorHandler>

export async function loadHandler(ref: HandlerRef): Promise<ProcessorHandler> {
  if ('value' in ref) return ref.value
  const atSource = import.meta.url.endsWith('.ts')
  const module = (await import(atSource ? ref.loader.module : compiled(ref.loader.module))) as Record<string, Loader>
  return module[ref.loader.export]!(ref.place)
}
