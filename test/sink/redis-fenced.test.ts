// The Redis sink that stores the checkpoint with the work, against a real Redis.
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { LaneVector } from '../../src/checkpoint/checkpoint.js'
import { record } from '../../src/processor/processor.js'
import { type RedisServer, startRedis } from '../../src/servers/index.js'
import type { RedisSinkDefinition } from '../../src/sink/definition.js'
import { redisSink } from '../../src/sink/redis.js'
import { fenceKey } from '../../src/sink/redis-fenced.js'
import { maxArguments } from '../../src/sink/redis-script.js'
import { type FencedWriter, type SinkItem, SinkRefusal } from '../../src/sink/sink.js'
import { until } from '../source/redis/output.js'
import { event, row, sinkContext } from './events.js'

let server: RedisServer
let redis: Redis
const open: FencedWriter[] = []

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
  for (const one of open.splice(0)) await one.close()
  redis.disconnect()
})

function definition(over: Partial<RedisSinkDefinition> = {}): RedisSinkDefinition {
  return {
    kind: 'redis',
    url: server.url,
    write: 'stream',
    name: 'out',
    format: 'columns',
    maxLength: null,
    batch: 512,
    exactlyOnce: true,
    ...over,
  }
}

async function start(over: Partial<RedisSinkDefinition> = {}, context = sinkContext()): Promise<FencedWriter> {
  const writer = await redisSink.openFenced!(definition(over), context)
  open.push(writer)
  return writer
}

const lanesAt = (major: number): LaneVector => ({
  'db/slot': { epoch: 3n, position: { major: BigInt(major), minor: 7n, part: 1 } },
})
const numbered = (n: number): SinkItem => event({ after: row({ n: String(n) }) })

async function numbers(): Promise<number[]> {
  return (await redis.xrange('out', '-', '+')).map(([, fields]) => Number(fields[fields.indexOf('n') + 1]))
}

const key = fenceKey({ pipeline: 'shop', processor: 'copy', set: 'key', partition: 0 })

test('the first writer finds no checkpoint; the next one finds what was committed, to the last bit', async () => {
  const first = await start()
  expect(first.lanes).toBeNull()
  const lanes = { ...lanesAt(2 ** 40), 'clicks/a/b': { epoch: 2n ** 63n, position: { major: 1n, minor: 2n, part: 0 } } }
  await first.commit([numbered(1), numbered(2)], lanes as LaneVector)
  const second = await start()
  expect(second.lanes).toEqual(lanes)
  expect(second.term).toBeGreaterThan(first.term)
  expect(await numbers()).toEqual([1, 2])
  expect(JSON.parse((await redis.hget(key, 'lanes'))!)['db/slot']).toBe('3:1099511627776-7.1')
})

test('of two writers of a partition the older is refused, and nothing of its batch takes effect', async () => {
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
  await expect(older.commit([numbered(4)], lanesAt(4))).rejects.toMatchObject({ code: 'sink-fenced' })
})

test('partitions, sets and processors have fences of their own', async () => {
  const zero = await start()
  await start({}, sinkContext({ partition: 1 }))
  await start({}, sinkContext({ set: 'global' }))
  await start({}, sinkContext({ processor: 'other' }))
  await start({}, sinkContext({ pipeline: 'other' }))
  await zero.commit([numbered(1)], lanesAt(1))
  expect(await numbers()).toEqual([1])
})

test('a term is never used twice, not even after Redis has lost its newest writes', async () => {
  const before = await start()
  const lost = await start()
  await redis.hset(key, 'term', before.term - 5)
  const after = await start()
  expect(after.term).toBeGreaterThanOrEqual(before.term)
  for (const zombie of [before, lost])
    await expect(zombie.commit([numbered(1)], lanesAt(1))).rejects.toMatchObject({ code: 'sink-fenced' })
  await after.commit([numbered(2)], lanesAt(2))
  expect(await numbers()).toEqual([2])
})

test('a checkpoint that was flushed away fences its writer, and the next one says that there is none', async () => {
  const writer = await start()
  await writer.commit([numbered(1)], lanesAt(1))
  await redis.flushall()
  await expect(writer.commit([numbered(2)], lanesAt(2))).rejects.toMatchObject({ code: 'sink-fenced' })
  expect(await redis.exists('out')).toBe(0)
  expect((await start()).lanes).toBeNull()
})

test('a checkpoint of another number of partitions counts for nothing', async () => {
  const writer = await start()
  await writer.commit([numbered(1)], lanesAt(1))
  expect((await start({}, sinkContext({ partitions: 8 }))).lanes).toBeNull()
  expect((await start()).lanes).toBeNull()
})

test('what the sink can never take is named before anything takes effect; the rest goes with the next commit', async () => {
  const writer = await start({ write: 'hash', name: 'row:{key}' })
  await redis.set('row:2', 'a string')
  const items: SinkItem[] = ['1', '2', '3', '4'].map((key) => event({ keyText: key, after: row({ id: key, n: null }) }))
  const refusal = await writer.commit(items, lanesAt(1)).catch((error) => error)
  expect(refusal).toBeInstanceOf(SinkRefusal)
  expect(refusal.refused.map((one: { index: number }) => one.index)).toEqual([1])
  expect(await redis.keys('row:*')).toEqual(['row:2'])
  expect(await redis.hexists(key, 'lanes')).toBe(0)
  items.push(event({ operation: 'truncate', after: null, key: null, keyText: '' }), event({ incomplete: true }))
  const again = await writer.commit(items, lanesAt(1)).catch((error) => error)
  expect(again.refused.map((one: { index: number }) => one.index)).toEqual([4, 5])
  expect(await writer.commit([items[0]!, items[2]!, items[3]!], lanesAt(1))).toEqual([])
  expect((await redis.keys('row:*')).sort()).toEqual(['row:1', 'row:2', 'row:3', 'row:4'])
  expect((await start()).lanes).toEqual(lanesAt(1))
})

test('the types of keys are those that the batch itself will have made', async () => {
  await redis.set('row:7', 'a string')
  const rows = await start({ write: 'hash', name: 'row:{key}' })
  const gone = event({ operation: 'delete', after: null })
  await rows.commit([gone, event({ after: row({ id: '7', n: null }) })], lanesAt(1))
  expect(await redis.hgetall('row:7')).toEqual({ id: '7' })
  const texts = await start({ write: 'string', name: 'row:{key}' }, sinkContext({ processor: 'texts' }))
  await texts.commit([event({ after: row({ id: '7' }) }), gone, event({ after: row({ id: '8' }) })], lanesAt(1))
  expect(await redis.get('row:7')).toBe('{"id":"8"}')
})

test('hashes, strings and streams come out as without exactlyOnce', async () => {
  const items: SinkItem[] = [
    event({ after: row({ id: '7', note: 'a', body: Buffer.from([0, 255, 13, 10]), gone: 'x' }) }),
    event({ operation: 'update', after: row({ id: '7', note: 'hällo', gone: null }), unchanged: ['body'] }),
    record(event(), { operation: 'upsert', entity: 'totals', key: '9', value: { big: 2n ** 60n, none: null } }),
  ]
  for (const write of ['hash', 'stream'] as const) {
    const plain = await redisSink.open(
      definition({ write, name: `plain:${write}:{key}`, exactlyOnce: false }),
      sinkContext({ processor: 'plain' }),
    )
    await plain.write(items)
    await plain.close()
    const fenced = await start({ write, name: `fenced:${write}:{key}` }, sinkContext({ processor: write }))
    await fenced.commit(items, lanesAt(1))
  }
  for (const id of ['7', '9']) {
    expect(await redis.hgetallBuffer(`fenced:hash:${id}`)).toEqual(await redis.hgetallBuffer(`plain:hash:${id}`))
    const entries = async (kind: string) =>
      (await redis.xrangeBuffer(`${kind}:stream:${id}`, '-', '+')).map(([, fields]) => fields)
    expect(await entries('fenced')).toEqual(await entries('plain'))
    expect((await entries('fenced')).length).toBeGreaterThan(0)
  }
})

test('a command may have as many arguments as Lua takes; an item with more is refused, and the others are not', async () => {
  const wide = (columns: number) =>
    event({ after: row(Object.fromEntries(Array.from({ length: columns }, (_, n) => [`c${n}`, 'v']))) })
  const writer = await start({ write: 'hash', name: 'wide:{key}' })
  const fits = (maxArguments - 2) / 2
  await writer.commit([wide(fits)], lanesAt(1))
  expect(await redis.hlen('wide:7')).toBe(fits)
  const refusal = await writer.commit([numbered(1), wide(fits + 1), numbered(2)], lanesAt(2)).catch((error) => error)
  expect(refusal).toBeInstanceOf(SinkRefusal)
  expect(refusal.refused).toEqual([{ index: 1, message: expect.stringContaining('arguments') }])
  await writer.commit([numbered(3)], lanesAt(2))
  expect(await redis.hget('wide:7', 'n')).toBe('3')
})

test('a Redis without our scripts is taught them again', async () => {
  const writer = await start()
  await redis.script('FLUSH')
  await writer.commit([numbered(1)], lanesAt(1))
  expect(await numbers()).toEqual([1])
})

test('out of memory takes no effect at all, and is no refusal', async () => {
  const context = sinkContext()
  const writer = await start({}, context)
  await redis.config('SET', 'maxmemory', '1mb', 'maxmemory-policy', 'noeviction')
  try {
    await expect(writer.commit([numbered(1)], lanesAt(1))).rejects.toMatchObject({ code: 'redis-memory' })
    expect(await redis.exists('out')).toBe(0)
  } finally {
    await redis.config('SET', 'maxmemory', '0')
  }
  expect((await start()).lanes).toBeNull()
})

test('what fails in the middle against every expectation is named, and the rest counts', async () => {
  await redis.call('ACL', 'SETUSER', 'narrow', 'on', '>narrow', '~troupe:*', '~ok:*', '%R~bad:*', '+@all')
  const url = `redis://narrow:narrow@127.0.0.1:${server.port}`
  const writer = await start({ url, write: 'hash', name: '{entity}:{key}' })
  const of = (entity: string, n: number) => event({ entity, after: row({ n: String(n) }) })
  const failed = await writer.commit([of('ok', 1), of('bad', 2), of('ok', 3)], lanesAt(1))
  expect(failed).toEqual([{ index: 1, message: expect.stringContaining('user executing the script') }])
  expect(await redis.hgetall('ok:7')).toEqual({ n: '3' })
  await expect(writer.commit([of('bad', 4), of('ok', 5)], lanesAt(2))).rejects.toMatchObject({ code: 'redis-denied' })
  expect(await redis.hgetall('ok:7')).toEqual({ n: '3' })
  expect((await start()).lanes).toEqual(lanesAt(1))
})

test('a Redis killed in the middle of commits holds exactly what its checkpoint says', async () => {
  let kills = 0
  for (let round = 0; round < 4; round++) {
    const context = sinkContext()
    const writer = await redisSink.openFenced!(definition(), context)
    let at = writer.lanes === null ? 0 : Number(writer.lanes['db/slot']!.position.major)
    expect(await numbers()).toEqual(Array.from({ length: at }, (_, n) => n + 1))
    const busy = (async () => {
      for (;;) {
        const items = Array.from({ length: 20 }, (_, n) => numbered(at + n + 1))
        await writer.commit(items, lanesAt(at + items.length))
        at += items.length
      }
    })()
    const begun = at
    const ended = busy.catch((error: unknown) => error)
    await until('some commits', () => at > begun + 100)
    await server.kill()
    expect(await ended).toMatchObject({ code: expect.stringMatching(/^redis-/) })
    await until('the failure is told', () => context.failures.length > 0)
    await writer.close()
    await server.restart()
    kills++
  }
  expect(kills).toBe(4)
  const last = await start()
  const at = Number(last.lanes!['db/slot']!.position.major)
  expect(await numbers()).toEqual(Array.from({ length: at }, (_, n) => n + 1))
}, 30_000)

test('a checkpoint that cannot be read stops its partition, with the place', async () => {
  await redis.hset(key, 'lanes', '{"db/slot":"nonsense"}', 'partitions', '4')
  await expect(start()).rejects.toMatchObject({ code: 'sink-checkpoint-corrupt', permanent: true })
})

test('the commands that the documentation lists are enough', async () => {
  const allowed = '+eval +evalsha +script|load +hmget +hset +hdel +type +info +ping +client|setname +xadd'
  await redis.call('ACL', 'SETUSER', 'least', 'reset', 'on', '>least', '~out', '~troupe:*', ...allowed.split(' '))
  const url = `redis://least:least@127.0.0.1:${server.port}`
  await redisSink.preflight(definition({ url }), sinkContext())
  const writer = await start({ url })
  await writer.commit([numbered(1)], lanesAt(1))
  expect((await start({ url }, sinkContext({ partitions: 8 }))).lanes).toBeNull()
  expect(await numbers()).toEqual([1])
})

test('a Redis that may throw the checkpoint away, or forbids scripts, is refused before anything runs', async () => {
  await redisSink.preflight(definition(), sinkContext())
  await redis.call('ACL', 'SETUSER', 'noscript', 'on', '>noscript', '~*', '+@all', '-evalsha')
  const url = `redis://noscript:noscript@127.0.0.1:${server.port}`
  await expect(redisSink.preflight(definition({ url }), sinkContext())).rejects.toMatchObject({ code: 'redis-denied' })
  await redis.config('SET', 'maxmemory', '1gb', 'maxmemory-policy', 'allkeys-lru')
  try {
    await expect(redisSink.preflight(definition(), sinkContext())).rejects.toMatchObject({
      code: 'redis-evicts',
      exitCode: 2,
    })
    await redisSink.preflight(definition({ exactlyOnce: false }), sinkContext())
  } finally {
    await redis.config('SET', 'maxmemory', '0', 'maxmemory-policy', 'noeviction')
  }
})
