import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { hashText } from '../../../src/event/hash.js'
import { type RedisServer, startRedis } from '../../../src/servers/index.js'
import { definition, type Harness, type OpenOptions, openHarness, texts, until } from './output.js'

let server: RedisServer
let redis: Redis
const open: Harness[] = []

beforeAll(async () => {
  server = await startRedis({ settings: { appendfsync: 'always' } })
})
afterAll(() => server.stop())
beforeEach(async () => {
  redis = connect()
  await redis.flushall()
})
afterEach(async () => {
  for (const one of open.splice(0)) await one.stop()
  redis.disconnect()
})

function connect(): Redis {
  const made = new Redis(server.url, { maxRetriesPerRequest: null })
  made.on('error', () => {})
  return made
}

async function start(over: Parameters<typeof definition>[1] = {}, options: OpenOptions = {}): Promise<Harness> {
  const harness = await openHarness(definition(server.url, over), options)
  open.push(harness)
  return harness
}

async function fill(stream: string, count: number, from = 0): Promise<void> {
  const pipeline = redis.pipeline()
  for (let index = from; index < from + count; index++)
    pipeline.xadd(stream, '*', 'user', `u${index % 7}`, 'n', String(index))
  await pipeline.exec()
}

test('everything in the stream is read in order, then what comes', async () => {
  await fill('clicks', 2_500)
  const reader = await start({ keyField: 'user' })
  await until('the history', () => reader.count === 2_500)
  await fill('clicks', 10, 2_500)
  await until('the news', () => reader.count === 2_510)
  expect(reader.records().map((one) => Number(texts(one).n))).toEqual(Array.from({ length: 2_510 }, (_, i) => i))
  expect(reader.records()[1]!.keyHash).toBe(hashText('u1'))
  expect(reader.records()[0]!.timeMicros).toBe(Number(reader.records()[0]!.id.split('-')[0]) * 1000)
  expect(reader.windows).toEqual([])
})

test('an entry without the key field is keyed by its stream, and each stream is a lane', async () => {
  await redis.xadd('a', '1-1', 'x', '1')
  await redis.xadd('b', '1-1', 'user', 'u')
  const reader = await start({ streams: ['a', 'b'], keyField: 'user' })
  await until('both', () => reader.count === 2)
  const byLane = Object.fromEntries(reader.records().map((one) => [one.lane, one]))
  expect(byLane.a!.keyHash).toBe(hashText('a'))
  expect(byLane.b!.keyHash).toBe(hashText('u'))
  expect(Number.isNaN(byLane.a!.timeMicros)).toBe(true)
})

test('ids up to 2^64-1 and binary fields and values arrive as they are', async () => {
  const ids = [
    '0-1',
    '5-18446744073709551615',
    '9007199254740993-9007199254740995',
    '18446744073709551615-18446744073709551614',
  ]
  const binary = Buffer.from([0, 13, 10, 255, 36, 42])
  for (const id of ids) await redis.callBuffer('XADD', 'clicks', id, binary, binary, 'empty', '')
  await redis.xadd('clicks', '18446744073709551615-18446744073709551615', 'big', 'x'.repeat(3_000_000))
  const reader = await start()
  await until('all', () => reader.count === 5)
  expect(reader.records().map((one) => one.id)).toEqual([...ids, '18446744073709551615-18446744073709551615'])
  expect(reader.records()[2]!.fields).toEqual([binary, binary, Buffer.from('empty'), Buffer.alloc(0)])
  expect(reader.records()[4]!.fields[1]!.length).toBe(3_000_000)
})

test('it goes on behind its state, and drops what the living log holds already', async () => {
  await fill('clicks', 100)
  const first = await start({}, { flushEvery: 10 })
  await until('all', () => first.count === 100)
  await first.stop()
  const fortieth = first.flushes.find((one) => one.records.some((seen) => texts(seen).n === '39'))!
  const resume = { ...first.resume('died'), state: fortieth.state, confirmed: fortieth.state }
  const second = await start({}, { term: 2, resume })
  await until('the rest', () => second.count === 60)
  expect(texts(second.records()[0]!).n).toBe('40')
  await second.stop()
  const { epoch, id } = first.records()[79]!
  const [major, minor] = id.split('-').map(BigInt)
  const appended = { clicks: { epoch, position: { major: major!, minor: minor!, part: 0 as const } } }
  const third = await start({}, { term: 3, resume: { ...resume, appended } })
  await until('the rest', () => third.count === 20)
  expect(texts(third.records()[0]!).n).toBe('80')
  expect(third.lanes[0]!.epoch).toBe(first.lanes[0]!.epoch)
  expect(third.windows).toEqual([])
})

test('`latest` begins behind what is there, and remembers that place before anything is read', async () => {
  await fill('clicks', 5)
  const first = await start({ start: 'latest' })
  await until('the first mark', () => first.flushes.length > 0)
  first.confirm()
  await first.stop()
  await fill('clicks', 3, 5)
  const second = await start({ start: 'latest' }, { term: 2, resume: first.resume('died') })
  await until('what came meanwhile', () => second.count === 3)
  expect(texts(second.records()[0]!).n).toBe('5')
})

test('a blocked output stops the reading, and reading goes on when it is free', async () => {
  const reader = await start({ count: 10 })
  await until('the first read', () => reader.reader.status().reads === 1)
  reader.blocked = true
  await fill('clicks', 500)
  await until('the read in flight', () => reader.count > 0)
  const reads = reader.reader.status().reads
  await fill('clicks', 500, 500)
  expect(reader.count).toBeLessThanOrEqual(20)
  expect(reader.reader.status().reads).toBe(reads)
  reader.unblock()
  await until('all', () => reader.count === 1_000)
})

test('what was trimmed while nobody read is reported, with its bounds and number', async () => {
  await fill('clicks', 100)
  const first = await start()
  await until('all', () => first.count === 100)
  first.confirm()
  await first.stop()
  await fill('clicks', 100, 100)
  await redis.xtrim('clicks', 'MAXLEN', 30)
  const second = await start({}, { term: 2, resume: first.resume('died') })
  await until('what is left', () => second.count === 30)
  expect(second.windows).toMatchObject([
    { cause: 'trimmed', bounded: true, estimate: 70, lane: 'clicks', lastSeen: first.records()[99]!.id },
  ])
  expect(second.lanes[0]!.epoch).toBe(first.lanes[0]!.epoch)
})

test('what was trimmed before a slow reader came to it is reported while it runs', async () => {
  const reader = await start({ count: 10 })
  await fill('clicks', 20)
  await until('the first', () => reader.count === 20)
  reader.blocked = true
  // The read that waits in Redis takes one reply with it.
  await fill('clicks', 1, 20)
  await until('the reply in flight', () => reader.count === 21)
  await fill('clicks', 100, 21)
  await redis.xtrim('clicks', 'MAXLEN', 40)
  reader.unblock()
  await until('what is left', () => reader.count === 61)
  await until('the window', () => reader.windows.length > 0)
  expect(reader.windows).toMatchObject([{ cause: 'trimmed', bounded: true, estimate: 60 }])
  expect(reader.failures).toEqual([])
})

test('a stream that was deleted and made anew is a new epoch, read from its beginning', async () => {
  await fill('clicks', 10)
  const first = await start()
  await until('all', () => first.count === 10)
  first.confirm()
  await redis.del('clicks')
  await redis.xadd('clicks', '1-1', 'n', 'again')
  await until('the failure', () => first.failures.length > 0)
  expect(first.failures[0]).toMatchObject({ code: 'history-changed' })
  await first.stop()
  const second = await start({}, { term: 2, resume: first.resume('died') })
  await until('the new entry', () => second.count === 1)
  expect(second.lanes[0]!.epoch > first.lanes[0]!.epoch).toBe(true)
  expect(second.windows).toMatchObject([{ cause: 'new-epoch', bounded: false }])
})

test('a Redis that is killed and restarted with its file keeps the epoch, and nothing is lost', async () => {
  await fill('clicks', 50)
  const first = await start()
  await until('all', () => first.count === 50)
  first.confirm()
  await server.kill()
  await until('the failure', () => first.failures.length > 0)
  expect(first.failures[0]).toMatchObject({ code: expect.stringMatching(/^redis-/) })
  await first.stop()
  await expect(start({}, { term: 2, resume: first.resume('died') })).rejects.toMatchObject({
    code: 'redis-unreachable',
  })
  await server.restart()
  await fill('clicks', 50, 50)
  const second = await start({}, { term: 3, resume: first.resume('died') })
  await until('the rest', () => second.count === 50)
  expect(second.lanes[0]!.epoch).toBe(first.lanes[0]!.epoch)
  expect(second.windows).toEqual([])
})

test('a group that is named only follows what is confirmed', async () => {
  await fill('clicks', 10)
  const reader = await start({ group: 'followers' })
  await until('all', () => reader.count === 10)
  reader.confirm()
  const last = reader.records()[9]!.id
  await until('the group', async () => {
    const groups = (await redis.xinfo('GROUPS', 'clicks')) as unknown[][]
    return JSON.stringify(groups).includes(last)
  })
})
