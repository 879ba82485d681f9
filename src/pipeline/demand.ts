/** Refuses a pipeline of which a path promises less than its processor demands: before anything is started. */
import { TroupeError } from '../world/error.js'
import type { PipelineDefinition } from './definition.js'
import { promiseOf } from './explain.js'
import { meets } from './guarantee.js'

/** @throws TroupeError `guarantee-not-met` */
export async function demandGuarantees(definition: PipelineDefinition, cluster: boolean): Promise<void> {
  for (const [name, processor] of Object.entries(definition.processors)) {
    if (processor.guarantee === null) continue
    for (const from of processor.from) {
      const { guarantee, reason } = await promiseOf(definition.sources[from]!, processor, cluster)
      if (meets(guarantee, processor.guarantee)) continue
      throw new TroupeError({
        code: 'guarantee-not-met',
        message: `processor ${name} demands ${processor.guarantee}, and the path from source ${from} is ${guarantee}: ${reason}`,
        place: `pipeline ${definition.name}, processors.${name}.guarantee`,
        remedy:
          'give it a sink that stores the checkpoint with the work (a redis sink with exactlyOnce: true) and a source that can be read again, or demand less',
        exitCode: 2,
        permanent: true,
      })
    }
  }
}
