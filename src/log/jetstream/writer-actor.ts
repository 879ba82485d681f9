/** The log of one reader in a cluster, as an actor with its own connection. It speaks to the reader as the memory log does. */
import { z } from 'zod'
import { type ActorContext, defineActor, type Ref } from '../../actor/actor.js'
import { later } from '../../actor/later.js'
import type { LogMessage, Opened, PartitionSet, ReaderMessage } from '../log.js'
import { type ControlLink, tellRefused } from './control-link.js'
import { closedMeanwhile } from './fence.js'
import { type ClusterAddress, openStream, ownerName } from './link.js'
import { type AliveQuestion, createReaderLife } from './reader-life.js'
import { createLogWriter, type LogWriter } from './writer.js'

export interface LogWriterArgs extends ControlLink {
  readonly address: ClusterAddress
  readonly source: string
  readonly sets: readonly PartitionSet[]
  /** ms that a stop may take to store what was appended. */
  readonly closeWithin: number
  /** ms for which the reader may be down before its unit gives no proof of life. */
  readonly patience: number
}

export type LogWriterMessage =
  | LogMessage
  /** Ask: proof of life. */
  | { readonly type: 'alive' }
  /** Ask, from other nodes too: what it did since it was opened. */
  | { readonly type: 'figures' }

export const logWriter = defineActor<LogWriterArgs, LogWriterMessage>(
  { module: import.meta.url, export: 'logWriter' },
  async (context: ActorContext<LogWriterMessage>, args) => {
    const { world, log } = context
    const { address, source, sets } = args
    const { link, stream, names, maxMessage } = await openStream(address, `reader.${source}`, context, (error) =>
      context.exit(error),
    )
    let reader: Ref<ReaderMessage> | null = null
    let writer: LogWriter | null = null
    let opening = 0
    const life = createReaderLife({ world, patience: args.patience })

    /** For each reader a new one: what the reader before it still had under way is fenced by the seal. */
    async function openFor(path: string, obliges: boolean): Promise<Opened> {
      const mine = ++opening
      await writer?.close(0)
      // Another has begun, or it was given up: nobody would end this one, which would seal when the servers are back.
      if (context.signal.aborted || mine !== opening) throw closedMeanwhile(`source ${source}`)
      reader = context.ref(path)
      life.began(context.ref<AliveQuestion>(path))
      const own = createLogWriter({
        world,
        log,
        stream,
        names,
        source,
        sets,
        owner: ownerName(address, world),
        holdback: address.holdback,
        maxMessage,
        obliges,
        tell: (message) => {
          if (writer === own) reader?.tell(message)
        },
        hurry: () => link.connection.publish(names.hurry),
        failed: (error) => {
          if (writer !== own) return
          tellRefused(context, args, error)
          context.exit(error)
        },
      })
      writer = own
      return own.open()
    }

    return {
      receive(message) {
        switch (message.type) {
          case 'open-reader':
            // A seal takes its time, and so do many obligations.
            return later(openFor(message.reader, message.obliges))
          case 'append':
            writer?.append(message)
            return
          case 'discharge':
            if (message.term === writer?.figures().term) writer.discharge(message.receipts)
            return
          case 'hurry':
            writer?.hurry()
            return
          case 'figures':
            return writer === null ? null : { ...writer.figures() }
          case 'still-owner':
            return writer === null ? false : later(writer.stillOwns().then(() => true))
          case 'alive':
            return later(life.alive())
          default:
            return
        }
      },
      async stop() {
        await writer?.close(args.closeWithin)
        await link.close()
      },
      inspect: () => ({ source, ...writer?.figures() }),
    }
  },
  { messages: z.object({ type: z.literal('figures') }) },
)
