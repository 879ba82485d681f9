/**
 * Batches of commands on one socket, several in flight, settled in their order.
 *
 * An error reply that speaks of one value (`WRONGTYPE`, a value too large) refuses its item; any other says that this
 * Redis does not do its work now, and ends the pipeline: every batch in flight is rejected, its outcome unknown.
 */
import { type RespConsumer, RespError, replyWalker } from '../wire/resp-reply.js'
import { type RefusedItem, SinkRefusal } from './sink.js'

interface Batch {
  /** For each command the index of its item. */
  readonly owners: Int32Array
  readonly commands: number
  replied: number
  readonly refused: RefusedItem[]
  resolve(): void
  reject(error: Error): void
}

export interface RedisPipeline {
  readonly consumer: RespConsumer
  readonly inFlight: number
  /** Replies seen; a watchdog looks whether it moves. */
  readonly replies: number
  /** The commands of a batch are about to be sent. */
  expect(owners: Int32Array, commands: number, refused: RefusedItem[]): Promise<void>
  /** Rejects all that is in flight. */
  end(error: Error): void
  /** Resolves when nothing is in flight. */
  settled(): Promise<void>
}

/** Errors that would come again for the same item and for no other. */
const ofTheItem = /^WRONGTYPE|^ERR (string exceeds|value is|hash value|invalid stream ID)/i

export function redisPipeline(onError: (error: RespError) => void): RedisPipeline {
  const batches: Batch[] = []
  let replies = 0
  let ended = false
  const idle: (() => void)[] = []

  function settle(): void {
    for (let head = batches[0]; head !== undefined && head.replied === head.commands; head = batches[0]) {
      batches.shift()
      if (head.refused.length === 0) head.resolve()
      else {
        const refused = head.refused.sort((a, b) => a.index - b.index)
        head.reject(new SinkRefusal(refused[0]!.index, refused[0]!.message, { refused }))
      }
    }
    if (batches.length === 0) for (const resolve of idle.splice(0)) resolve()
  }

  const consumer = replyWalker((bytes, start, end) => {
    if (ended) return
    const head = batches[0]
    if (head === undefined) throw new Error('a reply that no command asked for')
    replies++
    if (bytes[start] === 0x2d) {
      const message = Buffer.from(bytes.subarray(start + 1, end - 2)).toString('utf8')
      if (!ofTheItem.test(message)) {
        onError(new RespError(message))
        return
      }
      const index = head.owners[head.replied]!
      if (head.refused.every((one) => one.index !== index)) head.refused.push({ index, message })
    }
    if (++head.replied === head.commands) settle()
  })

  return {
    consumer,
    get inFlight() {
      return batches.length
    },
    get replies() {
      return replies
    },
    expect(owners, commands, refused) {
      return new Promise((resolve, reject) => {
        batches.push({ owners, commands, replied: 0, refused, resolve, reject })
        if (commands === 0) settle()
      })
    },
    end(error) {
      ended = true
      for (const batch of batches.splice(0)) batch.reject(error)
      for (const resolve of idle.splice(0)) resolve()
    },
    settled() {
      return batches.length === 0 ? Promise.resolve() : new Promise((resolve) => idle.push(resolve))
    },
  }
}
