// biome-ignore-all lint/suspicious/noTemplateCurlyInString: interpolation is used
/** The rights that docs/nats.md lists are enough: for a node also without `$JS.API.INFO`, and for each command on a cluster. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test, vi } from 'vitest'
import { startRedis } from '../../src/servers/index.js'
import { startNats } from '../../src/servers/nats.js'
import { captured } from '../cli/captured.js'

/** The subjects of one table of the page, `<s>` and `<b>` filled in. */
function rightsOf(heading: string): string[] {
  const page = readFileSync('docs/nats.md', 'utf8')
  const section = page.slice(page.indexOf(`\n### ${heading}\n`)).slice(1)
  const [table = ''] = section.split(/\n##+ /)
  const rows = table.split('\n').filter((line) => line.startsWith('| `'))
  expect(rows.length, heading).toBeGreaterThan(2)
  return rows
    .filter((row) => !row.includes('optional') && !row.includes('only to create'))
    .flatMap((row) => [...row.split('|')[1]!.matchAll(/`([^`]+)`/g)].map(([, subject]) => subject!))
    .map((subject) =>
      subject.replaceAll('<s>', 'TROUPE_shop').replaceAll('<b>', 'KV_troupe_shop').replaceAll('<pipeline>', 'shop'),
    )
}

/** Lines that tell of a right that was missing, but for those that the page calls optional. */
function denied(said: string): string[] {
  return said
    .split('\n')
    .filter((line) => line.includes('does not allow'))
    .filter((line) => !/\$JS\.API\.INFO\b|\$SYS\.REQ\.SERVER\.PING\.JSZ\b/.test(line))
}

test('a node and the commands on a cluster work with the rights of the documents and inboxes of their own, and with no others', async () => {
  const [node, commands] = [rightsOf('Of a node'), rightsOf('Of the commands')]
  expect(node).not.toContain('$JS.API.INFO')
  const list = (subjects: readonly string[]) => `[${subjects.map((one) => JSON.stringify(one)).join(', ')}]`
  // Of his own, so that he cannot read what is answered to others.
  const inbox = (name: string) => `_INBOX_${name}`
  const user = (name: string, publish: readonly string[]) =>
    `{ user: ${name}, password: p, permissions: { publish: ${list(publish)}, subscribe: ${list(['troupe.shop.ctl.>', `${inbox(name)}.>`])} } }`
  const users = `[{ user: admin, password: p }, ${user('node', node)}, ${user('cli', commands)}]`
  const [redis, nats] = await Promise.all([
    startRedis(),
    startNats({ settings: { authorization: `{ users: ${users} }` } }),
  ])
  const folder = mkdtempSync(join(tmpdir(), 'troupe-rights-'))
  onTestFinished(async () => {
    await Promise.all([redis.stop(), nats.stop()])
    rmSync(folder, { recursive: true, force: true })
    vi.unstubAllEnvs()
  })
  const file = join(folder, 'shop.yaml')
  const write = (more: string) =>
    writeFileSync(
      file,
      `name: shop
partitions: 2
threads: 1
checkpointInterval: 50ms
data: ./data
cluster: { lease: 1s, maxBytes: 64MiB, durability: synced, retain: 1h }
sources:
  in: { kind: redis-streams, url: "\${REDIS_URL}", streams: in, keyField: key }
processors:
  copy: { sink: { kind: redis, url: "\${REDIS_URL}", write: stream, name: out } }
${more}`,
    )
  write('  gone: { sink: { kind: redis, url: "${REDIS_URL}", write: stream, name: gone } }\n')
  const url = (name: string) => `nats://${name}:p@127.0.0.1:${nats.port}?inbox=${inbox(name)}`
  function run(name: string, ...args: string[]) {
    const child = spawn(
      process.execPath,
      ['dist/src/cli/main.js', 'run', file, '--cluster', 'env', '--json', ...args],
      {
        env: { PATH: process.env.PATH, HOME: process.env.HOME, REDIS_URL: redis.url, TROUPE_CLUSTER: url(name) },
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    )
    const exit = once(child, 'exit')
    onTestFinished(async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
      await exit
    })
    let said = ''
    child.stderr.on('data', (chunk) => {
      said += chunk
    })
    return { child, exit, said: () => said }
  }
  const admin = run('admin', '--for', '1s')
  expect(await admin.exit, admin.said()).toEqual([0, null])
  const working = run('node', '--node', 'n1', '--no-provision')
  const client = new Redis(redis.url)
  onTestFinished(() => client.disconnect())
  for (let entry = 0; entry < 10; entry++) await client.xadd('in', '*', 'key', `k${entry}`)
  const came = (count: number) =>
    vi.waitFor(async () => expect(await client.xlen('out'), working.said().slice(-3_000)).toBe(count), 60_000)
  await came(10)

  vi.stubEnv('REDIS_URL', redis.url)
  vi.stubEnv('TROUPE_CLUSTER', url('cli'))
  // A denial of what nobody waits for is a line of the log, and no failure of the command.
  async function done(...command: readonly string[]): Promise<string> {
    const said = await captured(command)
    expect(said, `${command[0]}: ${said.err}`).toMatchObject({ code: 0 })
    expect(denied(said.err), command[0]).toEqual([])
    return said.out
  }
  const status = async () => JSON.parse(await done('status', file, '--cluster', 'env', '--json'))
  // A checkpoint covers the ten before they are sought.
  await vi.waitFor(async () => {
    const { partitions } = await status()
    expect(
      partitions.flatMap(({ processors }: { processors: { lag: number }[] }) => processors.map(({ lag }) => lag)),
    ).toEqual([0, 0, 0, 0])
  }, 60_000)
  for (const resource of ['key.0', 'reader.in'])
    expect(JSON.parse(await done('why', resource, file, '--json')).told, resource).toMatchObject({
      node: 'n1',
      problem: null,
    })
  await done('rolling', file, 'on')
  await done('rolling', file, 'off')
  await done('drain', 'n1', file)
  await done('drain', 'n1', file, '--undo')
  await done('pause', file, 'copy')
  await done('seek', file, 'copy', '--to', 'earliest')
  await done('resume', file, 'copy')
  await came(20)
  working.child.kill('SIGTERM')
  expect(await working.exit, working.said()).toEqual([0, null])

  write('')
  const without = run('node', '--node', 'n1', '--no-provision')
  await vi.waitFor(async () => {
    const { departed, partitions } = await status()
    expect(departed, without.said().slice(-3_000)).toMatchObject([{ processor: 'gone' }])
    expect(partitions, without.said().slice(-3_000)).toMatchObject([{ node: 'n1' }, { node: 'n1' }])
  }, 60_000)
  // Once the owners have sealed anew: until then its checkpoints are of the same owner as those of the others.
  await vi.waitFor(async () => {
    const said = await captured(['retire', 'gone', file, '--yes'])
    expect(said, said.err).toMatchObject({ code: 0 })
    expect(denied(said.err)).toEqual([])
  }, 60_000)
  expect(await status()).toMatchObject({ departed: [] })
  without.child.kill('SIGTERM')
  expect(await without.exit, without.said()).toEqual([0, null])

  expect(denied(working.said() + without.said())).toEqual([])
}, 180_000)
