// What the bench of takeovers reads from its sink, against a real Redis.
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { createSinkAudit, type SinkAudit } from '../../bench/workload/sink-audit.js'
import { type RedisServer, startRedis } from '../../src/servers/index.js'

const streams = ['out:0', 'out:1']
let server: RedisServer
let redis: Redis
let audit: SinkAudit

beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())
beforeEach(async () => {
  redis = new Redis(server.url)
  await redis.flushall()
  audit = createSinkAudit(server.url, streams, 10)
  audit.begin(1_000)
})
afterEach(() => {
  audit.close()
  redis.disconnect()
})

/** @param at the millisecond of the commit */
async function commit(partition: number, at: number, node: string, counter: number): Promise<void> {
  const fields = { key: partition, counter, due: at * 1_000, node }
  await redis.xadd(streams[partition]!, `${at}-*`, ...Object.entries(fields).flat())
}

test('an event that is lost in the midst of its key is found, though later ones have come', async () => {
  await commit(0, 1_000, 'a', 1)
  await commit(0, 1_001, 'a', 2)
  await commit(0, 1_002, 'b', 5)
  await audit.catchUp()
  expect(audit).toMatchObject({ events: 3, leapt: 2, duplicated: 0 })
  expect(audit.lastCounter(0)).toBe(5)
})

test('a silence is that of the partitions that stayed: the backlog of one that moved does not break it', async () => {
  await commit(0, 1_000, 'a', 1)
  await commit(1, 1_010, 'b', 1)
  await commit(0, 1_200, 'b', 2)
  await commit(0, 1_300, 'b', 3)
  await commit(1, 1_510, 'b', 2)
  await audit.catchUp()
  expect(audit.passages).toEqual([{ partition: 0, from: 'a', to: 'b', lastAt: 1_000, firstAt: 1_200 }])
  expect(audit.longestSilence()).toBe(500)
})

test('where every partition moved, no silence is told', async () => {
  await commit(0, 1_000, 'a', 1)
  await commit(0, 1_200, 'b', 2)
  await audit.catchUp()
  expect(() => audit.longestSilence()).toThrow(/no partition that stayed/)
})
