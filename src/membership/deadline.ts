/** A wait on the store, bounded: what answers after its deadline is not heard. */
import { TroupeError } from '../world/error.js'
import type { World } from '../world/world.js'

export function within<T>(world: World, ms: number, what: string, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = world.setTimer(ms, () =>
      reject(
        new TroupeError({
          code: 'membership-timeout',
          message: `${what}: no answer within ${ms} ms`,
          remedy: 'look at the NATS servers; running units go on meanwhile',
        }),
      ),
    )
    promise.then(
      (value) => {
        timer.cancel()
        resolve(value)
      },
      (error) => {
        timer.cancel()
        reject(error)
      },
    )
  })
}
