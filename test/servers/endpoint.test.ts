import { afterEach, expect, onTestFinished, test, vi } from 'vitest'
import { runningServers, startNats, startPostgres, startRedis } from '../../src/servers/index.js'

afterEach(() => vi.unstubAllEnvs())

const ours = () => runningServers().filter((record) => record.owner.pid === process.pid).length

test('an endpoint in the environment is used, nothing is started, and it cannot be killed', async () => {
  const kinds = [
    ['TROUPE_POSTGRES_URL', startPostgres],
    ['TROUPE_REDIS_URL', startRedis],
    ['TROUPE_NATS_URL', startNats],
  ] as const
  for (const [variable, start] of kinds) {
    const real = await start()
    onTestFinished(() => real.stop())
    const before = ours()
    vi.stubEnv(variable, real.url)
    const given = await start()
    expect([given.kind, given.port, given.running]).toEqual([real.kind, real.port, true])
    expect(ours()).toBe(before)
    for (const act of [() => given.kill(), () => given.restart(), async () => given.pause(), async () => given.pid])
      await expect(act()).rejects.toMatchObject({ code: 'endpoint-not-ours', place: variable })
    await given.stop()
    expect(real.running).toBe(true)
  }
})

test('a list of NATS servers is one endpoint, and its whole list is the URL', async () => {
  const real = await startNats()
  onTestFinished(() => real.stop())
  const list = `${real.url},nats://127.0.0.1:1`
  vi.stubEnv('TROUPE_NATS_URL', list)
  expect(await startNats()).toMatchObject({ url: list, port: real.port })
})

test('a PostgreSQL endpoint makes databases and gives their URLs', async () => {
  const real = await startPostgres()
  onTestFinished(() => real.stop())
  vi.stubEnv('TROUPE_POSTGRES_URL', real.url)
  const given = await startPostgres()
  expect(await given.createDatabase('shop')).toBe(real.urlFor('shop'))
  expect(() => given.socketUrl).toThrow(/not known/)
})

test('an endpoint that does not answer, or is no URL, is a clear error', async () => {
  vi.stubEnv('TROUPE_REDIS_URL', 'redis://127.0.0.1:1')
  await expect(startRedis()).rejects.toMatchObject({ code: 'endpoint-silent', place: 'TROUPE_REDIS_URL' })
  vi.stubEnv('TROUPE_REDIS_URL', 'localhost')
  await expect(startRedis()).rejects.toMatchObject({ code: 'bad-endpoint', exitCode: 2 })
})
