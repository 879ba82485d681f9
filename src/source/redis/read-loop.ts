/**
 * Reads on the hot socket: asks for the next entries as soon as a reply is whole, before its entries are worked on, so
 * that Redis gathers them meanwhile. At most one read is in flight; none is sent while the output is blocked.
 */
import { type EntryBatch, entryWalker } from '../../wire/resp-entries.js'
import type { RespSocket } from '../../wire/resp-socket.js'
import { respCommand } from '../../wire/resp-writer.js'
import type { Timer, World } from '../../world/world.js'

/** How long Redis may keep an empty read, ms. */
export const BLOCK_MS = 2_000
/** A reply that is later than this, ms, beyond `BLOCK_MS`: the connection counts as dead. */
const REPLY_MS = 30_000
const WATCH_MS = 5_000
/** One reply should not be larger than this; COUNT falls where entries are large. */
const REPLY_BYTES = 4 * 1024 * 1024

export interface ReadLoopOptions {
  readonly world: World
  readonly socket: RespSocket
  readonly streams: readonly string[]
  readonly keyField: string | null
  readonly count: number
  readonly blocked: () => boolean
  /** The next read's command. */
  readonly command: (count: number) => readonly string[]
  /** A reply is whole and not yet recorded: where the next read begins is known from it. */
  readonly seen: (batch: EntryBatch) => void
  readonly record: (batch: EntryBatch) => void
  /** All of a reply is recorded. */
  readonly done: () => void
  readonly failed: (error: Error) => void
}

export interface ReadLoop {
  /** Sends the next read if none is in flight and the output has room. */
  next(): void
  stop(): void
  readonly reads: number
}

export function readLoop(options: ReadLoopOptions): ReadLoop {
  const { world, socket } = options
  let inFlight = false
  let stopped = false
  let reads = 0
  let askedAt = 0
  /** Mean size of an entry, smoothed. */
  let entryBytes = 256

  function send(): void {
    if (inFlight || stopped || options.blocked()) return
    inFlight = true
    reads++
    askedAt = world.monotonic()
    const count = Math.max(1, Math.min(options.count, Math.floor(REPLY_BYTES / entryBytes)))
    socket.write(respCommand(options.command(count)))
  }

  function measure(batch: EntryBatch): void {
    if (batch.count === 0) return
    const { ranges, count } = batch
    const bytes = (ranges[(count - 1) * 7 + 4]! - ranges[1]!) / count
    entryBytes += (Math.max(16, bytes) - entryBytes) / 4
  }

  socket.consume(
    entryWalker(
      {
        streams: options.streams.map((name) => Buffer.from(name, 'utf8')),
        keyField: options.keyField === null ? null : Buffer.from(options.keyField, 'utf8'),
      },
      {
        reply(batch) {
          if (stopped) return
          inFlight = false
          measure(batch)
          options.seen(batch)
          send()
          options.record(batch)
          options.done()
        },
        part(batch) {
          if (stopped) return
          measure(batch)
          options.seen(batch)
          options.record(batch)
        },
        error(message) {
          options.failed(new Error(message))
        },
      },
    ),
  )

  let timer: Timer = world.setTimer(WATCH_MS, watch, { background: true })
  function watch(): void {
    if (stopped) return
    if (inFlight && world.monotonic() - askedAt > BLOCK_MS + REPLY_MS) {
      options.failed(new Error(`no reply to a read for ${REPLY_MS / 1000} s`))
      return
    }
    timer = world.setTimer(WATCH_MS, watch, { background: true })
  }

  return {
    next: send,
    stop() {
      stopped = true
      timer.cancel()
    },
    get reads() {
      return reads
    },
  }
}
