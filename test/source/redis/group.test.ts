import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { type RedisServer, startRedis } from '../../../src/servers/index.js'
import { definition, type Harness, type OpenOptions, openHarness, texts, until } from './output.js'

let server: RedisServer
let redis: Redis
const open: Harness[] = []
const group = 'troupe-shop'

beforeAll(async () => {
  server = await startRedis({ settings: { appendfsync: 'always' } })
})
afterAll(() => server.stop())
beforeEach(async () => {
  redis = new Redis(server.url, { maxRetriesPerRequest: null })
  redis.on('error', () => {})
  await redis.flushall()
})
afterEach(async () => {
  for (const one of open.splice(0)) await one.stop()
  redis.disconnect()
})

async function start(over: Parameters<typeof definition>[1] = {}, options: OpenOptions = {}): Promise<Harness> {
  const harness = await openHarness(definition(server.url, { mode: 'group', ...over }), options)
  open.push(harness)
  return harness
}

async function fill(stream: string, count: number, from = 0): Promise<void> {
  const pipeline = redis.pipeline()
  for (let index = from; index < from + count; index++) pipeline.xadd(stream, '*', 'n', String(index))
  await pipeline.exec()
}

/** Confirms whatever is flushed until nothing of the stream is pending. */
async function confirmAll(reader: Harness): Promise<void> {
  await until('the acknowledgements', async () => {
    reader.confirm()
    return (await pending()) === 0
  })
}

async function pending(stream = 'clicks'): Promise<number> {
  return Number(((await redis.xpending(stream, group)) as unknown[])[0])
}

const numbers = (harness: Harness) => harness.records().map((one) => Number(texts(one).n))
const upTo = (count: number, from = 0) => Array.from({ length: count }, (_, index) => index + from)

test('entries stay pending until they are confirmed, then they are acknowledged and discharged', async () => {
  const reader = await start({ streams: ['clicks', 'views'] })
  await fill('clicks', 2_500)
  await fill('views', 5)
  await until('all', () => reader.count === 2_505)
  expect(await pending()).toBe(2_500)
  expect(reader.discharged).toEqual([])
  await until('the acknowledgements', async () => {
    reader.confirm()
    return (await pending()) + (await pending('views')) === 0
  })
  const owed = reader.flushes.filter((one) => one.obligation !== null).map((one) => one.receipt)
  await until('the discharge', () => reader.discharged.length === owed.length)
  expect(reader.discharged).toEqual(owed)
  expect(reader.lanes.every((lane) => lane.ordered === false)).toBe(true)
})

test('what a dead reader left pending comes first, in id order, and nothing is lost or late', async () => {
  const first = await start({}, { flushEvery: 50 })
  await fill('clicks', 200)
  await until('all', () => first.count === 200)
  // It dies with everything unconfirmed, and the process with it.
  await first.stop()
  await fill('clicks', 100, 200)
  const second = await start({}, { term: 2, resume: first.resume('died') })
  await until('all again', () => second.count === 300)
  expect(numbers(second)).toEqual(upTo(300))
  expect(second.records().some((one) => one.late)).toBe(false)
  await confirmAll(second)
})

test('what was confirmed and perhaps never said is acknowledged first and not processed again', async () => {
  const first = await start()
  await fill('clicks', 20)
  await until('all', () => first.count === 20)
  const resume = first.resume('lives')
  await first.stop()
  const second = await start(
    {},
    { term: 2, resume: { ...resume, outstanding: [], obligations: resume.outstanding.map((one) => one.bytes) } },
  )
  expect(await pending()).toBe(0)
  await fill('clicks', 1, 20)
  await until('the new one', () => second.count > 0)
  expect(numbers(second)).toEqual([20])
})

test('a reader that is restarted while the log lives appends nothing again, and acknowledges it when it is done', async () => {
  const first = await start({}, { flushEvery: 7 })
  await fill('clicks', 100)
  await until('all', () => first.count === 100)
  await until('the last flush', () => first.flushes.flatMap((one) => one.records).length === 100)
  const resume = first.resume('lives')
  await first.stop()
  await fill('clicks', 10, 100)
  const second = await start({}, { term: 2, resume })
  await until('the new ones', () => second.count === 10)
  expect(numbers(second)).toEqual(upTo(10, 100))
  second.reader.confirm(resume.state!, resume.outstanding)
  await until('the old ones', async () => (await pending()) === 10)
  await until('the discharge', () => second.discharged.length === resume.outstanding.length)
  expect(second.discharged).toEqual(resume.outstanding.map((one) => one.receipt))
})

test('entries that a paused zombie takes after the takeover are claimed, delivered late, and not lost', async () => {
  const zombie = await start()
  await fill('clicks', 5)
  await until('all', () => zombie.count === 5)
  const reader = await start({}, { term: 2, resume: zombie.resume('died') })
  await until('the takeover', () => reader.count === 5)
  // Its connections are ended, ...
  await until('the end of the zombie', () => zombie.failures.length > 0)
  await zombie.stop()
  // ... but one read was on its way: it takes entries under the old consumer's name.
  reader.blocked = true
  await until('no read in flight', async () => {
    await fill('clicks', 1, 1_000)
    await until('a reply', () => reader.count >= 6)
    return true
  })
  await fill('clicks', 3, 5)
  await redis.xreadgroup('GROUP', group, 'clicks.1', 'COUNT', 2, 'STREAMS', 'clicks', '>')
  await fill('clicks', 1, 8)
  reader.unblock()
  await until('all', () => reader.count === 10)
  expect(
    numbers(reader)
      .filter((n) => n < 1_000)
      .sort((a, b) => a - b),
  ).toEqual(upTo(9))
  await confirmAll(reader)
  const consumers = async () => JSON.stringify(await redis.xinfo('CONSUMERS', 'clicks', group))
  await until('the end of the old consumer', async () => !(await consumers()).includes('clicks.1'))
})

test('an entry that comes behind its successors is marked late', async () => {
  const reader = await start()
  await until('the first read', () => reader.reader.status().reads === 1)
  reader.blocked = true
  await fill('clicks', 1)
  await until('the reply in flight', () => reader.count === 1)
  await fill('clicks', 1, 1)
  // A reader of an older term, which Redis had kept waiting, gets number 1.
  await redis.xreadgroup('GROUP', group, 'clicks.0', 'COUNT', 1, 'STREAMS', 'clicks', '>')
  await fill('clicks', 1, 2)
  // Room for one read, before the next look at what is pending.
  reader.unblock()
  await until('all', () => reader.count === 3)
  const order = numbers(reader)
  const late = reader.records().filter((one) => one.late)
  expect([...order].sort()).toEqual([0, 1, 2])
  if (order[2] === 1) expect(late.map((one) => texts(one).n)).toEqual(['1'])
})

test('consumers of other people keep what is theirs', async () => {
  await redis.xgroup('CREATE', 'clicks', group, '0', 'MKSTREAM')
  await fill('clicks', 3)
  await redis.xreadgroup('GROUP', group, 'somebody', 'COUNT', 2, 'STREAMS', 'clicks', '>')
  const reader = await start({}, { term: 9 })
  await until('the third', () => reader.count === 1)
  expect(numbers(reader)).toEqual([2])
  expect(await pending()).toBe(3)
})

test('a reader that finds a later term at work ends', async () => {
  const reader = await start({}, { term: 3 })
  await fill('clicks', 2)
  const newer = redis.duplicate()
  await newer.client('SETNAME', 'troupe.shop.clicks.4')
  await newer.xgroup('CREATECONSUMER', 'clicks', group, 'clicks.4')
  await until('the end', () => reader.failures.length > 0)
  expect(reader.failures[0]).toMatchObject({ code: 'superseded' })
  newer.disconnect()
})

test('a reader whose store was put back to an older copy takes what later and same terms of its past left', async () => {
  const first = await start({}, { term: 6 })
  await fill('clicks', 4)
  await until('all', () => first.count === 4)
  await first.stop()
  await fill('clicks', 3, 4)
  await redis.xreadgroup('GROUP', group, 'clicks.3', 'COUNT', 2, 'STREAMS', 'clicks', '>')
  const second = await start({}, { term: 3 })
  await until('all', () => second.count === 7)
  expect(numbers(second)).toEqual(upTo(7))
  await confirmAll(second)
})

test('a term that was given twice: the later reader ends the connections of the earlier one', async () => {
  const first = await start({}, { term: 4 })
  await fill('clicks', 3)
  await until('all', () => first.count === 3)
  const second = await start({}, { term: 4 })
  await until('the end of the first', () => first.failures.length > 0)
  await until('what it had', () => second.count === 3)
  await fill('clicks', 1, 3)
  await until('the next', () => second.count === 4)
  expect(numbers(second)).toEqual(upTo(4))
  expect(second.failures).toEqual([])
})

test('what a namesake of the same term was given is claimed, once, and what is ours is not given again', async () => {
  const reader = await start()
  await fill('clicks', 5)
  await until('the first', () => reader.count === 5)
  // Its connection bears no name, so that nobody can end it; and ours waits for nothing meanwhile.
  reader.blocked = true
  await fill('clicks', 1, 5)
  await until('no read in flight', () => reader.count === 6)
  await fill('clicks', 3, 6)
  await redis.xreadgroup('GROUP', group, 'clicks.1', 'COUNT', 2, 'STREAMS', 'clicks', '>')
  reader.unblock()
  await until('all', () => reader.count === 9)
  expect(numbers(reader).sort((a, b) => a - b)).toEqual(upTo(9))
  await confirmAll(reader)
  expect(reader.count).toBe(9)
  expect(reader.windows).toEqual([])
})

test('entries trimmed before the group had read them are reported', async () => {
  const reader = await start()
  await fill('clicks', 5)
  await until('the first', () => reader.count === 5)
  reader.blocked = true
  await fill('clicks', 1, 5)
  await until('the reply in flight', () => reader.count === 6)
  await fill('clicks', 50, 6)
  await redis.xtrim('clicks', 'MAXLEN', 20)
  await until('the window', () => reader.windows.length > 0)
  expect(reader.windows).toMatchObject([
    { cause: 'trimmed', bounded: true, estimate: 30, lastSeen: reader.records()[5]!.id },
  ])
  reader.unblock()
  await until('the rest', () => reader.count === 26)
  expect(reader.windows).toHaveLength(1)
})

test('pending entries that were trimmed are reported with their number', async () => {
  const first = await start()
  await fill('clicks', 10)
  await until('all', () => first.count === 10)
  await first.stop()
  await redis.xtrim('clicks', 'MAXLEN', 4)
  const second = await start({}, { term: 2, resume: first.resume('died') })
  await until('what is left', () => second.count === 4)
  expect(numbers(second)).toEqual(upTo(4, 6))
  expect(second.windows).toMatchObject([{ cause: 'trimmed', bounded: true, estimate: 6 }])
  await confirmAll(second)
})

test('a group that is gone in the middle is made again, and reported', async () => {
  const first = await start()
  await fill('clicks', 10)
  await until('all', () => first.count === 10)
  await confirmAll(first)
  await redis.xgroup('DESTROY', 'clicks', group)
  await until('the failure', () => first.failures.length > 0)
  expect(first.failures[0]).toMatchObject({ code: 'group-lost' })
  await first.stop()
  await fill('clicks', 5, 10)
  const second = await start({}, { term: 2, resume: first.resume('died') })
  await until('the rest', () => second.count === 5)
  expect(numbers(second)).toEqual(upTo(5, 10))
  expect(second.windows).toMatchObject([{ cause: 'group-lost', bounded: true, lastSeen: first.records()[9]!.id }])
})

test('a Redis that comes back empty is a new epoch: the group is made again, and a loss window says so', async () => {
  const first = await start()
  await fill('clicks', 10)
  await until('all', () => first.count === 10)
  await confirmAll(first)
  await redis.flushall()
  await until('the failure', () => first.failures.length > 0)
  await first.stop()
  await fill('clicks', 2, 50)
  const second = await start({}, { term: 2, resume: first.resume('died') })
  await until('the new ones', () => second.count === 2)
  expect(second.windows.map((one) => one.cause)).toEqual([expect.stringMatching(/new-epoch|group-lost/)])
})

test('a Redis killed five times under load loses no entry that it had acknowledged', async () => {
  const written = new Set<number>()
  let writing = true
  const writer = (async () => {
    for (let n = 0; writing; n++) {
      try {
        await redis.xadd('clicks', '*', 'n', String(n))
        written.add(n)
      } catch {
        // Its outcome is open: the entry may come or not.
      }
    }
  })()
  const seen = new Set<number>()
  let reader = await start({}, { confirmAtOnce: true })
  for (let round = 1; round <= 5; round++) {
    const goal = written.size + 150
    await until('some entries', () => written.size >= goal && reader.count > 20)
    await server.kill()
    await until('the failure', () => reader.failures.length > 0)
    await reader.stop()
    for (const n of numbers(reader)) seen.add(n)
    await server.restart()
    reader = await start({}, { term: round + 1, resume: reader.resume('died'), confirmAtOnce: true })
  }
  writing = false
  await writer
  const missing = () => {
    const now = new Set([...seen, ...numbers(reader)])
    return [...written].filter((n) => !now.has(n))
  }
  await until('every entry', () => missing().length === 0)
  expect(reader.windows).toEqual([])
  await until('the acknowledgements', async () => (await pending()) === 0)
}, 30_000)
