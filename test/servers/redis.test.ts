import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { startRedis } from '../../src/servers/index.js'

async function withClient<T>(url: string, work: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url, { maxRetriesPerRequest: 0, retryStrategy: () => null, commandTimeout: 500 })
  client.on('error', () => {})
  try {
    return await work(client)
  } finally {
    client.disconnect()
  }
}

test('a Redis killed and started again has its port and what was written', async () => {
  const server = await startRedis({ settings: { appendfsync: 'always' } })
  onTestFinished(() => server.stop())
  const { port, pid } = server
  await withClient(server.url, (client) => client.xadd('clicks', '1-1', 'page', 'home'))
  await server.kill()
  await expect(withClient(server.url, (client) => client.ping())).rejects.toThrow()
  await server.restart()
  expect([server.port, server.pid === pid]).toEqual([port, false])
  const entries = await withClient(server.url, (client) => client.xrange('clicks', '-', '+'))
  expect(entries).toEqual([['1-1', ['page', 'home']]])
})

test('a paused Redis holds its connections and answers none until it is resumed', async () => {
  const server = await startRedis()
  onTestFinished(() => server.stop())
  await withClient(server.url, async (client) => {
    await client.ping()
    server.pause()
    await expect(client.ping()).rejects.toThrow(/timed out/)
    server.resume()
    expect(await client.ping()).toBe('PONG')
  })
})

test('a Redis with a password is ready with it and hands it out in its URL alone', async () => {
  const server = await startRedis({ settings: { requirepass: 's3cret' } })
  onTestFinished(() => server.stop())
  expect(await withClient(server.url, (client) => client.ping())).toBe('PONG')
  await expect(withClient(`redis://127.0.0.1:${server.port}`, (client) => client.ping())).rejects.toThrow(/NOAUTH/)
})

test('a directory that was named outlives the server and is refused to a second one', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'troupe-test-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  const first = await startRedis({ directory })
  await withClient(first.url, (client) => client.set('k', 'v'))
  await expect(startRedis({ directory })).rejects.toMatchObject({ code: 'directory-in-use' })
  await first.stop()
  const second = await startRedis({ directory })
  onTestFinished(() => second.stop())
  expect(await withClient(second.url, (client) => client.get('k'))).toBe('v')
})

test('a port that is in use is refused by name', async () => {
  const server = await startRedis()
  onTestFinished(() => server.stop())
  await expect(startRedis({ port: server.port })).rejects.toMatchObject({
    code: 'port-in-use',
    message: expect.stringContaining(String(server.port)),
  })
})
