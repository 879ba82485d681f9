/**
 * The limit of the WAL benchmarks: takes the socket's chunks as they come, walks message lengths, answers keepalives,
 * decodes nothing. One byte of each message is looked at, to count rows.
 *
 * `plain` takes Node's chunks of 64 KiB at once; `paced` reads into one large buffer and lets the walsender work for a
 * millisecond between chunks. The benchmark takes the faster of the two as the limit.
 */
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Client, type ClientConfig } from 'pg'
import { peakRssMb, print } from '../harness/finish.js'
import { watchFirstAsk } from '../harness/first-ask.js'
import { cpuMs, now, type WorkShape } from '../harness/tally.js'

export interface WalDrainInput {
  readonly url: string
  readonly slot: string
  readonly publication: string
  readonly shape: WorkShape
  readonly reading: 'plain' | 'paced'
}

const largeBuffer = 256 * 1024
const paceMs = 1
const copyData = 0x64
const xlogData = 0x77
const keepalive = 0x6b
const rowTypes = new Set([0x49, 0x55, 0x44])
/** Type, length, then the header of XLogData: the plugin's own type byte stands here. */
const pluginType = 30

const began = watchFirstAsk('START_REPLICATION')
const input = JSON.parse(process.argv[2]!) as WalDrainInput
let onChunk: ((bytes: Uint8Array, length: number) => void) | null = null

function largeReads(): Socket {
  const socket: Socket = new Socket({
    onread: {
      buffer: Buffer.allocUnsafeSlow(largeBuffer),
      callback: (length: number, bytes: Uint8Array) => {
        if (onChunk !== null) onChunk(bytes, length)
        else socket.emit('data', Buffer.from(bytes.subarray(0, length)))
        return true
      },
    },
  } as ConstructorParameters<typeof Socket>[0])
  return socket
}

const client = new Client({
  connectionString: input.url,
  replication: 'database',
  ...(input.reading === 'paced' ? { stream: largeReads } : {}),
} as ClientConfig)
client.on('error', () => {})
await client.connect()
const { connection } = client as unknown as { connection: { stream: Duplex; query(text: string): void } }
const { stream } = connection

let rows = 0
let bytesRead = 0
let carry: Uint8Array | null = null
/** Bytes of a message of which the head was seen and that are still to come. */
let toSkip = 0

function walk(bytes: Uint8Array, length: number): void {
  let at = Math.min(toSkip, length)
  toSkip -= at
  while (at < length) {
    if (length - at < 5) {
      keep(bytes, at, length)
      return
    }
    const size = 1 + ((bytes[at + 1]! << 24) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 8) | bytes[at + 4]!)
    const head = Math.min(size, pluginType + 1)
    if (length - at < head) {
      keep(bytes, at, length)
      return
    }
    if (bytes[at] === copyData) {
      const kind = bytes[at + 5]
      if (kind === xlogData && rowTypes.has(bytes[at + pluginType]!)) count()
      else if (kind === keepalive && bytes[at + 22] === 1) acknowledge(bytes.subarray(at + 6, at + 14))
    }
    at += size
  }
  toSkip += at - length
}

function keep(bytes: Uint8Array, at: number, length: number): void {
  // A Buffer's own `slice` would not copy, and the bytes are overwritten by the next read.
  carry = Uint8Array.prototype.slice.call(bytes, at, length)
}

function count(): void {
  rows++
  if (rows === input.shape.total) finish()
}

function acknowledge(position: Uint8Array): void {
  const message = new Uint8Array(39)
  message.set([copyData, 0, 0, 0, 38, 0x72])
  for (const at of [6, 14, 22]) message.set(position, at)
  stream.write(message)
}

function finish(): void {
  const elapsedMs = now() - began().at
  print({
    count: rows,
    elapsedMs,
    cpuMs: cpuMs() - began().cpu,
    peakRssMb: peakRssMb(),
    extra: { mbPerSecond: Math.round(bytesRead / 1000 / elapsedMs), reading: input.reading },
  })
  stream.destroy()
  process.exit(0)
}

function take(bytes: Uint8Array, length: number): void {
  bytesRead += length
  if (carry !== null) {
    const joined = Buffer.concat([carry, bytes.subarray(0, length)])
    carry = null
    walk(joined, joined.length)
  } else walk(bytes, length)
}

stream.removeAllListeners('data')
if (input.reading === 'paced')
  onChunk = (bytes, length) => {
    take(bytes, length)
    if (length === largeBuffer) return
    stream.pause()
    setTimeout(() => stream.resume(), paceMs)
  }
else stream.on('data', (chunk: Buffer) => take(chunk, chunk.length))
stream.on('close', () => process.exit(1))
connection.query(
  `START_REPLICATION SLOT ${input.slot} LOGICAL 0/0 (proto_version '1', publication_names '${input.publication}')`,
)
