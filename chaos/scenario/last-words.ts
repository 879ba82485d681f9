/** How the nodes of a scenario come to their end: asked to stop, or after a scenario that has failed. */
import type { Runtime } from '../runtime/start.js'

/** Stops all; what each that did not end well has said. */
export async function stopAll(nodes: readonly Runtime[]): Promise<string[]> {
  const exits = await Promise.all(nodes.map((node) => node.stop()))
  return exits.flatMap((exit, index) =>
    exit.code === 0 ? [] : [`node ${index + 1} ended with ${exit.signal ?? exit.code}: ${exit.said.slice(-1_500)}`],
  )
}

/** Kills all, and tells what they said last: why the scenario has failed may stand there. */
export async function tellLastWords(nodes: readonly Runtime[], progress: (line: string) => void): Promise<void> {
  for (const [index, node] of nodes.entries()) {
    node.signal('SIGKILL')
    progress(`node ${index + 1} said: ${(await node.ended).said.slice(-3_000)}`)
  }
}
