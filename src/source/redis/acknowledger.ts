/**
 * XACK on a socket of its own: many ids a command, many commands under way, receipts discharged when Redis has replied.
 *
 * Bounded by what the log has confirmed and we have not yet told: it holds no more than credits let in.
 */
import { replyWalker } from '../../wire/resp-reply.js'
import type { RespSocket } from '../../wire/resp-socket.js'
import { respCommand, respWriter } from '../../wire/resp-writer.js'
import { type EntryId, idText } from './entry-id.js'
import { visitReceipt } from './receipts.js'

const ping = respCommand(['PING'])
const IDS_PER_COMMAND = 1_000
const TWO_32 = 2 ** 32
/** Upper halves up to this make numbers below 2^53. */
const SAFE_HIGH = 0x1f_ffff
/** Calls of `keepAlive` between two signs of life. */
const QUIET_CALLS = 20

export interface Acknowledger {
  /** Acknowledges all ids of the obligations; resolves when Redis has. Calls are carried out in order. */
  acknowledge(obligations: readonly Uint8Array[]): Promise<void>
  /** Now and then says something on an idle socket: Redis may be told to end idle connections. Called about once a second. */
  keepAlive(): void
  /** Resolves when nothing is under way. */
  settled(): Promise<void>
  readonly acknowledged: number
  readonly waiting: number
}

export function acknowledger(socket: RespSocket, group: string, failed: (error: Error) => void): Acknowledger {
  const writer = respWriter()
  const waiting: { left: number; resolve(): void }[] = []
  const idle: (() => void)[] = []
  let acknowledged = 0
  let quietCalls = 0

  function settle(): void {
    while (waiting[0]?.left === 0) waiting.shift()!.resolve()
    if (waiting.length === 0) for (const resolve of idle.splice(0)) resolve()
  }

  socket.consume(
    replyWalker((bytes, start, end) => {
      if (bytes[start] === 0x2d) {
        failed(new Error(Buffer.from(bytes.subarray(start + 1, end - 2)).toString('utf8')))
        return
      }
      const head = waiting[0]
      if (head === undefined) return
      head.left--
      settle()
    }),
  )

  /** Most ids are small numbers; those that users made need not be. */
  function writeId(id: EntryId): void {
    if (id.minorHigh === 0 && id.majorHigh <= SAFE_HIGH) writer.pair(id.majorHigh * TWO_32 + id.majorLow, id.minorLow)
    else writer.text(idText(id))
  }

  /** Writes the commands of these obligations and gives their number. */
  function write(obligations: readonly Uint8Array[]): number {
    let commands = 0
    let stream: string | null = null
    let ids = 0
    for (const obligation of obligations)
      visitReceipt(obligation, (name, id) => {
        if (name !== stream || ids === IDS_PER_COMMAND) {
          if (stream !== null) writer.end()
          writer.begin()
          writer.text('XACK')
          writer.text(name)
          writer.text(group)
          stream = name
          ids = 0
          commands++
        }
        writeId(id)
        ids++
        acknowledged++
      })
    if (stream !== null) writer.end()
    return commands
  }

  return {
    acknowledge(obligations) {
      const commands = write(obligations)
      return new Promise((resolve) => {
        waiting.push({ left: commands, resolve })
        if (commands === 0) {
          settle()
          return
        }
        const bytes = writer.take()
        socket.write(bytes, () => writer.release(bytes))
      })
    },
    keepAlive() {
      quietCalls++
      if (quietCalls < QUIET_CALLS || waiting.length > 0) return
      quietCalls = 0
      waiting.push({ left: 1, resolve() {} })
      socket.write(ping)
    },
    settled() {
      return waiting.length === 0 ? Promise.resolve() : new Promise((resolve) => idle.push(resolve))
    },
    get acknowledged() {
      return acknowledged
    },
    get waiting() {
      return waiting.length
    },
  }
}
