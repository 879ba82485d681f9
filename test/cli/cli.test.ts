// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are what is tested
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Ajv } from 'ajv'
import { describe, expect, it, onTestFinished } from 'vitest'
import { claimDataDirectory } from '../../src/operator/claim.js'
import { realWorld } from '../../src/world/real.js'
import { scratch, shop } from '../pipeline/scratch.js'

const main = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))
const run = promisify(execFile)

interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}

async function troupe(
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<Ended> {
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, ...options.env }
  try {
    const { stdout, stderr } = await run(process.execPath, [main, ...args], { cwd: options.cwd, env, timeout: 25_000 })
    return { code: 0, out: stdout, err: stderr }
  } catch (error) {
    const failed = error as { code: number; stdout: string; stderr: string }
    return { code: failed.code, out: failed.stdout, err: failed.stderr }
  }
}

describe('troupe validate', () => {
  it('exits 0 for a valid pipeline, and says what it holds', async () => {
    const path = scratch({ 'pipeline.yaml': shop })
    const { code, out, err } = await troupe(['validate', path('pipeline.yaml')])
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toContain('pipeline shop, sources 2, processors 2, partitions 16')
  })

  it('exits 2 with every error on a line of its own, and never a stack', async () => {
    const path = scratch({
      'pipeline.yaml': shop
        .replace('order:', 'ordr:')
        .replace('postgres://app:hunter2@localhost/shop', '${DATABASE_URL}'),
    })
    const { code, out, err } = await troupe(['validate', 'pipeline.yaml'], { cwd: path('.') })
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err.split('\n').filter((line) => line.startsWith('error['))).toEqual([
      'error[unset-variable] pipeline.yaml:5:10: `sources.db.url` needs the environment variable DATABASE_URL, which is not set',
      'error[unknown-key] pipeline.yaml:14:5: `processors.orders.ordr` is no key that exists here; did you mean order?',
    ])
    expect(err).toContain('  remedy: set DATABASE_URL')
    expect(err).not.toMatch(/^\s+at /m)
  })

  it('exits 2 for a handler that throws as it loads; with --verbose its stack is shown', async () => {
    const path = scratch({
      'pipeline.yaml': shop.replace('order: key', 'handler: ./handler.ts'),
      'handler.ts':
        "import { record } from 'troupe'\nconst n: number = 1\nthrow new Error(`no luck ${typeof record} ${n}`)\n",
    })
    const plain = await troupe(['validate', path('pipeline.yaml')])
    expect(plain.code).toBe(2)
    expect(plain.err).toMatch(
      /^error\[handler-load\] .*handler\.ts:3:\d+: the module could not be loaded: no luck function 1\n {2}remedy: /,
    )
    expect(plain.err).not.toMatch(/^\s+at /m)
    expect((await troupe(['validate', path('pipeline.yaml'), '--verbose'])).err).toMatch(/^\s+at /m)
  })

  it('--schema prints the JSON Schema', async () => {
    const { code, out } = await troupe(['validate', '--schema'])
    expect(code).toBe(0)
    expect(new Ajv({ strict: false }).compile(JSON.parse(out))({ name: 'x' })).toBe(false)
  })
})

describe('troupe explain', () => {
  it('prints guarantees and connections as text and as JSON, without passwords', async () => {
    const path = scratch({ 'pipeline.yaml': shop })
    const text = await troupe(['explain', path('pipeline.yaml')])
    expect(text).toMatchObject({ code: 0, err: '' })
    expect(text.out).toContain('guarantee  at-least-once')
    const json = await troupe(['explain', path('pipeline.yaml'), '--json'])
    expect(JSON.parse(json.out)).toMatchObject({ pipeline: 'shop', paths: [{ guarantee: 'at-least-once' }, {}] })
    expect(text.out + json.out).not.toContain('hunter2')
  })
})

describe('troupe status and tree', () => {
  it('read a running node through its socket', async () => {
    const path = scratch({ 'pipeline.yaml': `${shop}data: ./data\n` })
    const claim = await claimDataDirectory(path('data'), {
      world: realWorld,
      log: { debug() {}, info() {}, warn() {}, error() {} },
    })
    onTestFinished(() => claim.release())
    claim.serve({
      status: async () => ({
        pipeline: 'shop',
        state: 'running',
        pid: 42,
        startedAt: '2026-01-01T00:00:00.000Z',
        upMs: 61_000,
        sources: [
          {
            name: 'db',
            kind: 'postgres',
            state: 'streaming',
            epoch: '1',
            eventsIn: 1_234,
            bytesIn: 1,
            flushes: 1,
            positionRead: '0/2',
            positionConfirmed: '0/1',
            lagBytes: 2_048,
            lagEntries: null,
            lagMs: 7,
            restarts: 1,
            lossWindows: 0,
            detail: {},
          },
        ],
        processors: [
          {
            name: 'orders',
            set: 'key',
            done: 1_200,
            skipped: 0,
            emitted: 1_200,
            retries: 3,
            deadLetters: 0,
            restarts: 0,
            inFlight: 34,
            retrying: 0,
            latencyMs: 5,
            stopped: [],
          },
        ],
        partitions: [
          {
            set: 'key',
            partition: 0,
            thread: 'owners-0',
            state: 'running',
            outstandingBytes: 0,
            outstandingFrames: 0,
            events: 1_200,
            restarts: 0,
          },
        ],
        log: { outstandingBytes: 1_048_576, limitBytes: 67_108_864, appends: 1, checkpoints: 1, checkpointAgeMs: 300 },
        actors: { threads: ['owners-0'], restarts: 1, deadLetters: 0, messages: 9 },
        memory: { rssBytes: 104_857_600, heapUsedBytes: 1, externalBytes: 1 },
        lastError: null,
      }),
      tree: async () => [
        {
          path: '/node',
          id: 'node',
          kind: 'supervisor',
          state: 'running',
          thread: 'main',
          mailbox: 0,
          restarts: 0,
          upMs: 1,
          children: [
            {
              path: '/node/log',
              id: 'log',
              kind: 'actor',
              state: 'running',
              thread: 'main',
              mailbox: 2,
              restarts: 1,
              upMs: 1,
              lastError: 'gone',
              children: [],
            },
          ],
        },
      ],
    })
    const status = await troupe(['status', path('pipeline.yaml')])
    expect(status).toMatchObject({ code: 0, err: '' })
    expect(status.out).toContain('shop  running  up 1m 01s  pid 42  memory 100 MiB')
    expect(status.out).toMatch(/source db +streaming +1,234 in +lag 2 KiB, 7ms +confirmed 0\/1 +1 restarts/)
    expect(status.out).toMatch(/processor orders +running +1,200 done +34 in flight +latency 5ms +3 retries/)
    expect(status.out).toContain('unfinished 1 MiB of 64 MiB')
    const json = await troupe(['status', '--data', path('data'), '--json'])
    expect(JSON.parse(json.out)).toMatchObject({ pipeline: 'shop', pid: 42 })
    const tree = await troupe(['tree', '--data', path('data')])
    expect(tree.out).toMatch(/node\/ +running +main +0 +0/)
    expect(tree.out).toMatch(/└─ log +running +main +2 +1 .*last error: gone/)
  })

  it('exit 1 where nothing runs, and 2 where it is not said which', async () => {
    const path = scratch()
    expect(await troupe(['status', '--data', path('none')])).toMatchObject({
      code: 1,
      err: expect.stringContaining('error[not-running]'),
    })
    expect(await troupe(['tree'], { cwd: path('.') })).toMatchObject({
      code: 2,
      err: expect.stringContaining('--data'),
    })
  })
})

describe('troupe', () => {
  it.each([
    [['--help'], 0, 'out', 'Usage: troupe'],
    [['--version'], 0, 'out', '0.'],
    [['runn'], 2, 'err', 'Did you mean run?'],
    [['run'], 2, 'err', "error[usage]: missing required argument 'file'"],
    [['run', 'x.yaml', '--fro', '20s'], 2, 'err', 'Did you mean --for?'],
    [['run', 'x.yaml', '--for', 'soon'], 2, 'err', 'A duration such as'],
    [['run', 'nowhere.yaml'], 2, 'err', 'error[no-such-file] nowhere.yaml'],
    [['validate'], 2, 'err', 'error[usage]'],
    [['top'], 2, 'err', 'error[not-in-this-version]'],
    [['why', 'key.3', 'x.yaml'], 2, 'err', 'error[usage]: this command works on a cluster'],
    [['servers', 'bad'], 2, 'err', 'Allowed choices are start, find, list, reap'],
  ] as const)('%j exits %i', async (args, code, stream, text) => {
    const ended = await troupe(args)
    expect(ended[stream]).toContain(text)
    expect(ended.code).toBe(code)
  })
})
