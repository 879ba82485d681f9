/**
 * Waiting until what a reader appended is processed everywhere: looks at the processors' checkpoints, at first soon and
 * then seldom. A paused processor may make this take hours.
 *
 * Each look is preceded by a word to the owners to write their checkpoints: every owner then commits, so there is at most
 * one a second in the long run. What is waited for is fixed when the waiting begins; what comes behind it is waited for
 * after it.
 */
import type { Logger } from '../../world/logger.js'
import type { Timer, World } from '../../world/world.js'
import type { Cover } from './cover.js'

export interface SettlingInit {
  readonly world: World
  readonly log: Logger
  readonly source: string
  /** What covers everything that is stored now. */
  readonly cover: () => Cover
  /** Asks the owners to write their checkpoints now. */
  readonly hurry: () => void
  /** Appends up to this number are processed everywhere. */
  readonly settled: (number: number) => void
}

export interface Settling {
  /** Somebody waits for the appends up to this number. */
  want(number: number): void
  /** Appends up to this number are stored. */
  stored(number: number): void
  stop(): void
}

/** ms between two looks: the first pause, doubled up to the longest. */
const firstPause = 50
const longestPause = 1_000

export function createSettling(init: SettlingInit): Settling {
  const { world, log, source } = init
  let wanted = 0
  let storedTo = 0
  let looking = false
  let over = false
  let pausing: { readonly timer: Timer; readonly end: () => void } | null = null

  function begin(): void {
    if (looking || over || wanted === 0 || storedTo < wanted) return
    looking = true
    const target = storedTo
    covered(init.cover()).then((is) => {
      looking = false
      if (!is) return
      if (wanted <= target) wanted = 0
      init.settled(target)
      begin()
    })
  }

  /** False: it was stopped. */
  async function covered(cover: Cover): Promise<boolean> {
    for (let ms = firstPause; !over; ms = Math.min(2 * ms, longestPause)) {
      init.hurry()
      try {
        if (await cover.look()) return !over
      } catch (error) {
        log.debug({ source, error: String(error) }, 'the processors’ checkpoints could not be read; tried again')
      }
      await pause(ms)
    }
    return false
  }

  async function pause(ms: number): Promise<void> {
    if (over) return
    await new Promise<void>((end) => {
      pausing = { timer: world.setTimer(ms, end), end }
    })
    pausing = null
  }

  return {
    want(number) {
      wanted = number
      begin()
    },
    stored(number) {
      storedTo = number
      begin()
    },
    stop() {
      over = true
      pausing?.timer.cancel()
      pausing?.end()
    },
  }
}
