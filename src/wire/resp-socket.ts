/**
 * A bare socket to a Redis for hot reads and writes: RESP2, large reads into one buffer, no promise per reply.
 *
 * It connects, authenticates, selects and names itself; what is sent afterwards and what the replies mean is its
 * owner's affair. It never connects again: when it is closed, whoever holds it makes another. Bytes that were read and
 * not consumed lie in one buffer, which grows to what a reply needs (at most `MAX_BULK_BYTES` and a little).
 */
import net from 'node:net'
import tls from 'node:tls'
import type { World } from '../world/world.js'
import type { RespEndpoint } from './resp-endpoint.js'
import {
  decodeReply,
  MAX_BULK_BYTES,
  type RespConsumer,
  RespError,
  RespProtocolError,
  type RespValue,
  replyWalker,
} from './resp-reply.js'
import { respCommand } from './resp-writer.js'

const READ_BYTES = 512 * 1024
/** Least room offered to one read. */
const MIN_ROOM = 64 * 1024
const CONNECT_MS = 10_000
const KEEPALIVE_MS = 10_000

export interface RespSocketOptions {
  readonly endpoint: RespEndpoint
  /** CLIENT SETNAME; printable and without spaces. */
  readonly name: string
  readonly world: World
  /** Called once when the connection has ended, whoever ended it; null: we did. */
  readonly onClose: (error: Error | null) => void
  /** ms until the connection stands; default 10,000. */
  readonly connectMs?: number
}

export interface RespSocket {
  /** Hands bytes to the kernel; `done` when they may be changed again. */
  write(bytes: Uint8Array, done?: () => void): void
  /** True while the kernel has not taken all that was written. */
  readonly congested: boolean
  /** From now on replies go to `consumer`, and `call` must not be used. */
  consume(consumer: RespConsumer): void
  /** One command and its reply. An error reply rejects with RespError, a lost connection with its error. */
  call(...args: readonly (string | Uint8Array)[]): Promise<RespValue>
  /** `call` for one command that is encoded already; its bytes must not change before the reply. */
  ask(command: Uint8Array): Promise<RespValue>
  /** Ends the connection at once. */
  close(): void
  readonly closed: boolean
}

interface Waiting {
  resolve(value: RespValue): void
  reject(error: Error): void
}

/** @throws the socket's error, or RespError where Redis refused the user, the database or the name */
export async function connectResp(options: RespSocketOptions): Promise<RespSocket> {
  const { endpoint, world } = options
  const waiting: Waiting[] = []
  let consumer: RespConsumer = replyWalker((bytes, start) => {
    const value = decodeReply(bytes, start)
    const next = waiting.shift()
    if (next === undefined) throw new RespProtocolError('a reply that nobody asked for')
    if (value instanceof RespError) next.reject(value)
    else next.resolve(value)
  })
  let buffer = Buffer.allocUnsafeSlow(READ_BYTES)
  let from = 0
  let to = 0
  let ended = false
  let opened: (() => void) | null = null
  let refused: ((error: Error) => void) | null = null

  function end(error: Error | null): void {
    if (ended) return
    ended = true
    socket.destroy()
    for (const one of waiting.splice(0)) one.reject(error ?? new Error('the connection was closed'))
    refused?.(error ?? new Error('the connection was closed'))
    options.onClose(error)
  }

  function room(): Buffer {
    const needed = Math.min(consumer.needed, MAX_BULK_BYTES + READ_BYTES)
    if (from === to) {
      from = 0
      to = 0
      if (buffer.length > READ_BYTES && needed <= READ_BYTES) buffer = Buffer.allocUnsafeSlow(READ_BYTES)
    }
    if (buffer.length - to >= MIN_ROOM && buffer.length - from >= needed) return buffer.subarray(to)
    const held = to - from
    const wanted = Math.max(needed, held + MIN_ROOM)
    // Half empty and large enough: shift; else double, so that a long reply is copied a bounded number of times.
    if (wanted <= buffer.length && held <= buffer.length / 2) buffer.copyWithin(0, from, to)
    else {
      const larger = Buffer.allocUnsafeSlow(Math.max(wanted, buffer.length * 2))
      buffer.copy(larger, 0, from, to)
      buffer = larger
    }
    from = 0
    to = held
    return buffer.subarray(to)
  }

  function took(bytes: number): void {
    to += bytes
    if (consumer.needed > to - from) return
    try {
      from = consumer.consume(buffer, from, to)
    } catch (error) {
      end(error as Error)
    }
  }

  const onread = {
    buffer: room,
    callback: (bytes: number) => {
      if (!ended) took(bytes)
      return true
    },
  }
  const address = endpoint.path === null ? { host: endpoint.host, port: endpoint.port } : { path: endpoint.path }
  const secured = endpoint.tls
    ? tls.connect({ ...address, ...(net.isIP(endpoint.host) === 0 ? { servername: endpoint.host } : {}) })
    : null
  const socket: net.Socket = secured ?? net.connect({ ...address, onread })
  secured?.on('data', (chunk: Buffer) => {
    for (let at = 0; at < chunk.length && !ended; ) {
      const into = room()
      const length = Math.min(into.length, chunk.length - at)
      chunk.copy(into, 0, at, at + length)
      at += length
      took(length)
    }
  })
  socket.setNoDelay(true)
  socket.setKeepAlive(true, KEEPALIVE_MS)
  socket.on('error', (error) => end(error))
  socket.on('close', () => end(new Error('Redis closed the connection')))
  socket.on(endpoint.tls ? 'secureConnect' : 'connect', () => opened?.())

  const self: RespSocket = {
    write(bytes, done) {
      if (done === undefined) socket.write(bytes)
      else socket.write(bytes, () => done())
    },
    get congested() {
      return socket.writableNeedDrain
    },
    consume(next) {
      consumer = next
    },
    call: (...args) => self.ask(respCommand(args)),
    ask(command) {
      if (ended) return Promise.reject(new Error('the connection is closed'))
      return new Promise((resolve, reject) => {
        waiting.push({ resolve, reject })
        socket.write(command)
      })
    },
    close: () => end(null),
    get closed() {
      return ended
    },
  }

  const timer = world.setTimer(options.connectMs ?? CONNECT_MS, () =>
    end(Object.assign(new Error('the connection did not stand in time'), { code: 'ETIMEDOUT' })),
  )
  try {
    await new Promise<void>((resolve, reject) => {
      opened = resolve
      refused = reject
    })
    refused = null
    const { username, password, database } = endpoint
    if (password !== null)
      await (username === null ? self.call('AUTH', password) : self.call('AUTH', username, password))
    if (database !== 0) await self.call('SELECT', String(database))
    await self.call('CLIENT', 'SETNAME', options.name)
    return self
  } catch (error) {
    end(error as Error)
    throw error
  } finally {
    timer.cancel()
  }
}
