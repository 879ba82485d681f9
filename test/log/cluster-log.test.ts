/** The log of a cluster against a real server: what a reader stores, owners get, once, in order, behind fences. */
import { expect, onTestFinished, test, vi } from 'vitest'
import { blankHead } from '../../src/event/frame.js'
import { hashText } from '../../src/event/hash.js'
import { readFrameHeader } from '../../src/event/open.js'
import { createFrameWriter } from '../../src/event/writer.js'
import { streamNames } from '../../src/log/jetstream/names.js'
import { createNatsStream } from '../../src/log/jetstream/nats-stream.js'
import { createPartitionLog, type PartitionLog, type PartitionLogInit } from '../../src/log/jetstream/partition.js'
import type { StreamPort } from '../../src/log/jetstream/port.js'
import { provisionStream } from '../../src/log/jetstream/provision.js'
import { encodeProcessor, firstProcessor } from '../../src/log/jetstream/stored.js'
import { createLogWriter, type LogWriter, type LogWriterInit } from '../../src/log/jetstream/writer.js'
import type { DeliveredFrame, FrameMark, ReaderMessage } from '../../src/log/log.js'
import type { NatsServer } from '../../src/servers/nats.js'
import { realWorld } from '../../src/world/real.js'
import { linkTo, server, silent } from './nats-harness.js'

const names = streamNames('shop')
const sets = [{ name: 'key', partitions: 1, processors: ['a', 'b'] }]

async function stage(): Promise<{ nats: NatsServer; stream: StreamPort; again: () => Promise<StreamPort> }> {
  const nats = await server({ syncInterval: 'always' })
  const link = await linkTo(nats.url)
  await provisionStream(link, names, { maxBytes: 256 * 1024 * 1024, provision: true, log: silent })
  const again = async () => createNatsStream(await linkTo(nats.url), names, { log: silent })
  return { nats, stream: createNatsStream(link, names, { log: silent }), again }
}

interface Writing {
  readonly writer: LogWriter
  readonly told: ReaderMessage[]
  readonly failures: Error[]
  /** Appends one frame of one record at this position. */
  append(position: number, size?: number): void
}

let owners = 0

async function write(stream: StreamPort, over: Partial<LogWriterInit> = {}): Promise<Writing> {
  const told: ReaderMessage[] = []
  const failures: Error[] = []
  const writer = createLogWriter({
    world: realWorld,
    log: silent,
    stream,
    names,
    source: 'db',
    sets,
    owner: `w${++owners}`,
    holdback: 0,
    maxMessage: 64 * 1024,
    tell: (message) => told.push(message),
    hurry: () => {},
    failed: (error) => failures.push(error),
    ...over,
  })
  const { term } = await writer.open()
  onTestFinished(() => writer.close(0))
  let number = 0
  return {
    writer,
    told,
    failures,
    append(position, size = 100) {
      const frames = createFrameWriter({
        source: 'db',
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
        source: 'db',
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

interface Owning {
  readonly log: PartitionLog
  readonly failures: Error[]
  /** Positions that a processor was given, in order. */
  readonly got: Record<string, number[]>
  readonly marks: (FrameMark | undefined)[]
  last(processor: string): number
}

async function own(
  stream: StreamPort,
  over: Partial<PartitionLogInit> = {},
  finish: readonly string[] = ['a', 'b'],
): Promise<Owning> {
  const got: Record<string, number[]> = { a: [], b: [] }
  const failures: Error[] = []
  const marks: (FrameMark | undefined)[] = []
  const last: Record<string, number> = { a: 0, b: 0 }
  const deliver = (processor: string, frames: readonly DeliveredFrame[]) => {
    for (const frame of frames) {
      got[processor]!.push(Number(readFrameHeader(Buffer.from(frame.memory), frame.offset).last.major))
      marks.push(frame.mark)
      last[processor] = frame.sequence
      if (finish.includes(processor)) setImmediate(() => log.finished(processor, frame.sequence))
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
  onTestFinished(() => log.close(0))
  for (const processor of ['a', 'b']) deliver(processor, log.attach(processor).frames)
  return { log, failures, got, marks, last: (processor) => last[processor]! }
}

const upTo = (count: number, from = 1) => Array.from({ length: count - from + 1 }, (_, index) => from + index)
const settle = (check: () => void | Promise<void>) => vi.waitFor(check, { timeout: 20_000, interval: 20 })

test('what a reader appends comes to every processor in order, and is trimmed behind the slowest checkpoint', async () => {
  const { stream } = await stage()
  const owning = await own(stream)
  const { append, told } = await write(stream)
  for (const position of upTo(300)) append(position)
  await settle(() => expect(owning.got.b).toEqual(upTo(300)))
  expect(owning.got.a).toEqual(upTo(300))
  await settle(() => expect(told.at(-1)).toMatchObject({ type: 'confirmed', state: { at: 300 } }))
  await settle(async () => expect(await stream.last(names.frames('key', 0), 5_000)).toBeNull())
  expect(await stream.last(names.reader('db'), 5_000)).not.toBeNull()
})

test('a reader that was sealed over cannot append any more, and says so', async () => {
  const { stream, again } = await stage()
  const old = await write(stream)
  old.append(1)
  await settle(() => expect(old.told.some(({ type }) => type === 'stored')).toBe(true))
  const taker = await write(await again())
  old.append(2)
  await settle(() => expect(old.failures).toMatchObject([{ code: 'fenced' }]))
  taker.append(2)
  const owning = await own(stream)
  await settle(() => expect(owning.got.a).toEqual([1, 2]))
  expect(old.writer.figures().refused).toBe(1)
})

test('a taker of a partition goes on from the last checkpoint, and the owner before it cannot write one any more', async () => {
  const { stream, again } = await stage()
  const { append } = await write(stream)
  for (const position of upTo(50)) append(position)
  const old = await own(stream, { checkpointInterval: 60_000 })
  await settle(() => expect(old.got.b).toHaveLength(50))
  await old.log.checkpoint()
  for (const position of upTo(60, 51)) append(position)
  await settle(() => expect(old.got.b).toHaveLength(60))
  const taker = await own(await again())
  await settle(() => expect(taker.got.a).toEqual(upTo(60, 51)))
  await old.log.checkpoint()
  expect(old.failures).toMatchObject([{ code: 'fenced' }])
})

test('a processor that lags holds nobody: the others go on with a reading of their own, and it joins them again', async () => {
  const { stream } = await stage()
  const owning = await own(stream, { window: 64 * 1024 }, ['a'])
  const { append } = await write(stream)
  for (const position of upTo(400)) append(position, 1_000)
  await settle(() => expect(owning.got.a).toEqual(upTo(400)))
  expect(owning.got.b!.length).toBeLessThan(200)
  const { a, b } = owning.log.figures().processors
  expect(a!.reading).not.toBe(b!.reading)
  const finishing = setInterval(() => owning.log.finished('b', owning.last('b')), 5)
  onTestFinished(() => clearInterval(finishing))
  await settle(() => expect(owning.got.b).toEqual(upTo(400)))
  append(401)
  await settle(() =>
    expect(owning.log.figures().processors.a!.reading).toBe(owning.log.figures().processors.b!.reading),
  )
  await settle(() => expect(owning.got.b!.at(-1)).toBe(401))
})

test('a paused processor is given nothing more, not even after its restart, and holds neither the others nor a close', async () => {
  const { stream, again } = await stage()
  const owning = await own(stream)
  const { append } = await write(stream)
  for (const position of upTo(5)) append(position)
  await settle(() => expect(owning.got).toEqual({ a: upTo(5), b: upTo(5) }))
  owning.log.pause(['a'])
  for (const position of upTo(10, 6)) append(position)
  await settle(() => expect(owning.got.b).toEqual(upTo(10)))
  expect(owning.got.a).toEqual(upTo(5))
  expect(owning.log.attach('a').frames).toEqual([])
  await settle(() => expect(owning.log.figures().processors.a).toMatchObject({ unfinished: 5, paused: true }))
  expect(owning.log.figures().trimmedTo).toBeLessThan(owning.log.figures().processors.b!.finished)
  await owning.log.close(60_000)
  const taker = await own(await again(), { paused: ['a'] })
  append(11)
  await settle(() => expect(taker.got.b).toEqual([11]))
  expect(taker.got.a).toEqual([])
  taker.log.pause([])
  await settle(() => expect(taker.got.a).toEqual(upTo(11, 6)))
  expect(taker.failures).toEqual([])
})

test('an owner whose processor was put elsewhere ends in order, so that the next one begins there and repeats nothing of the others', async () => {
  const { stream, again } = await stage()
  const owning = await own(stream, { retain: 60_000, paused: ['a'], checkpointInterval: 60_000 })
  const { append } = await write(stream)
  for (const position of upTo(10)) append(position)
  await settle(() => expect(owning.got.b).toEqual(upTo(10)))
  await settle(() => expect(owning.log.figures().processors.b!.unfinished).toBe(0))
  const subject = names.processor('a', 'key', 0)
  const found = (await stream.last(subject, 5_000))!
  const target = owning.log.figures().processors.b!.finished
  const moved = encodeProcessor({ ...firstProcessor, term: 9, owner: 'seek:test', sequence: target, at: 1 })
  expect(await stream.commit([{ subject, payload: moved, expect: found.sequence, rollup: true }], 5_000)).toMatchObject(
    {
      kind: 'committed',
    },
  )
  await owning.log.lookForSeek()
  expect(owning.failures).toMatchObject([{ code: 'sought', permanent: false }])
  const next = await own(await again())
  append(11)
  await settle(() => expect(next.got).toEqual({ a: [11], b: [11] }))
})

test('an event larger than a message of the server is cut, stored in one batch and joined again', async () => {
  const { stream } = await stage()
  const owning = await own(stream)
  const { append } = await write(stream)
  append(1)
  append(2, 5 * 1024 * 1024)
  append(3)
  await settle(() => expect(owning.got.a).toEqual([1, 2, 3]))
})

test('frames that somebody removed are a gap, and nothing behind it is delivered', async () => {
  const { stream } = await stage()
  const { append, told } = await write(stream)
  for (const position of upTo(5)) {
    append(position)
    await settle(() => expect(told.filter(({ type }) => type === 'stored')).toHaveLength(position))
  }
  const owning = await own(stream)
  await settle(() => expect(owning.got.a).toEqual(upTo(5)))
  await owning.log.close(1_000)
  append(6)
  append(7)
  await settle(() => expect(told.at(-1)).toMatchObject({ state: { at: 7 } }))
  const last = await stream.last(names.frames('key', 0), 5_000)
  await stream.purge(names.frames('key', 0), last!.sequence, 5_000)
  const taker = await own(stream)
  await settle(() => expect(taker.failures).toMatchObject([{ code: 'log-gap' }]))
  expect(taker.got.a).toEqual([])
})

test('a log that lost its tail ends its reader, and the next one goes on from what there is', async () => {
  const { stream, again } = await stage()
  const reader = await write(stream)
  reader.append(1)
  await settle(() => expect(reader.told.some(({ type }) => type === 'stored')).toBe(true))
  const before = await stream.last(names.reader('db'), 5_000)
  reader.append(2)
  await settle(() => expect(reader.told.filter(({ type }) => type === 'stored')).toHaveLength(2))
  // What a store that was put back looks like to it: its checkpoint is an older one of its own.
  const now = await stream.last(names.reader('db'), 5_000)
  await stream.commit(
    [{ subject: names.reader('db'), payload: before!.payload, expect: now!.sequence, rollup: true }],
    5_000,
  )
  reader.append(3)
  await settle(() => expect(reader.failures).toHaveLength(1))
  expect(reader.failures[0]).toMatchObject({ code: 'log-rewind' })
  const next = await write(await again())
  next.append(2)
  await settle(() => expect(next.told.some(({ type }) => type === 'stored')).toBe(true))
})

test('a reader that waits is told when every processor has caught up, and not before', async () => {
  const { stream } = await stage()
  const owning = await own(stream, {}, ['a'])
  const { append, writer, told } = await write(stream, { hurry: () => void owning.log.checkpoint() })
  append(1)
  writer.hurry()
  await settle(() => expect(owning.got.b).toEqual([1]))
  await owning.log.checkpoint()
  expect(told.some(({ type }) => type === 'settled')).toBe(false)
  owning.log.finished('b', 1)
  await settle(() => expect(told).toContainEqual({ type: 'settled', term: 1, number: 1 }))
})
