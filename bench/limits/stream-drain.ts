/**
 * The limit of the stream benchmark: XREADGROUP COUNT 1000 on one bare socket, XACK on another, lengths walked, nothing
 * decoded but the ids that the acknowledgement must repeat (their bytes are copied as they are). One further read is always on its
 * way, so that Redis never waits for us.
 */
import { connect, type Socket } from 'node:net'
import { peakRssMb, print } from '../harness/finish.js'
import { watchFirstAsk } from '../harness/first-ask.js'
import { cpuMs, now, type WorkShape } from '../harness/tally.js'

export interface StreamDrainInput {
  readonly url: string
  readonly stream: string
  readonly group: string
  readonly count: number
  /** `group`: XREADGROUP and XACK; `read`: XREAD from the last id. */
  readonly mode: 'group' | 'read'
  readonly shape: WorkShape
}

const began = watchFirstAsk('XREAD')
const input = JSON.parse(process.argv[2]!) as StreamDrainInput
const where = new URL(input.url)
const CR = 13
const star = 0x2a
const dollar = 0x24

function open(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(where.port), where.hostname, () => resolve(socket))
    socket.setNoDelay(true)
    socket.once('error', reject)
  })
}

function command(words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`
}

const reading = await open()
const acking = input.mode === 'group' ? await open() : null
acking?.resume()
const groupRead = Buffer.from(
  command(['XREADGROUP', 'GROUP', input.group, 'limit', 'COUNT', String(input.count), 'STREAMS', input.stream, '>']),
)

let entries = 0

/** Room for a whole reply and the begin of the next; what is walked is moved out of the way when the end comes near. */
const store = Buffer.allocUnsafeSlow(16 * 1024 * 1024)
let filled = 0
let at = 0
/** Entries of the current reply that are still to come; -1 between two replies. */
let left = -1
let total = 0
/** The ids of the current reply as they came, `$15\r\n…\r\n`, ready to be sent back. */
const ids = Buffer.allocUnsafeSlow(1024 * 1024)
let idsEnd = 0
let lastId = '0'

/** Thrown inside the walk where the bytes end; the walk begins there again with the next chunk. */
const incomplete = Symbol('incomplete')

/** A number after its type byte; leaves `at` behind the line. */
function numberAt(): number {
  let value = 0
  let negative = false
  for (let index = at + 1; index < filled; index++) {
    const byte = store[index]!
    if (byte === CR) {
      if (index + 1 >= filled) throw incomplete
      at = index + 2
      return negative ? -value : value
    }
    if (byte === 0x2d) negative = true
    else value = value * 10 + byte - 48
  }
  throw incomplete
}

function skipValue(): void {
  if (at >= filled) throw incomplete
  const type = store[at]
  const size = numberAt()
  if (type === star) {
    for (let more = size; more > 0; more--) skipValue()
    return
  }
  if (type !== dollar) throw new Error(`unexpected reply: ${store.subarray(at, at + 80).toString()}`)
  if (size >= 0) at += size + 2
  if (at > filled) throw incomplete
}

/** `*1 *2 $stream *n`; a null reply has no entries. */
function walkHeader(): void {
  const outer = numberAt()
  if (outer > 0) {
    numberAt()
    skipValue()
    total = numberAt()
  } else total = 0
  left = total
  idsEnd = 0
}

/** `*2 $id *fields` */
function walkEntry(): void {
  numberAt()
  const from = at
  skipValue()
  const end = at
  skipValue()
  store.copy(ids, idsEnd, from, end)
  idsEnd += end - from
  if (left === 1) lastId = store.toString('latin1', store.indexOf(10, from) + 1, end - 2)
}

function ask(): void {
  if (input.mode === 'group') reading.write(groupRead)
  else reading.write(command(['XREAD', 'COUNT', String(input.count), 'STREAMS', input.stream, lastId]))
}

function acknowledge(): void {
  if (acking === null || total === 0) return
  const words = ['XACK', input.stream, input.group].map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`)
  acking.write(`*${total + 3}\r\n${words.join('')}`)
  acking.write(Buffer.from(ids.subarray(0, idsEnd)))
}

function walk(): void {
  let whole = at
  try {
    while (at < filled) {
      if (left < 0) walkHeader()
      while (left > 0) {
        whole = at
        walkEntry()
        left--
      }
      whole = at
      left = -1
      ask()
      acknowledge()
      account(total)
    }
  } catch (reason) {
    if (reason !== incomplete) throw reason
    at = whole
  }
}

reading.on('data', (chunk: Buffer) => {
  if (filled + chunk.length > store.length) {
    store.copy(store, 0, at, filled)
    filled -= at
    at = 0
  }
  filled += chunk.copy(store, filled)
  walk()
})

function account(count: number): void {
  entries += count
  if (entries < input.shape.total) return
  print({ count: entries, elapsedMs: now() - began().at, cpuMs: cpuMs() - began().cpu, peakRssMb: peakRssMb() })
  process.exit(0)
}

ask()
if (input.mode === 'group') ask()
