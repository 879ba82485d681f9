/**
 * The ceiling of `cluster`: opaque bytes in atomic batches through a stream of the same configuration, read by an ordered
 * consumer on another connection. No WAL, no frames, no checkpoint, no fence; the client's own publish and consume. Time
 * begins with the first publish and ends when the last byte was read.
 */
import { randomBytes } from 'node:crypto'
import { jetstream } from '@nats-io/jetstream'
import { connect, headers } from '@nats-io/transport-node'
import { peakRssMb, print } from '../harness/finish.js'
import { cpuMs, now, type WorkShape } from '../harness/tally.js'

export interface StreamBytesInput {
  readonly servers: string
  readonly stream: string
  readonly subject: string
  /** Bytes of all events. */
  readonly bytes: number
  readonly messageBytes: number
  readonly batchBytes: number
  /** Batches under way at once. */
  readonly inFlight: number
  readonly shape: WorkShape
}

const commitMs = 20_000

const input = JSON.parse(process.argv[2]!) as StreamBytesInput
const servers = input.servers.split(',')
const [writer, reader] = await Promise.all([connect({ servers }), connect({ servers })])
const consumer = await jetstream(reader).consumers.get(input.stream, { filter_subjects: input.subject })
const messages = await consumer.consume({ max_bytes: 16 * 1024 * 1024 })

const payload = randomBytes(input.messageBytes)
const perBatch = Math.max(1, Math.round(input.batchBytes / input.messageBytes))
const total = Math.ceil(input.bytes / input.messageBytes)
const began = { at: now(), cpu: cpuMs() }
let sent = 0

async function writeBatches(): Promise<void> {
  while (sent < total) {
    const count = Math.min(perBatch, total - sent)
    sent += count
    const id = randomBytes(9).toString('hex')
    for (let n = 1; n <= count; n++) {
      const head = headers()
      head.append('Nats-Batch-Id', id)
      head.append('Nats-Batch-Sequence', String(n))
      if (n < count) writer.publish(input.subject, payload, { headers: head })
      else {
        head.append('Nats-Batch-Commit', '1')
        const reply = await writer.request(input.subject, payload, { headers: head, timeout: commitMs })
        const { error } = reply.json<{ error?: { description: string } }>()
        if (error !== undefined) throw new Error(`a batch was refused: ${error.description}`)
      }
    }
  }
}

async function readAll(): Promise<void> {
  let read = 0
  for await (const _ of messages) if (++read === total) return
}

await Promise.all([readAll(), ...Array.from({ length: input.inFlight }, writeBatches)])
const elapsedMs = now() - began.at
print({
  count: input.shape.total,
  elapsedMs,
  cpuMs: cpuMs() - began.cpu,
  peakRssMb: peakRssMb(),
  extra: {
    mbPerSecond: Math.round(input.bytes / 1000 / elapsedMs),
    batch: `${Math.round(input.batchBytes / 1024)} KiB x ${input.inFlight}`,
  },
})
process.exit(0)
