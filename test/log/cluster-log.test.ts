/** The log of a cluster against a real server: what a reader stores, owners get, once, in order, behind fences. */
import { expect, onTestFinished, test, vi } from 'vitest'
import { createNatsStream } from '../../src/log/jetstream/nats-stream.js'
import type { ReadOptions, StreamPort, StreamReading } from '../../src/log/jetstream/port.js'
import { provisionStream } from '../../src/log/jetstream/provision.js'
import { encodeProcessor, firstProcessor } from '../../src/log/jetstream/stored.js'
import type { NatsServer } from '../../src/servers/nats.js'
import { linkTo, server, silent } from './nats-harness.js'
import { names, own, settle, upTo, write } from './shop-log.js'

async function stage(): Promise<{ nats: NatsServer; stream: StreamPort; again: () => Promise<StreamPort> }> {
  const nats = await server({ syncInterval: 'always' })
  const link = await linkTo(nats.url)
  await provisionStream(link, names, { maxBytes: 256 * 1024 * 1024, provision: true, log: silent })
  const again = async () => createNatsStream(await linkTo(nats.url), names, { log: silent })
  return { nats, stream: createNatsStream(link, names, { log: silent }), again }
}

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

test('an event larger than what is gathered into a batch is a batch alone', async () => {
  const { stream } = await stage()
  const owning = await own(stream)
  const { append, failures } = await write(stream, { maxMessage: 1024 * 1024 - 16 * 1024 })
  append(1)
  append(2, 20 * 1024 * 1024)
  append(3, 60 * 1024 * 1024)
  append(4)
  await settle(() => expect(owning.got.a).toEqual([1, 2, 3, 4]))
  await settle(() => expect(owning.got.b).toEqual([1, 2, 3, 4]))
  expect(failures).toEqual([])
})

test('an event that no batch holds, or that the log has no room for, is refused by its position', async () => {
  const { stream, again } = await stage()
  const cut = await write(stream)
  cut.append(1)
  cut.append(2, 60 * 1024 * 1024)
  await settle(() => expect(cut.failures).toHaveLength(1))
  expect(cut.failures[0]).toMatchObject({ code: 'event-too-large', permanent: true })
  expect(cut.failures[0]!.message).toContain('the event 2-0 of lane wal')
  const narrow: StreamPort = {
    ...(await again()),
    state: async () => ({ ...(await stream.state(5_000)), maxBytes: 1e6 }),
  }
  const small = await write(narrow)
  small.append(1, 1e6)
  await settle(() => expect(small.failures).toMatchObject([{ code: 'event-too-large' }]))
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

test('a checkpoint of frames that the log has lost hides none of those that are stored where they stood', async () => {
  const { stream, again } = await stage()
  const { append, told } = await write(stream)
  const end = (await stream.last(names.reader('db'), 5_000))!.sequence
  // These two and the seal take four places, so frames will stand where the lost ones stood.
  const lost = { ...firstProcessor, term: 1, owner: 'lost', sequence: end + 7, at: 1 }
  const marks = { gone: { major: 7n, minor: 7n, part: 0 as const } }
  for (const processor of ['a', 'b']) {
    const subject = names.processor(processor, 'key', 0)
    await stream.commit([{ subject, payload: encodeProcessor({ ...lost, marks }), rollup: true }], 5_000)
  }
  const stored = settle(() => expect(told).toContainEqual({ type: 'stored', term: 1, number: 5 }))
  const owning = own({ ...(await again()), read: (options) => later(stream, options, stored) })
  await settle(async () => expect((await stream.last(names.processor('b', 'key', 0), 5_000))!.sequence).toBe(end + 4))
  for (const position of upTo(5)) append(position)
  const { got, failures } = await owning
  await settle(() => expect(got).toEqual({ a: upTo(5), b: upTo(5) }))
  expect(failures).toEqual([])
})

/** A reading that the server hears of only then. */
function later(stream: StreamPort, options: ReadOptions, then: Promise<void>): StreamReading {
  let reading: StreamReading | null = null
  void then.then(() => {
    reading = stream.read(options)
  })
  return { credit: (bytes) => reading?.credit(bytes), stop: () => reading?.stop() }
}

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

test('a reader that stood still while it took over learns that it is fenced, not that the log lost its tail', async () => {
  const { stream, again } = await stage()
  // Its reading of what the source must still be told never gets anywhere; its successor clears that away meanwhile.
  const deaf: StreamPort = { ...(await again()), read: () => ({ credit() {}, stop() {} }) }
  const sealed = vi.fn(deaf.commit)
  const standing = write({ ...deaf, commit: sealed }).then(
    () => null,
    (error) => error,
  )
  await settle(() => expect(sealed.mock.settledResults).toHaveLength(1))
  const successor = await write(stream)
  await successor.writer.stillOwns()
  await settle(async () => expect(await stream.subjects(names.obligations('db'), 5_000)).toEqual([]))
  expect(await standing).toMatchObject({ code: 'fenced' })
})

test('a reader that asks whether it still owns its source is told, and ends where it does not', async () => {
  const { stream, again } = await stage()
  const first = await write(stream)
  await first.writer.stillOwns()
  await write(await again())
  await expect(first.writer.stillOwns()).rejects.toMatchObject({ code: 'fenced' })
  expect(first.failures).toMatchObject([{ code: 'fenced' }])
})

test('a reader that waits is told when every processor has caught up, and not before', async () => {
  const { stream, again } = await stage()
  const owning = await own(stream, {}, ['a'])
  const asked = await again()
  const reads = vi.spyOn(asked, 'last')
  const looks = () => reads.mock.calls.filter(([read]) => read === names.processor('b', 'key', 0)).length
  const { append, writer, told } = await write(asked, { hurry: () => void owning.log.checkpoint() })
  append(1)
  writer.hurry()
  await settle(() => expect(owning.got.b).toEqual([1]))
  await owning.log.checkpoint()
  const before = looks()
  // One that is under way may have read what stood there before.
  await settle(() => expect(looks()).toBeGreaterThan(before + 1))
  expect(hasSettled(told)).toBe(false)
  owning.log.finished('b', 1)
  await settle(() => expect(told).toContainEqual({ type: 'settled', term: 1, number: 1 }))
})

/** Puts a checkpoint of a processor that has seen nothing, as a new name or a seek does. */
async function putBlank(stream: StreamPort, processor: string, sequence: number): Promise<void> {
  const subject = names.processor(processor, 'key', 0)
  const found = await stream.last(subject, 5_000)
  const payload = encodeProcessor({ ...firstProcessor, term: 9, owner: 'blank', sequence })
  const outcome = await stream.commit([{ subject, payload, expect: found?.sequence ?? 0, rollup: true }], 5_000)
  expect(outcome.kind).toBe('committed')
}

const hasSettled = (told: readonly { readonly type: string }[]) => told.some(({ type }) => type === 'settled')

test('a reader that waits does not wait for a processor that began behind everything that is retained', async () => {
  const { stream } = await stage()
  const owning = await own(stream)
  const { append, told, writer } = await write(stream)
  for (const position of upTo(3)) append(position)
  await settle(() => expect(owning.got.b).toEqual(upTo(3)))
  await settle(async () => expect(await stream.last(names.frames('key', 0), 5_000)).toBeNull())
  await owning.log.close(1_000)
  await putBlank(stream, 'b', 0)
  writer.hurry()
  await settle(() => expect(hasSettled(told)).toBe(true))
})

test('a reader that waits takes what a processor has skipped for finished, and not what it has yet to finish', async () => {
  const { stream } = await stage()
  const owning = await own(stream, { retain: 60_000 })
  const { append, told, writer } = await write(stream)
  for (const position of upTo(3)) {
    append(position)
    await settle(() => expect(told.filter(({ type }) => type === 'stored')).toHaveLength(position))
  }
  await settle(() => expect(owning.got.b).toEqual(upTo(3)))
  await owning.log.close(1_000)
  const { sequence } = (await stream.last(names.frames('key', 0), 5_000))!
  await putBlank(stream, 'b', sequence - 1)
  const subject = names.processor('b', 'key', 0)
  const reads = vi.spyOn(stream, 'last')
  const looks = () => reads.mock.calls.filter(([read]) => read === subject).length
  writer.hurry()
  await settle(() => expect(looks()).toBeGreaterThan(2))
  expect(hasSettled(told)).toBe(false)
  // What was once covered is not read again.
  expect(reads.mock.calls.filter(([read]) => read === names.processor('a', 'key', 0))).toHaveLength(1)
  await putBlank(stream, 'b', sequence)
  await settle(() => expect(hasSettled(told)).toBe(true))
})
