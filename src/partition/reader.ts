/**
 * The reader actor: one source's driver and its router, with their sockets, in one supervised place.
 *
 * It opens only after the log has sealed the source with a new term: what an older reader still sends is refused. It
 * dies with its connection; the supervisor starts it again, and it goes on where the log's last append ended.
 */
import { type ActorContext, defineActor } from '../actor/actor.js'
import type { LogMessage, Opened, ReaderMessage } from '../log/log.js'
import { type SourceDefinition, sourceDriver } from '../source/drivers.js'
import type { SourceReader } from '../source/source.js'
import { TroupeError } from '../world/error.js'
import { type Credits, createRouter, type RoutedSet } from './router.js'

export interface ReaderArgs {
  readonly pipeline: string
  readonly source: string
  readonly config: SourceDefinition
  readonly log: string
  readonly sets: readonly RoutedSet[]
  readonly credits: Credits
  /** As of the router: an append costs a round trip. */
  readonly patient?: boolean
}

export type ReaderInput =
  | ReaderMessage
  /** Ask: stop reading and flush; the connection stays for the last confirmations. */
  | { readonly type: 'quiesce' }
  /** Ask: proof that its thread works. */
  | { readonly type: 'alive' }

/** ms that the log may take to seal: one durable write behind at most one other. */
const sealDeadline = 30_000
/** ms that it may take to read who owns the source. */
const ownsDeadline = 30_000

export const reader = defineActor<ReaderArgs, ReaderInput>(
  { module: import.meta.url, export: 'reader' },
  async (context: ActorContext<ReaderInput>, args) => {
    const log = context.ref<LogMessage>(args.log)
    const driver = await sourceDriver(args.config.kind)
    const opened = await log.ask<Opened>(
      { type: 'open-reader', source: args.source, reader: context.path, obliges: driver.obliges },
      sealDeadline,
    )
    const router = createRouter({
      world: context.world,
      source: args.source,
      sets: args.sets,
      credits: args.credits,
      opened,
      patient: args.patient ?? false,
      send: (append) => {
        if (!log.tell(append))
          context.exit(
            new TroupeError({
              code: 'append-refused',
              message: 'the log took no more: its mailbox or the link to it is full',
              place: `source ${args.source}`,
            }),
          )
      },
      hurry: () => log.tell({ type: 'hurry' }),
    })
    const { checkpoint } = opened
    const running: SourceReader = await driver.open(args.config, {
      world: context.world,
      log: context.log,
      pipeline: args.pipeline,
      name: args.source,
      term: opened.term,
      resume: {
        state: opened.tail ?? checkpoint.state,
        confirmed: checkpoint.state,
        appended: opened.appended,
        obligations: checkpoint.obligations.map((obligation) => obligation.bytes),
        outstanding: opened.outstanding,
      },
      out: router,
      async stillOwns() {
        await log.ask({ type: 'still-owner' }, ownsDeadline)
      },
      fail: (error) => context.exit(error),
      discharge: (receipts) => log.tell({ type: 'discharge', source: args.source, term: opened.term, receipts }),
    })
    // The driver has told its source again what was stored but perhaps never said.
    if (checkpoint.obligations.length > 0)
      log.tell({
        type: 'discharge',
        source: args.source,
        term: opened.term,
        receipts: checkpoint.obligations.map((obligation) => obligation.receipt),
      })
    router.attach(running)

    return {
      receive(message) {
        switch (message.type) {
          case 'returned':
          case 'stored':
          case 'settled':
            router.receive(message)
            return
          case 'confirmed':
            router.receive(message)
            if (message.term === opened.term) running.confirm(message.state, message.receipts)
            return
          case 'quiesce':
            router.quiesce()
            return
          case 'alive':
            return true
        }
      },
      stop: () => running.stop(),
      inspect: () => ({
        source: args.source,
        kind: args.config.kind,
        term: opened.term,
        ...router.figures(),
        driver: running.status(),
      }),
    }
  },
)
