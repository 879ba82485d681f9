/**
 * The log of one partition in a cluster, as an actor with its own connection, on the thread of the partition's owner. It
 * speaks to each consumer as the memory log does; each serves one processor.
 */
import { z } from 'zod'
import { type ActorContext, defineActor, type Ref } from '../../actor/actor.js'
import { later } from '../../actor/later.js'
import type { NatsLink } from '../../wire/nats/connect.js'
import type { LogMessage, OwnerMessage } from '../log.js'
import { askPaused, type ControlLink, tellRefused } from './control-link.js'
import { type ClusterAddress, openStream, ownerName } from './link.js'
import { createPartitionLog, type PartitionLogFigures, type PartitionLogInit } from './partition.js'

export interface PartitionLogArgs
  extends ControlLink,
    Pick<PartitionLogInit, 'scope' | 'partition' | 'processors' | 'checkpointInterval' | 'retain' | 'window'> {
  readonly address: ClusterAddress
}

export type PartitionLogMessage =
  | LogMessage
  /** Ask: a proof of life. It brings the orders as they are. */
  | { readonly type: 'alive'; readonly paused?: readonly string[] }
  /** Ask, from other nodes too: what it did since it was opened. */
  | { readonly type: 'figures' }
  /** Ask: whether this owner can still commit; an owner that cannot ends instead of answering. */
  | { readonly type: 'still-owner' }
  /**
   * Ask: delivers nothing more, waits for what was delivered, writes the last checkpoint. Then the unit may be stopped. The
   * answer is whether nothing is left: all that was delivered is finished and stored.
   */
  | { readonly type: 'close'; readonly deadlineMs: number }

interface Owner {
  readonly ref: Ref<OwnerMessage>
  readonly session: number
}

export const partitionLog = defineActor<PartitionLogArgs, PartitionLogMessage>(
  { module: import.meta.url, export: 'partitionLog' },
  async (context: ActorContext<PartitionLogMessage>, args) => {
    const { world, log } = context
    const { address, scope, partition } = args
    const asking = askPaused(context, args)
    // Awaited below: who fails to connect first is what the start fails with.
    asking.catch(() => {})
    const { link, stream, names } = await openStream(address, `part.${scope}.${partition}`, context, (error) =>
      context.exit(error),
    )
    const paused = await asking.catch((error) => closed(link, error))
    const owners = new Map<string, Owner>()
    let sessions = 0
    let over = false
    const machine = createPartitionLog({
      ...args,
      world,
      log,
      stream,
      names,
      owner: ownerName(address, world),
      paused,
      holdback: address.holdback,
      deliver: (processor, frames) => owners.get(processor)?.ref.tell({ type: 'frames', frames }),
      failed: (error) => {
        tellRefused(context, args, error)
        context.exit(error)
      },
    })
    // A start that is given up must not go on: it would seal when the servers are back, over whoever owns this by then.
    const giveUp = () => void machine.close(0)
    context.signal.addEventListener('abort', giveUp, { once: true })
    if (context.signal.aborted) giveUp()
    await machine.open().catch((error) => closed(link, error))
    link.connection.subscribe(names.hurry, { callback: () => void machine.checkpoint() })
    link.connection.subscribe(names.sought, { callback: () => void machine.lookForSeek() })

    /** What a consumer says counts while it is the one that attached last. */
    const isCurrent = (processor: string, session: number) => owners.get(processor)?.session === session

    return {
      receive(message) {
        switch (message.type) {
          case 'attach': {
            const [name] = message.processors as [string]
            const session = ++sessions
            const ref = context.ref<OwnerMessage>(message.owner)
            owners.set(name, { ref, session })
            const { lanes, finished, frames } = machine.attach(name)
            ref.tell({
              type: 'attached',
              token: message.token,
              session,
              processors: { [name]: { lanes, finished } },
              frames,
            })
            return
          }
          case 'finished':
            if (isCurrent(message.processor, message.session)) machine.finished(message.processor, message.sequence)
            return
          case 'halted':
            for (const [name, { session }] of owners) if (session === message.session) machine.halted(name)
            return
          case 'close':
            // What it waits for comes through this mailbox.
            over = true
            return later(machine.close(message.deadlineMs).then(() => nothingLeft(machine.figures())))
          case 'figures':
            return { ...machine.figures() }
          case 'alive':
            if (message.paused !== undefined) machine.pause(message.paused)
            return !over
          case 'still-owner':
            return later(machine.stillOwns().then(() => true))
          default:
            return
        }
      },
      async stop() {
        await machine.close(0)
        await link.close()
      },
      inspect: () => ({ ...machine.figures() }),
    }
  },
  { messages: z.object({ type: z.literal('figures') }) },
)

async function closed(link: NatsLink, error: unknown): Promise<never> {
  await link.close()
  throw error
}

/** Of one that is closed: what a paused or halted processor did not finish comes again to the next owner. */
export function nothingLeft({ processors }: Pick<PartitionLogFigures, 'processors'>): boolean {
  return Object.values(processors).every(
    ({ unfinished, finished, checkpoint }) => unfinished === 0 && finished === checkpoint,
  )
}
