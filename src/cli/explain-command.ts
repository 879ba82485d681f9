/** `troupe explain FILE`: what each path of a pipeline promises and why, and what it costs; connects to nothing. */
import { Command } from 'commander'
import { explanationText } from '../pipeline/explain-text.js'
import { loadPipeline } from '../pipeline/load.js'

export function explainCommand(): Command {
  return new Command('explain')
    .description('guarantee and order of each path with the reason, connections on each server, bounds')
    .argument('<file>', 'pipeline.yaml, or a module that default-exports definePipeline({…})')
    .option('--cluster', 'as it runs on a cluster')
    .option('--json', 'as JSON')
    .action(async (file: string, flags: { readonly cluster?: boolean; readonly json?: boolean }) => {
      const { explainPipeline } = await import('../pipeline/explain.js')
      const explanation = await explainPipeline(await loadPipeline(file), { cluster: flags.cluster === true })
      const text = flags.json === true ? `${JSON.stringify(explanation, null, 2)}\n` : explanationText(explanation)
      process.stdout.write(text)
    })
}
