/**
 * Whether the reader of a source lives, for the proof of life of its unit: the log writer beside it answers on the main
 * thread, whatever the reader's thread does.
 *
 * A reader that runs must answer. One that is being restarted, or has not come up yet, is believed to live for `patience`
 * ms since its last answer: its source may be away for a while, from every node. Then another node should try.
 */
import type { Ref } from '../../actor/actor.js'
import { isActorGone } from '../../actor/failure.js'
import type { World } from '../../world/world.js'

export interface ReaderLifeInit {
  readonly world: World
  /** ms for which a reader may be down. */
  readonly patience: number
}

export interface AliveQuestion {
  readonly type: 'alive'
}

export interface ReaderLife {
  /** A reader has begun to start. */
  began(reader: Ref<AliveQuestion>): void
  /** Waits for a reader that runs, as long as the asker likes. */
  alive(): Promise<boolean>
}

/** ms after which a question is given up, and the next is asked. */
const answerWithin = 10_000

export function createReaderLife({ world, patience }: ReaderLifeInit): ReaderLife {
  let reader: Ref<AliveQuestion> | null = null
  /** It has answered since it began. */
  let runs = false
  let lastSign = world.monotonic()
  let asking: Promise<void> | null = null

  function ask(asked: Ref<AliveQuestion>): Promise<void> {
    asking ??= asked.ask({ type: 'alive' }, answerWithin).then(
      () => {
        if (reader === asked) answered()
      },
      (error) => {
        if (reader !== asked) return
        asking = null
        if (isActorGone(error)) runs = false
      },
    )
    return asking
  }

  function answered(): void {
    asking = null
    runs = true
    lastSign = world.monotonic()
  }

  return {
    began(ref) {
      reader = ref
      runs = false
      asking = null
    },
    async alive() {
      const before = world.monotonic()
      const answer = reader === null ? null : ask(reader)
      if (runs) await answer
      return runs ? lastSign >= before : world.monotonic() - lastSign < patience
    },
  }
}
