import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { record } from '../../src/processor/processor.js'
import { type RedisServer, startRedis } from '../../src/servers/index.js'
import type { RedisSinkDefinition } from '../../src/sink/definition.js'
import { redisSink } from '../../src/sink/redis.js'
import type { SinkItem, SinkWriter } from '../../src/sink/sink.js'
import { SinkRefusal } from '../../src/sink/sink.js'
import { until } from '../source/redis/output.js'
import { event, row, sinkContext } from './events.js'

let server: RedisServer
let redis: Redis
const open: SinkWriter[] = []

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
    exactlyOnce: false,
    ...over,
  }
}

async function start(over: Partial<RedisSinkDefinition> = {}, context = sinkContext()): Promise<SinkWriter> {
  const writer = await redisSink.open(definition(over), context)
  open.push(writer)
  return writer
}

async function entries(stream = 'out'): Promise<Record<string, string>[]> {
  return (await redis.xrange(stream, '-', '+')).map(([, fields]) => {
    const object: Record<string, string> = {}
    for (let index = 0; index < fields.length; index += 2) object[fields[index]!] = fields[index + 1]!
    return object
  })
}

test('an event becomes an entry whose own fields cannot meet a column', async () => {
  const writer = await start({ name: 'out:{entity}:{operation}:{partition}' }, sinkContext({ partition: 3 }))
  await writer.write([event({ unchanged: ['body'] })])
  expect(await entries('out:orders:insert:3')).toEqual([
    {
      '@id': 'db/1/slot/10-1',
      '@op': 'insert',
      '@source': 'db',
      '@entity': 'public.orders',
      '@key': '7',
      id: '7',
      note: 'hällo',
      '@@id': 'mine',
      '@unchanged': '["body"]',
      '@null': '["gone"]',
    },
  ])
})

test('a delete bears its key columns, and bytes arrive as they are', async () => {
  const writer = await start()
  const blob = Buffer.from([0, 255, 13, 10])
  await writer.write([
    event({ operation: 'delete', after: null, before: row({ id: '7', note: null }) }),
    event({ after: row({ blob }) }),
  ])
  const [first] = await entries()
  expect(first).toMatchObject({ '@op': 'delete', id: '7' })
  expect(first).not.toHaveProperty('note')
  const raw = (await redis.callBuffer('XRANGE', 'out', '-', '+')) as [Buffer, Buffer[]][]
  expect(raw[1]![1].at(-1)).toEqual(blob)
})

test('a record of a processor is written with its values as text', async () => {
  const writer = await start()
  const value = { big: 2n ** 60n, yes: true, list: [1, 2n, null], bytes: Buffer.from('raw'), '@x': 1.5, none: null }
  await writer.write([record(event(), { operation: 'append', entity: 'totals', value })])
  expect((await entries())[0]).toEqual({
    '@id': 'db/1/slot/10-1',
    '@op': 'append',
    '@source': 'db',
    '@entity': 'totals',
    '@key': '7',
    big: '1152921504606846976',
    yes: 'true',
    list: '[1,2,null]',
    bytes: 'raw',
    '@@x': '1.5',
    '@null': '["none"]',
  })
})

test('the json format is the event itself, and MAXLEN trims', async () => {
  const writer = await start({ format: 'json', maxLength: 100 })
  for (let batch = 0; batch < 10; batch++) await writer.write(Array.from({ length: 100 }, () => event()))
  expect(await redis.xlen('out')).toBeLessThan(400)
  expect(JSON.parse((await entries())[0]!.event!)).toMatchObject({ id: 'db/1/slot/10-1', after: { note: 'hällo' } })
})

test('a hash follows its row: NULL takes a field away, what was not sent stays, a delete removes it', async () => {
  const writer = await start({ write: 'hash', name: '{entity}:{key}' })
  await writer.write([event({ after: row({ id: '7', note: 'a', body: 'long' }) })])
  await writer.write([event({ operation: 'update', after: row({ id: '7', note: null }), unchanged: ['body'] })])
  expect(await redis.hgetall('orders:7')).toEqual({ id: '7', body: 'long' })
  await writer.write([event({ operation: 'delete', after: null })])
  expect(await redis.exists('orders:7')).toBe(0)
})

test('a string is the row as JSON, whole or not at all', async () => {
  const writer = await start({ write: 'string', name: '{entity}:{key}' })
  await writer.write([
    event({ after: row({ id: '7', note: 'a' }) }),
    event({ keyText: '8', after: row({ id: '8' }), before: row({ id: '8', body: 'old' }), unchanged: ['body'] }),
  ])
  expect(JSON.parse((await redis.get('orders:7'))!)).toEqual({ id: '7', note: 'a' })
  expect(JSON.parse((await redis.get('orders:8'))!)).toEqual({ id: '8', body: 'old' })
  await expect(writer.write([event({ unchanged: ['body'] })])).rejects.toThrow(/REPLICA IDENTITY FULL/)
  await writer.write([event({ operation: 'delete', after: null })])
  expect(await redis.exists('orders:7')).toBe(0)
})

test('what is refused is named, everything else of the batch takes effect in its place', async () => {
  const writer = await start({ write: 'hash', name: 'row:{key}' })
  await redis.set('row:2', 'a string')
  const items: SinkItem[] = ['1', '2', '3', '4'].map((key) => event({ keyText: key, after: row({ id: key, n: null }) }))
  items.push(event({ operation: 'truncate', after: null, key: null, keyText: '' }), event({ incomplete: true }))
  const refusal = await writer.write(items).catch((error) => error)
  expect(refusal).toBeInstanceOf(SinkRefusal)
  expect(refusal.refused.map((one: { index: number }) => one.index)).toEqual([1, 4, 5])
  expect(refusal.index).toBe(1)
  expect(await redis.keys('row:*')).toHaveLength(4)
  await writer.write([event({ keyText: '5', after: row({ id: '5' }) })])
  expect(await redis.hgetall('row:5')).toEqual({ id: '5' })
})

test('several writes are in flight and take effect in the order of the calls', async () => {
  const writer = await start({ name: 'out' })
  const order: number[] = []
  const writes = Array.from({ length: 40 }, (_, batch) =>
    writer
      .write(Array.from({ length: 25 }, (_, index) => event({ after: row({ n: String(batch * 25 + index) }) })))
      .then(() => order.push(batch)),
  )
  await Promise.all(writes)
  expect(order).toEqual(Array.from({ length: 40 }, (_, index) => index))
  expect((await entries()).map((one) => Number(one.n))).toEqual(Array.from({ length: 1_000 }, (_, index) => index))
})

test('a Redis killed in the middle fails the writer; what comes again over a new one stands in order', async () => {
  let next = 0
  const acknowledged: number[] = []
  for (let round = 0; round < 4; round++) {
    const context = sinkContext()
    const writer = await redisSink.open(definition(), context)
    next = acknowledged.length
    const batches: Promise<void>[] = []
    let failed = false
    const write = () => {
      const numbers = Array.from({ length: 20 }, (_, index) => next + index)
      next += 20
      batches.push(
        writer.write(numbers.map((n) => event({ after: row({ n: String(n) }) }))).then(
          () => void acknowledged.push(...numbers),
          () => {
            failed = true
          },
        ),
      )
    }
    for (let batch = 0; batch < 10; batch++) write()
    await batches[4]
    const killed = server.kill()
    for (let batch = 0; batch < 4; batch++) write()
    await killed
    await Promise.all(batches)
    await until('the failure', () => failed && context.failures.length === 1)
    expect(context.failures[0]).toMatchObject({ code: expect.stringMatching(/^redis-/) })
    await expect(writer.write([event()])).rejects.toThrow()
    await writer.close()
    await server.restart()
  }
  const stored = (await entries()).map((one) => Number(one.n))
  const first = [...new Set(stored)]
  expect(first).toEqual(Array.from({ length: first.length }, (_, index) => index))
  expect(acknowledged).toEqual(Array.from({ length: acknowledged.length }, (_, index) => index))
  expect(first.length).toBeGreaterThanOrEqual(acknowledged.length)
}, 30_000)

test('a writer ends its own earlier life before it writes, and nobody else', async () => {
  const context = sinkContext()
  const other = await start({}, sinkContext({ partition: 1 }))
  await redisSink.open(definition(), context)
  const second = await start()
  await until('the end of the first', () => context.failures.length === 1)
  await second.write([event()])
  await other.write([event()])
  expect(await redis.xlen('out')).toBe(2)
})

test('out of memory is no refusal: the writer fails and the batch comes again', async () => {
  const context = sinkContext()
  const writer = await start({}, context)
  await redis.config('SET', 'maxmemory', '1mb', 'maxmemory-policy', 'noeviction')
  try {
    await expect(writer.write([event()])).rejects.toMatchObject({ code: 'redis-memory' })
    expect(context.failures).toHaveLength(1)
  } finally {
    await redis.config('SET', 'maxmemory', '0')
  }
})

test('wrong configuration is refused before anything runs, with a remedy and no secret', async () => {
  await redis.set('text', 'x')
  await redis.call('ACL', 'SETUSER', 'weak', 'on', '>weak-secret', '~*', '+@all', '-client|kill')
  const { port } = server
  const cases: [Partial<RedisSinkDefinition>, string][] = [
    [{ url: `redis://nobody:top-secret@127.0.0.1:${port}` }, 'redis-password'],
    [{ url: 'redis://:top-secret@127.0.0.1:1' }, 'redis-unreachable'],
    [{ url: `redis://weak:weak-secret@127.0.0.1:${port}` }, 'redis-denied'],
    [{ url: `redis://127.0.0.1:${port}/999` }, 'redis-database'],
    [{ name: 'text' }, 'redis-wrong-type'],
    [{ name: '{table}' }, 'unknown-placeholder'],
    [{ url: 'http://x' }, 'redis-url'],
  ]
  for (const [over, code] of cases) {
    const error = await redisSink.preflight(definition(over), sinkContext()).catch((one) => one)
    expect(error).toMatchObject({ code, exitCode: 2, place: expect.anything(), remedy: expect.anything() })
    expect(JSON.stringify(error)).not.toContain('secret')
  }
  await redisSink.preflight(definition(), sinkContext())
  await redisSink.preflight(definition({ name: '{entity}:{key}', write: 'hash' }), sinkContext())
})
