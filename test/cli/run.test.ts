// biome-ignore-all lint/suspicious/noTemplateCurlyInString: interpolation is used
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { type RedisServer, startRedis } from '../../src/servers/index.js'
import { scratch } from '../pipeline/scratch.js'

const main = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))

let server: RedisServer
let client: Redis

beforeAll(async () => {
  server = await startRedis()
  client = new Redis(server.url)
})

afterAll(async () => {
  client.disconnect()
  await server.stop()
})

/** An endpoint of the environment may hold streams of earlier runs. */
const streamName = (name: string): string => `troupe-cli-${process.pid}-${name}`

const pipeline = (stream: string, handler = ''): string => `name: clicks
partitions: 2
threads: 1
stopDeadline: 10s
checkpointInterval: 50ms
data: ./data
sources:
  clicks: { kind: redis-streams, url: "\${REDIS_URL}", streams: ${streamName(stream)} }
processors:
  file: { ${handler} sink: { kind: jsonl, path: "out-{partition}.jsonl", sync: false } }
`

interface Run {
  readonly child: ChildProcess
  readonly log: () => string
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null }>
}

function run(args: readonly string[]): Run {
  const child = spawn(process.execPath, [main, 'run', ...args], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, REDIS_URL: server.url },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  let text = ''
  child.stderr!.on('data', (chunk) => {
    text += String(chunk)
  })
  const ended = once(child, 'close').then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as string | null,
  }))
  return { child, log: () => text, ended }
}

async function until(holds: () => boolean, what: () => string): Promise<void> {
  const deadline = performance.now() + 20_000
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`not within 20 s: ${what()}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

const linesOf = (path: (name: string) => string): number =>
  [0, 1]
    .map((partition) => path(`out-${partition}.jsonl`))
    .filter(existsSync)
    .reduce((sum, file) => sum + readFileSync(file, 'utf8').split('\n').length - 1, 0)

const messages = (log: string): string[] =>
  log
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { msg: string }).msg)

describe('troupe run', () => {
  it('carries events until SIGTERM, drains, exits 0, and leaves its directory to the next', async () => {
    const path = scratch({ 'pipeline.yaml': pipeline('one') })
    const first = run([path('pipeline.yaml')])
    for (let n = 0; n < 20; n++) await client.xadd(streamName('one'), '*', 'n', String(n))
    await until(() => linesOf(path) === 20, first.log)
    const second = run([path('pipeline.yaml')])
    expect(await second.ended).toEqual({ code: 2, signal: null })
    expect(second.log()).toContain('error[data-directory-in-use]')
    first.child.kill('SIGTERM')
    expect(await first.ended).toEqual({ code: 0, signal: null })
    expect(messages(first.log())).toEqual(expect.arrayContaining(['starting', 'running', 'draining', 'stopped']))
    expect(linesOf(path)).toBe(20)
  })

  it('stops by itself with --for', async () => {
    const path = scratch({ 'pipeline.yaml': pipeline('two') })
    const only = run([path('pipeline.yaml'), '--for', '200ms', '--json'])
    expect({ ...(await only.ended), log: only.log() }).toMatchObject({ code: 0, signal: null })
    expect(only.log()).toContain('"reason":"--for 200ms"')
  })

  it('ends at once, as by kill -9, at a second signal', async () => {
    const path = scratch({
      'pipeline.yaml': pipeline('three', 'handler: ./stuck.ts,'),
      'stuck.ts': `
        import { appendFileSync } from 'node:fs'
        import { defineProcessor } from 'troupe'
        export default defineProcessor({
          handle() {
            appendFileSync(new URL('./reached', import.meta.url), '')
            return new Promise(() => {})
          },
        })`,
    })
    await client.xadd(streamName('three'), '*', 'n', '1')
    const stuck = run([path('pipeline.yaml')])
    await until(() => existsSync(path('reached')), stuck.log)
    stuck.child.kill('SIGTERM')
    await until(() => stuck.log().includes('draining'), stuck.log)
    stuck.child.kill('SIGINT')
    expect(await stuck.ended).toEqual({ code: null, signal: 'SIGKILL' })
    expect(stuck.log()).toContain('stopping now')
  })

  it('exits with an error and no password where the server refuses', async () => {
    const path = scratch({
      'pipeline.yaml': pipeline('four').replace('"${REDIS_URL}"', 'redis://user:hunter2@127.0.0.1:1/0'),
    })
    const refused = run([path('pipeline.yaml')])
    expect((await refused.ended).code).toBeGreaterThan(0)
    expect(refused.log()).toMatch(/^error\[[a-z-]+\] /m)
    expect(refused.log()).not.toContain('hunter2')
    expect(refused.log()).not.toMatch(/^\s+at /m)
  })
})
