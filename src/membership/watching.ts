/**
 * The watch, kept going: what fails is begun again, without end, and said once. A key that was there before and is not
 * any more when it has begun again is told as gone.
 */
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
  /** Keys that were told with a value. */
  const known = new Set<string>()

  function told(entry: KvEntry): void {
    if (entry.value === null) known.delete(entry.key)
    else known.add(entry.key)
    init.entry(entry)
  }

  function begin(ready: () => void): void {
    let over = false
    let seen: Set<string> | undefined = new Set()
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
          if (over || stopped) return
          seen?.add(entry.key)
          told(entry)
        },
        ready: () => {
          if (over || stopped) return
          if (failing) log.info({ node }, 'the watch of the members goes on')
          failing = false
          const missing = [...known].filter((key) => seen?.has(key) === false)
          seen = undefined
          for (const key of missing) told({ key, value: null, revision: 0 })
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
