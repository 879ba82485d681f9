import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { Client } from 'pg'
import { expect, onTestFinished, test, vi } from 'vitest'
import { startNats, startPostgres, startRedis } from '../../src/servers/index.js'
import { makeSecrets } from './secrets.js'

interface Node {
  readonly child: ChildProcess
  /** Everything that it has logged. */
  said(): string
}

function run(environment: Readonly<Record<string, string>>, ...args: string[]): Node {
  const child = spawn(process.execPath, ['dist/src/cli/main.js', 'run', 'cluster/pipeline.yaml', '--json', ...args], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  let said = ''
  child.stderr!.on('data', (chunk) => {
    said += chunk
  })
  return { child, said: () => said }
}

test('a node with the least of rights carries the pipeline of cluster/ over TLS, once somebody else has provisioned', async () => {
  const secrets = makeSecrets()
  onTestFinished(() => secrets.remove())
  for (const [name, value] of Object.entries(secrets.environment)) vi.stubEnv(name, value)
  onTestFinished(() => void vi.unstubAllEnvs())
  const [nats, postgres, redis] = await Promise.all([
    startNats({ configuration: 'cluster/nats/single.conf' }),
    startPostgres(),
    startRedis(),
  ])
  onTestFinished(async () => void (await Promise.all([nats.stop(), postgres.stop(), redis.stop()])))
  const client = new Client({ connectionString: postgres.url })
  await client.connect()
  const data = mkdtempSync(join(tmpdir(), 'troupe-node-'))
  onTestFinished(() => rmSync(data, { recursive: true, force: true }))
  const environment = {
    SHOP_POSTGRES: postgres.url,
    SHOP_REDIS: redis.url,
    SHOP_DATA: data,
  }
  const as = (user: 'admin' | 'shop') =>
    `tls://${user}:${secrets.password(user)}@127.0.0.1:${nats.port}?ca=${secrets.ca}`
  const reader = new Redis(redis.url)
  try {
    await client.query(readFileSync('cluster/shop.sql', 'utf8'))
    const early = run(environment, '--cluster', as('shop'), '--node', 'a', '--no-provision')
    expect(await once(early.child, 'exit'), early.said()).toEqual([2, null])
    expect(early.said()).toMatch(/stream-missing/)

    const first = run(environment, '--cluster', as('admin'), '--node', 'provision', '--for', '1s')
    expect(await once(first.child, 'exit'), first.said()).toEqual([0, null])
    const named = { ...environment, TROUPE_CLUSTER: as('shop') }
    const node = run(named, '--cluster', 'env', '--node', 'a', '--no-provision')
    await client.query("INSERT INTO orders (customer, quantity) VALUES ('Ada', 3)")
    await reader.xadd('clicks', '*', 'key', 'k1', 'page', '/home')
    await vi.waitFor(async () => expect(await reader.xlen('shop:changes'), node.said().slice(-3_000)).toBe(2), 60_000)
    node.child.kill('SIGTERM')
    expect(await once(node.child, 'exit'), node.said()).toEqual([0, null])
    expect(node.said()).not.toMatch(/does not allow|"level":"error"|could not be verified/)
    for (const said of [early.said(), first.said(), node.said()])
      for (const user of ['admin', 'shop'] as const) expect(said).not.toContain(secrets.password(user))
  } finally {
    reader.disconnect()
    await client.end()
  }
}, 180_000)
