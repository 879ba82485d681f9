/** `troupe validate FILE`: checks a pipeline and loads its handlers, without touching a server. `--schema` prints the JSON Schema. */
import { Command } from 'commander'
import { demandGuarantees } from '../pipeline/demand.js'
import { preflightHandlers } from '../pipeline/handler.js'
import { loadPipeline } from '../pipeline/load.js'
import { pipelineJsonSchema } from '../pipeline/schema.js'
import { TroupeError } from '../world/error.js'

interface ValidateFlags {
  readonly schema?: boolean
}

export function validateCommand(): Command {
  return new Command('validate')
    .description('check a pipeline and load its handlers; starts nothing')
    .argument('[file]', 'pipeline.yaml, or a module that default-exports definePipeline({…})')
    .option('--schema', 'print the JSON Schema of pipeline files, for editors')
    .action(async (file: string | undefined, flags: ValidateFlags) => {
      if (flags.schema === true) {
        process.stdout.write(`${JSON.stringify(pipelineJsonSchema(), null, 2)}\n`)
        return
      }
      if (file === undefined)
        throw new TroupeError({ code: 'usage', message: 'validate needs a file, or --schema', exitCode: 2 })
      const definition = await loadPipeline(file)
      // Where it will run is not known here: only what no deployment can promise is wrong.
      await demandGuarantees(definition, true)
      await preflightHandlers(definition)
      const count = (things: object): number => Object.keys(things).length
      process.stdout.write(
        `${file} is valid: pipeline ${definition.name}, sources ${count(definition.sources)}, processors ${count(definition.processors)}, partitions ${definition.partitions}\n`,
      )
    })
}
