import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadPipeline, type RunningPipeline, realWorld, runPipeline } from '../../src/index.js'
import { loadHandler, preflightHandlers } from '../../src/pipeline/handler.js'
import { importModule } from '../../src/pipeline/module.js'
import { type RedisServer, startRedis } from '../../src/servers/index.js'
import { root, writeExamples } from './document.js'

const exec = promisify(execFile)
const environment = { DATABASE_URL: 'postgres://app:secret@127.0.0.1:5432/shop', REDIS_URL: 'redis://127.0.0.1:6379' }
const folders: string[] = []
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

function examples(document: string) {
  const written = writeExamples(document)
  folders.push(written.folder)
  return { ...written, path: (name: string) => join(written.folder, name) }
}

describe('README.md', () => {
  const { names, path } = examples('README.md')

  test('has a pipeline in YAML, its processor, and one in TypeScript', () => {
    expect(names).toEqual(['shop.yaml', 'large.ts', 'shop.ts'])
  })

  test.each(['shop.yaml', 'shop.ts'])('%s is valid, and explained, by the command line', async (name) => {
    const cli = join(root, 'dist/src/cli/main.js')
    const env = { ...process.env, ...environment }
    const { stdout } = await exec(process.execPath, [cli, 'validate', path(name)], { env })
    expect(stdout).toContain('is valid: pipeline shop')
    const explained = await exec(process.execPath, [cli, 'explain', path(name)], { env })
    expect(explained.stdout).toContain('at-least-once')
  })

  test('the YAML pipeline loads by the SDK, with its handler', async () => {
    const pipeline = await loadPipeline(path('shop.yaml'), { env: environment })
    expect(Object.keys(pipeline.processors)).toEqual(['orders'])
    await preflightHandlers(pipeline)
  })
})

describe('docs/processors.md', () => {
  const { folder, names, path } = examples('docs/processors.md')
  let redis: RedisServer
  let commands: Redis
  let running: RunningPipeline | undefined

  beforeAll(async () => {
    redis = await startRedis()
    commands = new Redis(redis.url)
  })
  afterAll(async () => {
    await running?.stop(1_000)
    commands?.disconnect()
    await redis?.stop()
  })

  test.each(names.filter((name) => /^[\w-]+\.ts$/.test(name)))('%s is a processor', async (name) => {
    await expect(loadHandler({ module: pathToFileURL(path(name)).href })).resolves.toHaveProperty('handle')
  })

  test('totals.test.ts passes', async () => {
    await importModule(pathToFileURL(path('totals.test.ts')).href, 'handler-load')
  })

  test('totals.yaml carries entries from a real Redis, and keeps what fails as a dead letter', async () => {
    for (const [user, amount] of [
      ['ann', '12.50'],
      ['bob', 'much'],
      ['ann', '1'],
      ['bob', '3.10'],
    ] as const)
      await commands.xadd('payments', '*', 'user', user, 'amount', amount)
    const pipeline = await loadPipeline(path('totals.yaml'), { env: { REDIS_URL: redis.url } })
    running = await runPipeline(pipeline, { world: realWorld, log: { debug() {}, info() {}, warn() {}, error() {} } })
    await expect
      .poll(async () => (await running!.status()).processors[0], { timeout: 15_000 })
      .toMatchObject({ emitted: 3, deadLetters: 1 })
    await running.stop()
    running = undefined

    const values = lines(path('totals.jsonl')).map((line) => line.value as { user: string; cents: number })
    expect(values.filter(({ user }) => user === 'ann').map(({ cents }) => cents)).toEqual([1250, 100])
    expect(values.filter(({ user }) => user === 'bob').map(({ cents }) => cents)).toEqual([310])

    const letters = join(folder, '.troupe/totals/dead-letters')
    const [letter] = readdirSync(letters).flatMap((name) => lines(join(letters, name)))
    expect(letter).toMatchObject({ stage: 'handler', event: { after: { user: 'bob', amount: 'much' } } })
  })
})

function lines(path: string): Record<string, unknown>[] {
  return readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
}
