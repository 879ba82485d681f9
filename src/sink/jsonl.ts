/**
 * The JSON lines sink: one object a line, appended to a file or to standard output.
 *
 * At least once. What is resolved is in the file, and on the disk where `sync` is set: one write call (O_APPEND) and one
 * fsync for all batches that wait, so that partitions which share a file never mix inside a line. What a crash leaves of
 * a torn last line is cut off before a run begins (preflight), or at open where the file is the partition's own; in a
 * shared file, which others may be writing at that moment, open ends it with a newline instead.
 */
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { messageOf, TroupeError } from '../world/error.js'
import type { JsonlSinkDefinition } from './definition.js'
import type { RefusedItem, SinkContext, SinkDriver, SinkItem, SinkWriter } from './sink.js'
import { SinkRefusal } from './sink.js'
import { itemJson } from './value-text.js'

const NEWLINE = 0x0a
const MAX_IN_FLIGHT = 4
const BATCH = 512
const TAIL_BYTES = 64 * 1024

export const jsonlSink = {
  kind: 'jsonl',
  guarantee: () => 'at-least-once',

  async preflight(definition, context) {
    if (definition.path === '-') return
    const place = `sink of processor ${context.processor}`
    const own = ownFile(definition.path)
    try {
      // A partition's own file is made and repaired when that partition opens it.
      await mkdir(dirname(pathOf(definition.path, 0)), { recursive: true })
      if (own) return
      const { file, size } = await openFile(definition.path)
      try {
        if (size !== null) await cutTornLine(file, size)
      } finally {
        await file.close()
      }
    } catch (error) {
      throw unwritable(definition.path, place, error)
    }
  },

  async open(definition, context) {
    if (definition.path === '-') return linesWriter(standardOutput, async () => {}, context)
    const place = `sink of processor ${context.processor}`
    const path = pathOf(definition.path, context.partition)
    try {
      await mkdir(dirname(path), { recursive: true })
      const { file, size } = await openFile(path)
      const sync = definition.sync && size !== null
      if (size !== null) await (ownFile(definition.path) ? cutTornLine : endTornLine)(file, size)
      return linesWriter(
        async (bytes) => {
          const { bytesWritten } = await file.write(bytes, 0, bytes.length, null)
          if (bytesWritten < bytes.length) throw new Error(`only ${bytesWritten} of ${bytes.length} bytes were taken`)
          if (sync) await file.datasync()
        },
        () => file.close(),
        context,
      )
    } catch (error) {
      throw unwritable(path, place, error)
    }
  },

  connections: () => [],
} satisfies SinkDriver<JsonlSinkDefinition>

function linesWriter(
  put: (bytes: Buffer) => Promise<void>,
  finish: () => Promise<void>,
  context: SinkContext,
): SinkWriter {
  interface Waiting {
    readonly bytes: Buffer
    resolve(): void
    reject(error: Error): void
  }
  let waiting: Waiting[] = []
  let failure: Error | null = null
  let pumping: Promise<void> | null = null

  async function pump(): Promise<void> {
    while (waiting.length > 0 && failure === null) {
      // Everything that waits goes with one write and one fsync.
      const batch = waiting
      waiting = []
      try {
        await put(batch.length === 1 ? batch[0]!.bytes : Buffer.concat(batch.map((one) => one.bytes)))
        for (const one of batch) one.resolve()
      } catch (error) {
        failure = unwritable('the file', `sink of processor ${context.processor}`, error)
        for (const one of [...batch, ...waiting]) one.reject(failure)
        waiting = []
        context.fail(failure)
      }
    }
    pumping = null
  }

  return {
    maxInFlight: MAX_IN_FLIGHT,
    batchSize: BATCH,
    async write(items) {
      if (failure !== null) throw failure
      const { bytes, refused } = linesOf(items)
      if (bytes.length > 0)
        await new Promise<void>((resolve, reject) => {
          waiting.push({ bytes, resolve, reject })
          pumping ??= pump()
        })
      if (refused.length > 0) throw new SinkRefusal(refused[0]!.index, refused[0]!.message, { refused })
    },
    async close() {
      while (pumping !== null) await pumping
      await finish()
    },
  }
}

function linesOf(items: readonly SinkItem[]): { readonly bytes: Buffer; readonly refused: readonly RefusedItem[] } {
  let text = ''
  const refused: RefusedItem[] = []
  for (let index = 0; index < items.length; index++) {
    const item = items[index]!
    try {
      text += `${itemJson(item)}\n`
    } catch (error) {
      // An event that cannot be read is no fault of this item's place in the sink: let the actor see it.
      if (item.type === 'change') throw error
      refused.push({ index, message: `the record has no JSON: ${messageOf(error)}` })
    }
  }
  return { bytes: Buffer.from(text, 'utf8'), refused }
}

function standardOutput(bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()))
  })
}

function ownFile(path: string): boolean {
  return path.includes('{partition}')
}

function pathOf(path: string, partition: number): string {
  return path.replaceAll('{partition}', String(partition))
}

/**
 * Opens for reading and appending; a file that is new is made known to the disk with its directory. `size` is that of a
 * regular file; pipes and devices have none, nothing to repair and no fsync.
 */
async function openFile(path: string): Promise<{ readonly file: FileHandle; readonly size: number | null }> {
  const file = await open(path, 'a+', 0o644)
  try {
    const stat = await file.stat()
    if (!stat.isFile()) return { file, size: null }
    if (stat.size === 0) {
      await file.sync()
      const directory = await open(dirname(path), 'r')
      await directory.sync().finally(() => directory.close())
    }
    return { file, size: stat.size }
  } catch (error) {
    await file.close()
    throw error
  }
}

async function lastByte(file: FileHandle, size: number): Promise<number> {
  const one = Buffer.alloc(1)
  await file.read(one, 0, 1, size - 1)
  return one[0]!
}

/** Only where nobody else writes to the file. */
async function cutTornLine(file: FileHandle, size: number): Promise<void> {
  if (size === 0 || (await lastByte(file, size)) === NEWLINE) return
  const tail = Buffer.alloc(TAIL_BYTES)
  let keep = 0
  for (let end = size; end > 0 && keep === 0; ) {
    const start = Math.max(0, end - TAIL_BYTES)
    const { bytesRead } = await file.read(tail, 0, end - start, start)
    keep = start + tail.subarray(0, bytesRead).lastIndexOf(NEWLINE) + 1
    if (keep === start) keep = 0
    end = start
  }
  await file.truncate(keep)
}

/** Others may be in the middle of a write, so at worst this adds an empty line; it never takes anything away. */
async function endTornLine(file: FileHandle, size: number): Promise<void> {
  if (size === 0 || (await lastByte(file, size)) === NEWLINE) return
  await file.write(Buffer.from('\n'))
}

function unwritable(path: string, place: string, cause: unknown): TroupeError {
  return new TroupeError({
    code: 'file-unwritable',
    message: `${path} cannot be written: ${messageOf(cause)}`,
    place,
    remedy: 'check the path, its permissions and the space on its disk',
    exitCode: 2,
    cause,
  })
}
