/** Runs a pipeline, says `running`, and goes on until it is killed. */
import { definePipeline } from '../../src/pipeline/define.js'
import { resolvePipeline } from '../../src/pipeline/resolve.js'
import { runPipeline } from '../../src/pipeline/run.js'
import type { PipelineConfig } from '../../src/pipeline/schema.js'
import { realWorld } from '../../src/world/real.js'
import { quietLog } from './quiet-log.js'

const { config } = JSON.parse(process.argv[2]!) as { readonly config: PipelineConfig }
const running = await runPipeline(resolvePipeline(definePipeline(config)), { world: realWorld, log: quietLog })
process.stdout.write('running\n')
await running.ended
process.exit(1)
