/** The watch, kept going: what fails is begun again, without end, and said once. */
import type { Logger } from '../world/logger.js'
import type { Timer, World } from '../world/world.js'
import type { KvEntry, KvPort } from './port.js'

export interface WatchingInit {
  readonly kv: KvPort
  readonly world: World
  readonly log: Logger
  readonly node: string
  /** ms before it is begun again. */
  readonly retry: number
  readonly entry: (entry: KvEntry) => void
}

export interface Watching {
  /** Resolves when everything that there is has been seen once. */
  start(): Promise<void>
  stop(): void
}

export function createWatching(init: WatchingInit): Watching {
  const { kv, world, log, node, retry } = init
  let watch: { stop(): void } | undefined
  let timer: Timer | undefined
  let stopped = false
  let failing = false

  function begin(ready: () => void): void {
    let over = false
    const failed = (error: unknown): void => {
      if (over || stopped) return
      over = true
      if (!failing) log.warn({ node, error }, 'the watch of the members failed; it is begun again')
      failing = true
      timer = world.setTimer(retry, () => begin(ready))
    }
    try {
      watch = kv.watch({
        entry: (entry) => {
          if (!over && !stopped) init.entry(entry)
        },
        ready: () => {
          if (over || stopped) return
          if (failing) log.info({ node }, 'the watch of the members goes on')
          failing = false
          ready()
        },
        failed,
      })
    } catch (error) {
      failed(error)
    }
  }

  return {
    start: () => new Promise((resolve) => begin(resolve)),
    stop() {
      stopped = true
      timer?.cancel()
      watch?.stop()
    },
  }
}
