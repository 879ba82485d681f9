/**
 * Dead letters: events that could not be processed, with their cause, as JSON lines under `<data>/dead-letters`.
 *
 * One file for each processor and partition, so that each has one writer. A letter is on disk (fsync) before its event
 * counts as finished; after a crash between the two it is written again, with the same event id.
 */
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import type { ChangeEvent } from '../event/event.js'
import { messageOf, TroupeError } from '../world/error.js'

export interface DeadLetter {
  /** UTC, ISO 8601: when it was given up. */
  readonly at: string
  readonly pipeline: string
  readonly processor: string
  readonly set: string
  readonly partition: number
  /** `handler` threw, or the `sink` refused it. */
  readonly stage: 'handler' | 'sink'
  readonly cause: { readonly name: string; readonly message: string; readonly stack?: string }
  readonly attempts: number
  /** The exact event, as `toJSON` gives it; its id names the source, epoch, lane and position. */
  readonly event: Record<string, unknown>
}

export interface DeadLetterStore {
  /** Resolves when the letter is durable. */
  append(letter: DeadLetter): Promise<void>
  close(): Promise<void>
}

export function deadLetterPath(dataDirectory: string, processor: string, set: string, partition: number): string {
  return join(dataDirectory, 'dead-letters', `${processor}.${set}-${partition}.jsonl`)
}

/** Nothing is created before the first letter. */
export function openDeadLetters(path: string): DeadLetterStore {
  let file: Promise<FileHandle> | null = null
  let last: Promise<void> = Promise.resolve()

  async function write(letter: DeadLetter): Promise<void> {
    try {
      if (file === null) {
        await mkdir(join(path, '..'), { recursive: true })
        file = open(path, 'a')
      }
      const handle = await file
      await handle.appendFile(`${JSON.stringify(letter)}\n`)
      await handle.datasync()
    } catch (cause) {
      throw new TroupeError({
        code: 'dead-letter-store',
        message: `a dead letter could not be written: ${messageOf(cause)}`,
        place: path,
        remedy: 'look at the free space and the permissions of the data directory',
        cause,
      })
    }
  }

  return {
    append(letter) {
      const written = last.then(() => write(letter))
      last = written.catch(() => {})
      return written
    },
    async close() {
      await last
      if (file !== null) await (await file).close()
    },
  }
}

export function letterOf(event: ChangeEvent, error: unknown, about: Omit<DeadLetter, 'cause' | 'event'>): DeadLetter {
  const stack = error instanceof Error ? error.stack : undefined
  return {
    ...about,
    cause: {
      name: error instanceof Error ? error.name : 'Error',
      message: messageOf(error),
      ...(stack === undefined ? {} : { stack }),
    },
    event: event.toJSON(),
  }
}
