// The NATS sink: messages and checkpoint in one atomic batch, against a real server.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { LaneVector } from '../../src/checkpoint/checkpoint.js'
import { createNatsStream } from '../../src/log/jetstream/nats-stream.js'
import type { StoredMessage, StreamPort } from '../../src/log/jetstream/port.js'
import { record } from '../../src/processor/processor.js'
import { type NatsServer, startNats } from '../../src/servers/nats.js'
import type { NatsSinkDefinition } from '../../src/sink/definition.js'
import { natsSink } from '../../src/sink/nats.js'
import { covers, patternOf, subjectToken } from '../../src/sink/nats-subject.js'
import { type FencedWriter, type SinkItem, SinkRefusal } from '../../src/sink/sink.js'
import { connectNats, type NatsLink } from '../../src/wire/nats/connect.js'
import { callJetStream } from '../../src/wire/nats/jetstream-api.js'
import { realWorld } from '../../src/world/real.js'
import { endOf } from '../log/nats-harness.js'
import { event, silent, sinkContext } from './events.js'

let server: NatsServer
let link: NatsLink
let stream: StreamPort
const open: FencedWriter[] = []

beforeAll(async () => {
  server = await startNats()
  link = await connectNats({ servers: server.url, name: 'troupe.test', world: realWorld, log: silent })
  stream = createNatsStream(link, { stream: 'OUT' }, { log: silent })
})
afterAll(async () => {
  await link?.close()
  await server?.stop()
})
beforeEach(() => make())
afterEach(async () => {
  for (const one of open.splice(0)) await one.close()
  await api('STREAM.DELETE.OUT')
})

async function api(subject: string, body?: object) {
  const answer = await callJetStream(link, { subject, ...(body === undefined ? {} : { body }), deadlineMs: 10_000 })
  return answer
}

async function make(over: object = {}): Promise<void> {
  const config = {
    name: 'OUT',
    subjects: ['out.>', 'troupe-ck.shop.copy.>'],
    storage: 'file',
    allow_atomic: true,
    allow_rollup_hdrs: true,
    allow_msg_ttl: true,
    ...over,
  }
  const answer = await api('STREAM.CREATE.OUT', config)
  if (!answer.ok) throw new Error(answer.error.description)
}

const definition = (over: Partial<NatsSinkDefinition> = {}): NatsSinkDefinition => ({
  kind: 'nats',
  url: server.url,
  stream: 'OUT',
  subject: 'out.{entity}',
  batch: 256,
  ...over,
})

async function start(over: Partial<NatsSinkDefinition> = {}, context = sinkContext()): Promise<FencedWriter> {
  const writer = await natsSink.openFenced(definition(over), context)
  open.push(writer)
  return writer
}

const preflight = (over: Partial<NatsSinkDefinition> = {}) =>
  natsSink.preflight(definition(over), { world: realWorld, log: silent, pipeline: 'shop', processor: 'copy' })

const lanesAt = (major: number): LaneVector => ({
  'db/slot': { epoch: 3n, position: { major: BigInt(major), minor: 7n, part: 1 } },
})
const source = event()
const numbered = (n: number): SinkItem => record(source, { operation: 'append', entity: 'orders', value: { n } })

async function stored(): Promise<StoredMessage[]> {
  const last = await endOf(link, 'OUT')
  const found: StoredMessage[] = []
  for (let sequence = 1; sequence <= last; sequence++) {
    const message = await stream.at(sequence, 5_000)
    if (message?.subject.startsWith('out.')) found.push(message)
  }
  return found
}
const numbers = async (): Promise<number[]> =>
  (await stored()).map(
    ({ payload }) => (JSON.parse(Buffer.from(payload).toString()) as { value: { n: number } }).value.n,
  )

test('the first writer finds no checkpoint; the next one finds what was committed, to the last bit', async () => {
  const first = await start()
  expect(first.lanes).toBeNull()
  const lanes = { ...lanesAt(2 ** 40), 'clicks/a/b': { epoch: 2n ** 63n, position: { major: 1n, minor: 2n, part: 0 } } }
  await first.commit([numbered(1), numbered(2)], lanes as LaneVector)
  const second = await start()
  expect(second.lanes).toEqual(lanes)
  expect(second.term).toBeGreaterThan(first.term)
  expect(await numbers()).toEqual([1, 2])
})

test('of two writers of a partition the older is refused, and nothing of its batch is stored', async () => {
  const older = await start()
  await older.commit([numbered(1)], lanesAt(1))
  const newer = await start()
  await expect(older.commit([numbered(2), numbered(3)], lanesAt(3))).rejects.toMatchObject({
    code: 'sink-fenced',
    permanent: false,
  })
  expect(await numbers()).toEqual([1])
  await newer.commit([numbered(2)], lanesAt(2))
  expect(await numbers()).toEqual([1, 2])
  expect((await start()).lanes).toEqual(lanesAt(2))
})

test('partitions, sets and processors have fences of their own', async () => {
  await api('STREAM.DELETE.OUT')
  await make({ subjects: ['out.>', 'troupe-ck.>'] })
  const zero = await start()
  await start({}, sinkContext({ partition: 1 }))
  await start({}, sinkContext({ set: 'global' }))
  await start({}, sinkContext({ processor: 'other' }))
  await start({}, sinkContext({ pipeline: 'other' }))
  await zero.commit([numbered(1)], lanesAt(1))
  expect(await numbers()).toEqual([1])
})

test('899 messages and their checkpoint are one commit', async () => {
  const writer = await start()
  expect(writer.mostItems).toBe(899)
  await writer.commit(
    Array.from({ length: 899 }, (_, n) => numbered(n)),
    lanesAt(1),
  )
  expect((await stream.state(5_000)).messages).toBe(900)
})

test('a commit over a server that is killed is stored once or not at all, and the next writer knows which', async () => {
  for (let round = 1; round <= 4; round++) {
    const writer = await start()
    const before = (await numbers()).length
    const outcome = writer.commit([numbered(round), numbered(round)], lanesAt(round)).then(
      () => true,
      () => false,
    )
    await server.kill()
    await server.restart()
    await outcome
    const next = await start()
    const now = (await numbers()).length
    expect(now - before).toBe(next.lanes?.['db/slot']?.position.major === BigInt(round) ? 2 : 0)
    // What is under way when the writer ends is never stored afterwards.
    await next.commit([numbered(100 + round)], lanesAt(100 + round))
    expect((await numbers()).length).toBe(now + 1)
  }
})

test('a checkpoint of another number of partitions counts for nothing', async () => {
  const writer = await start()
  await writer.commit([numbered(1)], lanesAt(1))
  expect((await start({}, sinkContext({ partitions: 8 }))).lanes).toBeNull()
})

test('a checkpoint that is purged ends its writer for a new start, and the next one says that there is none', async () => {
  const writer = await start()
  await writer.commit([numbered(1)], lanesAt(1))
  await api('STREAM.PURGE.OUT', { filter: 'troupe-ck.>' })
  await expect(writer.commit([numbered(2)], lanesAt(2))).rejects.toMatchObject({
    code: 'sink-rewind',
    permanent: false,
  })
  expect((await start()).lanes).toBeNull()
  expect(await numbers()).toEqual([1])
})

test.each(['nothing', '{"version":1,"term":1,"owner":"x","commit":0,"partitions":4,"lanes":{"a":"?"}}'])(
  'a checkpoint that cannot be read is said, with the way on: %s',
  async (text) => {
    await link.connection.request('troupe-ck.shop.copy.key.0', text)
    await expect(start()).rejects.toMatchObject({ code: 'sink-checkpoint-corrupt', permanent: true })
  },
)

test('what NATS can never take is named before anything is stored; the rest goes with the next commit', async () => {
  const writer = await start()
  const large = record(source, { operation: 'append', entity: 'orders', value: { text: 'x'.repeat(link.maxPayload) } })
  const long = record(source, { operation: 'append', entity: 'e'.repeat(300), value: { n: 3 } })
  const refusal = await writer.commit([numbered(1), large, long], lanesAt(1)).catch((error) => error)
  expect(refusal).toBeInstanceOf(SinkRefusal)
  expect(refusal.refused.map((one: { index: number }) => one.index)).toEqual([1, 2])
  expect(await stored()).toEqual([])
  await writer.commit([numbered(1)], lanesAt(1))
  expect(await numbers()).toEqual([1])
})

describe('a subject', () => {
  test('takes each placeholder as one token, whatever is in it', async () => {
    const writer = await start({ subject: 'out.{entity}.{key}' })
    const item = record(source, { operation: 'append', entity: 'public.orders', key: 'a b>*%', value: { n: 1 } })
    await writer.commit([item, record(source, { operation: 'append', entity: '', value: { n: 2 } })], lanesAt(1))
    expect((await stored()).map(({ subject }) => subject)).toEqual(['out.public%2Eorders.a%20b%3E%2A%25', 'out.%.7'])
    expect(subjectToken('ü')).toBe('ü')
  })

  test('is covered by a filter, or not', () => {
    expect(patternOf('out.{entity}-x.p{partition}')).toBe('out.*.p0')
    for (const [filter, pattern, is] of [
      ['out.>', 'out.*', true],
      ['out.>', 'out', false],
      ['out.*', 'out.*', true],
      ['out.a', 'out.*', false],
      ['*.a', 'out.a', true],
      ['out.*', 'out.a.b', false],
      ['>', 'troupe-ck.a.b.>', true],
      ['troupe-ck.a.>', 'troupe-ck.a.b.>', true],
      ['troupe-ck.a.*', 'troupe-ck.a.b.>', false],
    ] as const)
      expect([filter, pattern, covers(filter, pattern)]).toEqual([filter, pattern, is])
  })
})

describe('before the start', () => {
  test('a stream that can take it passes', () => preflight())

  test('a stream that is not there is refused with the command that makes it', async () => {
    await expect(preflight({ stream: 'NOWHERE' })).rejects.toMatchObject({
      code: 'sink-stream',
      exitCode: 2,
      remedy: expect.stringContaining("nats stream add NOWHERE --subjects 'out.*,troupe-ck.shop.copy.>'"),
    })
  })

  test.each([
    ['subjects', { subjects: ['out.>'] }, /does not take 'troupe-ck.shop.copy.>'/],
    ['subjects', { subjects: ['other.>', 'troupe-ck.>'] }, /does not take 'out.\*'/],
    ['batches', { allow_atomic: false }, /takes no atomic batches/],
    ['lasting checkpoints', { allow_msg_ttl: false }, /would forget checkpoints/],
    ['rollups', { allow_rollup_hdrs: false }, /lets no checkpoint replace/],
  ])('one without %s is refused', async (_, over, message) => {
    await api('STREAM.DELETE.OUT')
    await make(over)
    await expect(preflight()).rejects.toMatchObject({ code: 'sink-stream', message: expect.stringMatching(message) })
  })
})
