/**
 * The terminator: the last child of a pipeline, so the first to be stopped. It drains front to back before anything
 * else ends: readers stop reading, owners finish what the log holds, the last checkpoint is written and confirmed.
 *
 * What is not drained within the deadline comes again at the next start.
 */
import { defineActor } from '../actor/actor.js'
import type { LogMessage } from '../log/log.js'
import type { ReaderInput } from '../partition/reader.js'
import { sleep } from '../world/sleep.js'

export interface TerminatorArgs {
  readonly readers: readonly string[]
  readonly log: string
  /** ms that the draining may take. */
  readonly deadline: number
}

/** ms between two looks at the log. */
const lookEvery = 20

/** Shortens or lengthens the draining of the stop that is about to begin. */
export interface TerminatorMessage {
  readonly type: 'deadline'
  readonly ms: number
}

export const terminator = defineActor<TerminatorArgs, TerminatorMessage>(
  { module: import.meta.url, export: 'terminator' },
  (context, args) => {
    let { deadline } = args
    return {
      receive(message) {
        deadline = message.ms
      },
      async stop(reason) {
        if (reason.kind !== 'shutdown') return
        const { world, log } = context
        const until = world.monotonic() + deadline
        const left = () => Math.max(1, until - world.monotonic())
        const quiesced = args.readers.map((path) =>
          context.ref<ReaderInput>(path).ask({ type: 'quiesce' }, Math.min(5_000, left())),
        )
        // A reader that is being restarted reads nothing: only the others need to answer.
        await Promise.allSettled(quiesced)
        while (world.monotonic() < until) {
          const drained = await context
            .ref<LogMessage>(args.log)
            .ask<boolean>({ type: 'drain' }, left())
            .catch(() => true)
          if (drained) return
          await sleep(world, lookEvery)
        }
        log.warn({ deadline }, 'not drained within the deadline: unfinished events come again')
      },
    }
  },
)
