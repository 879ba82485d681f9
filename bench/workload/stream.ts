/**
 * The work of the stream benchmark: a master stream of entries with five fields of 40 bytes, copied (COPY) for every
 * run, with a group at its begin.
 */
import { Redis } from 'ioredis'
import { amountOf, type WorkShape } from '../harness/tally.js'

export const group = 'bench'
const master = 'bench:master'
const pipelined = 1_000
/** Numbers are padded with zeros to the width of the fields. */
const width = 40

export interface StreamWork {
  copyStream(): Promise<string>
  dropCopies(): Promise<void>
  close(): Promise<void>
}

export async function writeStream(url: string, shape: WorkShape): Promise<StreamWork> {
  const redis = new Redis(url)
  redis.on('error', () => {})
  await redis.del(master)
  for (let from = 0; from < shape.total; from += pipelined) {
    const batch = redis.pipeline()
    for (let sequence = from; sequence < Math.min(from + pipelined, shape.total); sequence++)
      batch.xadd(master, '*', ...fieldsOf(sequence, shape.keys))
    await batch.exec()
  }
  let number = 0
  const copies: string[] = []
  return {
    async copyStream() {
      const name = `bench:run:${++number}`
      await redis.copy(master, name, 'REPLACE')
      await redis.xgroup('CREATE', name, group, '0')
      copies.push(name)
      return name
    },
    async dropCopies() {
      for (const name of copies.splice(0)) await redis.unlink(name)
    },
    async close() {
      await redis.unlink(master)
      redis.disconnect()
    },
  }
}

function fieldsOf(sequence: number, keys: number): string[] {
  const key = sequence % keys
  const counter = Math.floor(sequence / keys) + 1
  const pad = (value: number) => String(value).padStart(width, '0')
  return [
    'key',
    pad(key),
    'counter',
    pad(counter),
    'amount',
    pad(amountOf(key, counter)),
    'a',
    'a'.repeat(width),
    'b',
    'b'.repeat(width),
  ]
}
