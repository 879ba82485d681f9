import { afterAll, beforeAll, expect, test } from 'vitest'
import { type RedisServer, startRedis } from '../../../src/servers/index.js'
import { redisSink } from '../../../src/sink/redis.js'
import { event, row, sinkContext } from '../../sink/events.js'
import { definition, openHarness, until } from './output.js'

const COUNT = 100_000
let server: RedisServer

beforeAll(async () => {
  server = await startRedis({ settings: { appendonly: 'no' } })
})
afterAll(() => server.stop())

/** Prints what this machine did just now; benchmarks proper are in bench/. */
async function measure(what: string, run: () => Promise<void>): Promise<void> {
  const start = performance.now()
  const before = process.cpuUsage()
  await run()
  const cpu = process.cpuUsage(before)
  const rate = Math.round((COUNT / (performance.now() - start)) * 1000)
  console.log(`${what}: ${rate.toLocaleString('en')}/s, ${((cpu.user + cpu.system) / COUNT).toFixed(2)} us CPU each`)
}

test('100,000 entries go in through the sink and out in both modes, each exactly once', async () => {
  const stream = {
    kind: 'redis',
    url: server.url,
    write: 'stream',
    name: 'clicks',
    format: 'columns',
    maxLength: null,
    batch: 512,
    exactlyOnce: false,
  } as const
  const writer = await redisSink.open(stream, sinkContext())
  const items = Array.from({ length: 500 }, (_, index) =>
    event({ after: row({ n: String(index), pad: 'x'.repeat(120) }) }),
  )
  await measure('sink (XADD)', async () => {
    const writes: Promise<void>[] = []
    for (let sent = 0; sent < COUNT; sent += items.length) {
      writes.push(writer.write(items))
      if (writes.length >= writer.maxInFlight) await writes.shift()
    }
    await Promise.all(writes)
  })
  await writer.close()
  for (const mode of ['read', 'group'] as const) {
    const confirmAtOnce = mode === 'group'
    let reader: Awaited<ReturnType<typeof openHarness>> | undefined
    await measure(`source (${mode})`, async () => {
      reader = await openHarness(definition(server.url, { mode, keyField: 'n' }), { light: true, confirmAtOnce })
      await until('all', () => reader!.count >= COUNT, 60_000)
      if (mode === 'group')
        await until('all acknowledged', () => reader!.reader.status().acknowledged === COUNT, 60_000)
    })
    expect(reader!.count).toBe(COUNT)
    expect(reader!.failures).toEqual([])
    await reader!.stop()
  }
}, 120_000)
