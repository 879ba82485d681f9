/** Writers and owners of one partition's log on a server, for tests: what they were told, what they were given, how they ended. */
import { onTestFinished, vi } from 'vitest'
import { blankHead } from '../../src/event/frame.js'
import { hashText } from '../../src/event/hash.js'
import { readFrameHeader } from '../../src/event/open.js'
import { createFrameWriter } from '../../src/event/writer.js'
import { streamNames } from '../../src/log/jetstream/names.js'
import { createPartitionLog, type PartitionLog, type PartitionLogInit } from '../../src/log/jetstream/partition.js'
import type { StreamPort } from '../../src/log/jetstream/port.js'
import { createLogWriter, type LogWriter, type LogWriterInit } from '../../src/log/jetstream/writer.js'
import type { DeliveredFrame, FrameMark, Opened, ReaderMessage } from '../../src/log/log.js'
import { realWorld } from '../../src/world/real.js'
import { silent } from './nats-harness.js'

export const names = streamNames('shop')
const sets = [{ name: 'key', partitions: 1, processors: ['a', 'b'] }]

export interface Writing {
  readonly writer: LogWriter
  readonly told: ReaderMessage[]
  readonly failures: Error[]
  readonly opened: Opened
  /** Appends one frame of one record at this position. */
  append(position: number, size?: number): void
  /** Appends nothing but what the source must be told. */
  oblige(bytes: Uint8Array): void
}

let owners = 0

export async function write(stream: StreamPort, over: Partial<LogWriterInit> = {}): Promise<Writing> {
  const told: ReaderMessage[] = []
  const failures: Error[] = []
  const { source = 'db' } = over
  const writer = createLogWriter({
    world: realWorld,
    log: silent,
    stream,
    names,
    source,
    sets,
    owner: `w${++owners}`,
    holdback: 0,
    maxMessage: 64 * 1024,
    obliges: true,
    tell: (message) => told.push(message),
    hurry: () => {},
    failed: (error) => failures.push(error),
    ...over,
  })
  const opened = await writer.open()
  const { term } = opened
  // A simulated World stands still once the test has ended.
  if (over.world === undefined) onTestFinished(() => writer.close(0))
  let number = 0
  return {
    writer,
    told,
    failures,
    opened,
    oblige(obligation) {
      number++
      writer.append({
        type: 'append',
        source: 'db',
        term,
        number,
        slab: null,
        frames: [],
        state: { at: number },
        obligation,
      })
    },
    append(position, size = 100) {
      const frames = createFrameWriter({
        source,
        kind: 'test',
        replayable: true,
        epoch: 1n,
        lane: 'wal',
        codec: 'msgpack',
      })
      frames.table({ index: 0, namespace: 'n', entity: 't', schemaVersion: 1, meta: new Uint8Array(0) })
      const head = { ...blankHead(), majorLow: position, keyHash: hashText(String(position)) }
      frames.record(head, new Uint8Array(size), 0, size)
      const memory = new SharedArrayBuffer(frames.size)
      const length = frames.finishInto(
        Buffer.from(memory),
        0,
        position === 1 ? null : { major: BigInt(position - 1), minor: 0n, part: 0 },
      )
      number++
      writer.append({
        type: 'append',
        source,
        term,
        number,
        slab: { id: number, memory },
        frames: [{ set: 'key', partition: 0, offset: 0, length }],
        state: { at: position },
        obligation: null,
      })
    },
  }
}

export interface Owning {
  readonly log: PartitionLog
  readonly failures: Error[]
  /** Positions that a processor was given, in order. */
  readonly got: Record<string, number[]>
  readonly marks: (FrameMark | undefined)[]
  last(processor: string): number
}

export async function own(
  stream: StreamPort,
  over: Partial<PartitionLogInit> = {},
  finish: readonly string[] = ['a', 'b'],
): Promise<Owning> {
  const { world = realWorld } = over
  const got: Record<string, number[]> = { a: [], b: [] }
  const failures: Error[] = []
  const marks: (FrameMark | undefined)[] = []
  const last: Record<string, number> = { a: 0, b: 0 }
  const deliver = (processor: string, frames: readonly DeliveredFrame[]) => {
    for (const frame of frames) {
      got[processor]!.push(Number(readFrameHeader(Buffer.from(frame.memory), frame.offset).last.major))
      marks.push(frame.mark)
      last[processor] = frame.sequence
      if (finish.includes(processor)) world.defer(() => log.finished(processor, frame.sequence))
    }
  }
  const log = createPartitionLog({
    world: realWorld,
    log: silent,
    stream,
    names,
    scope: 'key',
    partition: 0,
    processors: [
      { name: 'a', start: 'earliest' },
      { name: 'b', start: 'earliest' },
    ],
    owner: `o${++owners}`,
    checkpointInterval: 50,
    holdback: 0,
    retain: 0,
    window: 1024 * 1024,
    deliver,
    failed: (error) => failures.push(error),
    ...over,
  })
  await log.open()
  if (over.world === undefined) onTestFinished(() => log.close(0))
  for (const processor of ['a', 'b']) deliver(processor, log.attach(processor).frames)
  return { log, failures, got, marks, last: (processor) => last[processor]! }
}

export const upTo = (count: number, from = 1) => Array.from({ length: count - from + 1 }, (_, index) => from + index)
export const settle = (check: () => void | Promise<void>) => vi.waitFor(check, { timeout: 20_000, interval: 20 })
