/**
 * Asks actors of living nodes, over the kernel's link between nodes. For what only they know: what they did and met. An
 * answer is a view; when none comes in time, the rest of what there is to tell is told without it.
 */
import { createSystem } from '../../actor/system.js'
import { natsNodeLink } from '../../wire/nats/node-transport.js'
import { messageOf } from '../../world/error.js'
import type { ClusterAccess } from './connect.js'

/** ms for all answers of a node. */
const withinMs = 3_000

const silentLog = { debug() {}, info() {}, warn() {}, error() {} }

export interface NodeQuestion {
  readonly node: string
  /** Path on that node. */
  readonly path: string
  readonly message: unknown
}

export type NodeAnswer<T> =
  | { readonly answered: true; readonly value: T }
  | { readonly answered: false; readonly problem: string }

/** One answer a question, in their order; all are asked at once. */
export async function askNodes(
  { link, definition, world }: ClusterAccess,
  questions: readonly NodeQuestion[],
): Promise<NodeAnswer<unknown>[]> {
  const name = `operator-${Buffer.from(world.randomBytes(6)).toString('hex')}`
  const nodeLink = natsNodeLink(link, { pipeline: definition.name, node: name })
  const system = createSystem({ world, log: silentLog, node: { link: nodeLink } })
  try {
    return await Promise.all(
      questions.map(async ({ node, path, message }): Promise<NodeAnswer<unknown>> => {
        try {
          const ref = system.ref<typeof message>(`//${node}${path}`)
          return { answered: true, value: await ref.ask(message, withinMs) }
        } catch (error) {
          return { answered: false, problem: messageOf(error) }
        }
      }),
    )
  } finally {
    await system.stop(0)
  }
}
