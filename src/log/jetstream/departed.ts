/**
 * Checkpoints in one partition of processors that the pipeline no longer has: they pin the log until they are retired.
 *
 * They are looked for once, off the way of a takeover, and while there are some, looked at again. Promises: a look that fails
 * is made again, and until one has succeeded nothing is known, so nothing may be trimmed.
 */
import type { Logger } from '../../world/logger.js'
import type { Timer, World } from '../../world/world.js'
import { toLogError } from './fence.js'
import { processorOf, type StreamNames } from './names.js'
import { answerWithin, type StreamPort } from './port.js'
import { decodeProcessor, type StoredProcessor } from './stored.js'

export interface DepartedInit {
  readonly world: World
  readonly log: Logger
  readonly stream: StreamPort
  readonly names: StreamNames
  readonly scope: string
  readonly partition: number
  /** Whether the pipeline has this processor. */
  readonly has: (processor: string) => boolean
  /** A look has succeeded. */
  readonly looked: () => void
  /** No look can ever succeed. */
  readonly failed: (error: Error) => void
}

export interface Departed {
  /** By name; null: nobody has looked yet. */
  readonly found: ReadonlyMap<string, StoredProcessor> | null
  begin(): void
  stop(): void
}

/** ms between two looks whether they were retired, and after one that failed while nothing is known. */
const lookEvery = 10_000
const firstLookEvery = 1_000

export function createDeparted(init: DepartedInit): Departed {
  const { world, log, stream, names, scope, partition } = init
  const about = { partition: `${scope}.${partition}` }
  let found: ReadonlyMap<string, StoredProcessor> | null = null
  let timer: Timer | null = null
  let over = false

  async function list(): Promise<ReadonlyMap<string, StoredProcessor>> {
    const subjects = await stream.subjects(names.processorsOf(scope, partition), answerWithin)
    const others = subjects.filter((subject) => !init.has(processorOf(subject)))
    const messages = await Promise.all(others.map((subject) => stream.last(subject, answerWithin)))
    const listed = new Map<string, StoredProcessor>()
    for (const message of messages)
      if (message !== null) listed.set(processorOf(message.subject), decodeProcessor(message.payload, message.subject))
    return listed
  }

  async function look(): Promise<void> {
    try {
      const listed = await list()
      if (over) return
      if (listed.size > 0 && (found === null || found.size === 0))
        log.warn(
          { ...about, processors: [...listed.keys()] },
          'processors that left the pipeline pin the log until they are retired',
        )
      found = listed
      init.looked()
    } catch (error) {
      if (over) return
      const known = toLogError(error, `partition ${scope}.${partition}`)
      if (known.permanent) return init.failed(known)
      log.debug({ ...about, error: known.message }, 'the checkpoints could not be listed; tried again')
    }
    if (!over && found?.size !== 0) again(found === null ? firstLookEvery : lookEvery)
  }

  function again(ms: number): void {
    timer = world.setTimer(ms, () => void look(), { background: true })
  }

  return {
    get found() {
      return found
    },
    begin: () => void look(),
    stop() {
      over = true
      timer?.cancel()
    },
  }
}
