/** Waiting for time to pass, by a World's clock. Nothing ends it early: what must be cancelled sets a timer of its own. */
import type { World } from './world.js'

export function sleep(world: Pick<World, 'setTimer'>, ms: number): Promise<void> {
  return new Promise((resolve) => {
    world.setTimer(ms, resolve)
  })
}
