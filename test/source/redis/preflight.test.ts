import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type RedisServer, startRedis } from '../../../src/servers/index.js'
import { redisStreamsSource } from '../../../src/source/redis/driver.js'
import { realWorld } from '../../../src/world/real.js'
import { definition, openHarness, until } from './output.js'

let server: RedisServer
let redis: Redis
const silent = { debug() {}, info() {}, warn() {}, error() {} }
const context = { world: realWorld, log: silent, pipeline: 'shop', name: 'clicks' }

beforeAll(async () => {
  server = await startRedis({ settings: { requirepass: 'main-secret' } })
  redis = new Redis(server.url)
  await redis.set('text', 'x')
  for (const user of [
    ['noread', '-xread'],
    ['nogroup', '-xreadgroup'],
    ['noclaim', '-xclaim'],
    ['noack', '-xack'],
    ['noinfo', '-info'],
    ['nokill', '-client|kill'],
  ] as const)
    await redis.call('ACL', 'SETUSER', user[0], 'on', '>user-secret', '~*', '+@all', user[1])
})
afterAll(async () => {
  redis.disconnect()
  await server.stop()
})

test('wrong configuration is refused before anything runs, with a remedy and no secret', async () => {
  const at = (user: string) => `redis://${user}@127.0.0.1:${server.port}`
  const cases: [Parameters<typeof definition>[1], string][] = [
    [{ url: at('').replace('@', '') }, 'redis-password'],
    [{ url: at(':wrong-secret') }, 'redis-password'],
    [{ url: at('nobody:wrong-secret') }, 'redis-password'],
    [{ url: 'redis://:main-secret@127.0.0.1:1' }, 'redis-unreachable'],
    [{ url: 'redis://:main-secret@nowhere.invalid:6379' }, 'redis-unreachable'],
    [{ url: `${server.url}/77` }, 'redis-database'],
    [{ streams: ['text'] }, 'redis-wrong-type'],
    [{ streams: ['text'], mode: 'group' }, 'redis-wrong-type'],
    [{ url: at('noread:user-secret') }, 'redis-denied'],
    [{ url: at('noinfo:user-secret') }, 'redis-denied'],
    [{ url: at('nogroup:user-secret'), mode: 'group' }, 'redis-denied'],
    [{ url: at('noclaim:user-secret'), mode: 'group' }, 'redis-denied'],
    [{ url: at('noack:user-secret'), mode: 'group' }, 'redis-denied'],
    [{ url: 'ftp://x:some-secret@y' }, 'redis-url'],
  ]
  for (const [over, code] of cases) {
    const error = await redisStreamsSource
      .preflight(definition(server.url, over), context)
      .then(() => null)
      .catch((one) => one)
    expect(error, JSON.stringify(over)).toMatchObject({
      code,
      exitCode: 2,
      permanent: true,
      place: 'source clicks',
      remedy: expect.any(String),
    })
    expect(JSON.stringify(error)).not.toContain('secret')
    expect(error.stack).not.toContain('-secret')
  }
  expect(await redis.keys('*')).toEqual(['text'])
})

test('what is right passes, streams that are not there yet too, and nothing is made', async () => {
  await redisStreamsSource.preflight(definition(server.url), context)
  await redisStreamsSource.preflight(definition(server.url, { mode: 'group' }), context)
  await redisStreamsSource.preflight(definition(server.url, { streams: [] }), context)
  expect(await redis.exists('clicks')).toBe(0)
})

test('a reader enters with its user and password and its database, under its name', async () => {
  await redis.call('ACL', 'SETUSER', 'reader', 'on', '>p@ss:word', '~*', '+@all')
  const url = `redis://reader:${encodeURIComponent('p@ss:word')}@127.0.0.1:${server.port}/3`
  const reader = await openHarness(definition(url, { mode: 'group' }), { term: 12 })
  const other = redis.duplicate({ db: 3 })
  await other.xadd('clicks', '*', 'n', '1')
  await until('the entry', () => reader.count === 1)
  const clients = String(await redis.client('LIST'))
  expect(clients.match(/name=troupe\.shop\.clicks\.12 /g)).toHaveLength(3)
  expect(
    redisStreamsSource.connections(definition(url, { mode: 'group' })).reduce((sum, one) => sum + one.count, 0),
  ).toBe(3)
  expect(JSON.stringify([redisStreamsSource.connections(definition(url)), reader.reader.status()])).not.toContain(
    'p@ss',
  )
  await reader.stop()
  await until(
    'the end of its connections',
    async () => !String(await redis.client('LIST')).includes('troupe.shop.clicks'),
  )
  other.disconnect()
})
