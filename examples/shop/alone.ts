/** The pipeline in this process; what is killed are its worker threads. */
import { type Logger, loadPipeline, realWorld, runPipeline } from '../../src/index.js'
import type { Runner } from './runner.js'

/** @param file of the pipeline, compiled */
export async function runAlone(
  file: string,
  environment: Readonly<Record<string, string>>,
  log: Logger,
): Promise<Runner> {
  // The pipeline's module reads these, here and in each worker thread.
  Object.assign(process.env, environment)
  const running = await runPipeline(await loadPipeline(file), { world: realWorld, log })
  const failed = running.ended.then((reason): never => {
    throw new Error(`the pipeline ended: ${reason.kind === 'error' ? reason.error.message : reason.kind}`)
  })
  failed.catch(() => {})
  return {
    status: () => running.status(),
    victims: { name: 'threads', everyMs: 3_000, peaceAtEndMs: 1_000 },
    kill(random) {
      const owners = running.threads().filter((name) => name.startsWith('owners'))
      return owners.length > 0 && running.killThread(random.pick(owners))
    },
    nodes: () => null,
    failed,
    stop: () => running.stop(),
    abandon: () => running.stop(0),
  }
}
