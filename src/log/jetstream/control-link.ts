/**
 * What an actor of the log asks and tells the control of its node, which knows the orders and is asked by people. The
 * control may be away for a while (a hiccup of the store restarts it): then it is asked again, and told nothing.
 */
import type { ActorContext } from '../../actor/actor.js'
import { messageOf, TroupeError } from '../../world/error.js'
import { sleep } from '../../world/sleep.js'

export interface ControlLink {
  /** Path of the control actor. */
  readonly control: string
  /** As the control names what this actor works on. */
  readonly resource: string
}

export type ControlTold =
  /** Ask: the processors that are paused by order. */
  | { readonly type: 'paused' }
  /** The log has refused a commit of ours, for good. */
  | { readonly type: 'commit-refused'; readonly resource: string; readonly why: string }

/** ms for one answer, and for which it is asked. */
const answerWithin = 1_000
const askFor = 20_000
const askEvery = 100

/** A partition that is taken over while an order is in force must not give out a single frame against it. */
export async function askPaused(
  context: Pick<ActorContext, 'ref' | 'world' | 'log' | 'signal'>,
  { control }: ControlLink,
): Promise<readonly string[]> {
  const { world, log, signal } = context
  const until = world.monotonic() + askFor
  for (;;)
    try {
      return (await context.ref<ControlTold>(control).ask({ type: 'paused' }, answerWithin)) as readonly string[]
    } catch (error) {
      if (signal.aborted || world.monotonic() > until) throw error
      log.debug({ error: messageOf(error) }, 'nobody says yet which processors are paused; asked again')
      await sleep(world, askEvery)
    }
}

/** For `troupe why`: a zombie's commit is refused and it ends, so it must be said before. */
export function tellRefused(
  context: Pick<ActorContext, 'ref'>,
  { control, resource }: ControlLink,
  error: unknown,
): void {
  if (!(error instanceof TroupeError) || error.code !== 'fenced') return
  context.ref<ControlTold>(control).tell({ type: 'commit-refused', resource, why: error.message })
}
