/**
 * A replication connection to PostgreSQL, and its CopyBoth mode (manual, "Streaming Replication Protocol").
 *
 * `pg` connects, authenticates and speaks TLS. Once START_REPLICATION is sent, the bytes are taken from the socket
 * itself: large reads into one buffer, paced by about a millisecond, so that a busy walsender is read in few large chunks
 * instead of thousands of small ones. Without policy: what is acknowledged, and when, is the caller's.
 *
 * Promises: messages in order, each once; `closed` exactly once, after which nothing more is called; a held stream reads nothing
 * more from its socket. Does not answer keepalives by itself.
 */
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import pg from 'pg'
import { TroupeError, toError } from '../world/error.js'
import type { World } from '../world/world.js'
import { createMessageWalker } from './copyboth-walker.js'

export interface ReplicationConnectionOptions {
  /** Host, port, user, … as `pg` takes them. */
  readonly client: pg.ClientConfig
  readonly world: World
  /** Bytes of the read buffer; default 256 KiB. TLS connections read what the stream has gathered (its high-water mark). */
  readonly readBuffer?: number
  /**
   * ms to wait after a chunk before the next read; 0 reads at once. Default 1, and 0 on a unix socket, whose buffer holds a
   * few hundred messages only: a walsender that finds it full stands still.
   */
  readonly pace?: number
}

export interface CopyBothHandlers {
  /** One XLogData message: its payload is `bytes[start..end)`, good until the call returns. */
  data(bytes: Uint8Array, start: number, end: number): void
  /** The server's keepalive: how far it has sent, and whether it wants an answer at once. */
  keepalive(walEnd: bigint, replyRequested: boolean): void
  /** A chunk has been handled and the socket has nothing more at this moment. */
  drained(): void
  /** The stream is over: the server's error (`DatabaseError` of pg), a socket error, or a plain end. */
  closed(error: Error): void
}

export interface CopyBoth {
  /** Hands on no further message, and reads nothing more, until `release`. May be called inside a handler. */
  hold(): void
  release(): void
  readonly held: boolean
  /** Bytes read since the start. */
  readonly bytesRead: number
  /** Sends a standby status update: `flushed` also stands for applied. False if the socket is gone. `answer`: asks for a keepalive. */
  status(written: bigint, flushed: bigint, answer?: boolean): boolean
  /** Ends the stream; what was written before is delivered. At most `closeDeadline` ms, then the socket is destroyed. */
  close(): Promise<void>
}

export interface ReplicationConnection {
  /** A command of the simple query protocol: IDENTIFY_SYSTEM, SHOW, CREATE_REPLICATION_SLOT. Values are text or null. */
  query(text: string): Promise<readonly Record<string, string | null>[]>
  /** Sends `command` (START_REPLICATION …) and resolves when the server has entered CopyBoth. The stream begins held. */
  start(command: string, handlers: CopyBothHandlers): Promise<CopyBoth>
  end(): Promise<void>
}

const COPY_DATA = 0x64
const COPY_DONE = 0x63
const COPY_BOTH = 0x57
const ERROR = 0x45
const COMMAND_COMPLETE = 0x43
const XLOG_DATA = 0x77
const KEEPALIVE = 0x6b
/** Length of the XLogData header: type, start, end, clock. */
const XLOG_HEADER = 25
/** Microseconds between 1970-01-01 and 2000-01-01, PostgreSQL's origin of time. */
const POSTGRES_EPOCH = 946_684_800_000_000n
const closeDeadline = 1_000

/** What this file uses of pg's connection, which its types leave out. */
interface RawConnection {
  readonly stream: Duplex
  query(text: string): void
  end(): void
}

/** Connects with `replication=database`. @throws what `pg` throws: DatabaseError, or the socket's error */
export async function connectReplication(options: ReplicationConnectionOptions): Promise<ReplicationConnection> {
  const reading = new LargeReads(options.readBuffer ?? 256 * 1024)
  const config = {
    ...options.client,
    replication: 'database',
    // pg hands its connection's options to this function; with TLS the plain socket is wrapped, and reads as usual.
    stream: (connection: { readonly ssl?: unknown }) => (connection.ssl ? new Socket() : reading.socket()),
  }
  const client = new pg.Client(config as unknown as pg.ClientConfig)
  let lost: ((error: Error) => void) | null = null
  client.on('error', (error) => lost?.(error))
  await client.connect()
  const connection = (client as unknown as { readonly connection: RawConnection }).connection

  return {
    async query(text) {
      const result = await client.query<Record<string, string | null>>(text)
      return result.rows
    },
    end: () => client.end(),
    start(command, handlers) {
      const stream = connection.stream
      // No query is in flight, so pg's parser holds no half of a message: from here on the bytes are ours alone.
      stream.removeAllListeners('data')
      return new Promise((resolve, reject) => {
        const copy = takeOver(stream, reading, options, {
          ...handlers,
          begun: () => resolve(copy.face),
          refused: reject,
        })
        lost = copy.lost
        stream.once('close', () => copy.lost(new Error('the server closed the connection')))
        connection.query(command)
      })
    },
  }
}

interface StartHandlers extends CopyBothHandlers {
  begun(): void
  refused(error: Error): void
}

/** The message loop on a socket that is ours. */
function takeOver(
  stream: Duplex,
  reading: LargeReads,
  options: ReplicationConnectionOptions,
  handlers: StartHandlers,
): { readonly face: CopyBoth; lost(error: Error): void } {
  const { world } = options
  const pace = options.pace ?? (options.client.host?.startsWith('/') === true ? 0 : 1)
  let state: 'starting' | 'streaming' | 'over' = 'starting'
  let bytesRead = 0
  let paused = false
  let ended: (() => void) | null = null

  const walker = createMessageWalker((type, bytes, start, end) => {
    if (state === 'over') return
    if (type === COPY_DATA) onCopyData(bytes, start, end)
    else if (type === ERROR) lost(databaseError(bytes, start, end))
    else if (type === COPY_BOTH) begin()
    else if (type === COPY_DONE || type === COMMAND_COMPLETE) lost(new Error('the server ended the stream'))
    // ParameterStatus, notices and what later versions add carry nothing for us.
  })

  function begin(): void {
    state = 'streaming'
    walker.hold()
    handlers.begun()
  }

  function onCopyData(bytes: Uint8Array, start: number, end: number): void {
    const kind = bytes[start]
    if (kind === XLOG_DATA) handlers.data(bytes, start + XLOG_HEADER, end)
    if (kind !== KEEPALIVE) return
    const view = new DataView(bytes.buffer, bytes.byteOffset + start, end - start)
    handlers.keepalive(view.getBigUint64(1), view.getUint8(17) === 1)
  }

  function lost(error: Error): void {
    if (state === 'over') return
    const before = state
    state = 'over'
    if (ended === null) stream.destroy()
    if (before === 'starting') handlers.refused(error)
    else handlers.closed(error)
  }

  /** A handler or the walker that throws ends the stream with what it threw. */
  function guarded(run: () => void): void {
    try {
      run()
    } catch (error) {
      lost(toError(error))
    }
  }

  function onChunk(bytes: Uint8Array, length: number): void {
    bytesRead += length
    if (state === 'over') return
    guarded(() => walker.feed(bytes, length))
    afterChunk(length < bytes.length || !reading.active)
  }

  /** `emptied`: the read did not fill the buffer, so the socket held nothing more. */
  function afterChunk(emptied: boolean): void {
    if (state !== 'streaming') return
    if (emptied && !walker.held) guarded(() => handlers.drained())
    if (!walker.held && (!emptied || pace === 0)) {
      resume()
      return
    }
    pause()
    if (walker.held) return
    world.setTimer(pace, () => {
      if (!walker.held) resume()
    })
  }

  function pause(): void {
    if (paused) return
    paused = true
    if (reading.active) stream.pause()
  }

  function resume(): void {
    if (!paused || state === 'over') return
    paused = false
    if (reading.active) stream.resume()
    else pump()
  }

  /** TLS gives one small chunk for each record: between two turns they gather in the stream, and are read as one. */
  function pump(): void {
    while (!paused) {
      const chunk: Buffer | null = stream.read()
      if (chunk === null) return
      onChunk(chunk, chunk.length)
    }
  }

  if (reading.active) {
    reading.take(onChunk)
    stream.resume()
  } else stream.on('readable', pump)

  const face: CopyBoth = {
    get held() {
      return walker.held
    },
    get bytesRead() {
      return bytesRead
    },
    hold: () => walker.hold(),
    release() {
      if (state !== 'streaming' || !walker.held) return
      guarded(() => walker.release())
      if (!walker.held) afterChunk(true)
    },
    status(written, flushed, answer = false) {
      if (state !== 'streaming' || !stream.writable) return false
      stream.write(standbyStatus(written, flushed, world.now(), answer))
      return true
    },
    close() {
      if (stream.destroyed) return Promise.resolve()
      state = 'over'
      return new Promise((resolve) => {
        const deadline = world.setTimer(closeDeadline, () => stream.destroy())
        ended = () => {
          deadline.cancel()
          resolve()
        }
        stream.once('close', ended)
        stream.end(terminate)
        // What still comes is read and dropped, so that the server can finish and close.
        stream.removeListener('readable', pump)
        stream.resume()
      })
    },
  }
  return { face, lost }
}

const terminate = Uint8Array.of(0x58, 0, 0, 0, 4)

function standbyStatus(written: bigint, flushed: bigint, nowMillis: number, answer: boolean): Uint8Array {
  const message = new Uint8Array(39)
  const view = new DataView(message.buffer)
  view.setUint8(0, COPY_DATA)
  view.setUint32(1, 38)
  view.setUint8(5, 0x72)
  view.setBigUint64(6, written)
  view.setBigUint64(14, flushed)
  view.setBigUint64(22, flushed)
  view.setBigInt64(30, BigInt(Math.trunc(nowMillis)) * 1000n - POSTGRES_EPOCH)
  view.setUint8(38, answer ? 1 : 0)
  return message
}

/** The fields of an ErrorResponse (manual, "Error and Notice Message Fields"), as the error that pg itself would throw. */
function databaseError(bytes: Uint8Array, start: number, end: number): Error {
  const fields = new Map<string, string>()
  let at = start
  while (at < end && bytes[at] !== 0) {
    const stop = bytes.indexOf(0, at + 1)
    const until = stop < 0 || stop > end ? end : stop
    fields.set(String.fromCharCode(bytes[at]!), Buffer.from(bytes.subarray(at + 1, until)).toString('utf8'))
    at = until + 1
  }
  const error = new pg.DatabaseError(fields.get('M') ?? 'error without a message', end - start, 'error')
  error.severity = fields.get('S')
  error.code = fields.get('C')
  error.detail = fields.get('D')
  error.hint = fields.get('H')
  return error
}

/**
 * A socket that reads into one buffer of ours (`onread` of node:net). Until it is taken over, what it reads is given to
 * pg as ordinary `data`.
 */
class LargeReads {
  /** True once a socket was made through it. */
  active = false
  private chunk: ((bytes: Uint8Array, length: number) => void) | null = null

  constructor(private readonly size: number) {}

  socket(): Socket {
    this.active = true
    const options = {
      onread: {
        buffer: Buffer.allocUnsafeSlow(this.size),
        callback: (length: number, bytes: Uint8Array): boolean => {
          if (this.chunk !== null) this.chunk(bytes, length)
          else socket.emit('data', Buffer.from(bytes.subarray(0, length)))
          return true
        },
      },
    }
    const socket = new Socket(options as ConstructorParameters<typeof Socket>[0])
    return socket
  }

  take(chunk: (bytes: Uint8Array, length: number) => void): void {
    if (!this.active)
      throw new TroupeError({ code: 'wire-broken', message: 'no socket with large reads was made on this connection' })
    this.chunk = chunk
  }
}
