/**
 * The World of a running process: the clocks, timers and randomness of Node itself.
 *
 * The only file of src/ that calls them. Holds no state; every thread may use its own copy.
 */
import { randomFillSync } from 'node:crypto'
import { TroupeError } from './error.js'
import type { World } from './world.js'

const MAX_TIMER_MS = 2 ** 31 - 1
const MAX_RANDOM_BYTES = 65_536

export const realWorld: World = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  random: () => Math.random(),
  randomBytes(length) {
    if (!Number.isInteger(length) || length < 0 || length > MAX_RANDOM_BYTES)
      throw new TroupeError({
        code: 'bad-length',
        message: `randomBytes takes 0 to ${MAX_RANDOM_BYTES}, not ${length}`,
      })
    return randomFillSync(new Uint8Array(length))
  },
  setTimer(ms, run, options) {
    // Node turns a delay above 2^31-1 into 1 ms; a wait that long must never end at once.
    const timer = setTimeout(run, Math.min(Math.max(ms, 0), MAX_TIMER_MS))
    if (options?.background === true) timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
  defer(run) {
    setImmediate(run)
  },
}
