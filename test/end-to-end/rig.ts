/** What the end-to-end tests share: two real servers, pipelines over them, and waiting for conditions. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import pg from 'pg'
import { definePipeline } from '../../src/pipeline/define.js'
import type { PipelineDefinition } from '../../src/pipeline/definition.js'
import { resolvePipeline } from '../../src/pipeline/resolve.js'
import { type RunningPipeline, runPipeline } from '../../src/pipeline/run.js'
import type { PipelineConfig } from '../../src/pipeline/schema.js'
import { type PostgresServer, type RedisServer, startPostgres, startRedis } from '../../src/servers/index.js'
import type { Logger } from '../../src/world/logger.js'
import { realWorld } from '../../src/world/real.js'

export interface Rig {
  readonly postgres: PostgresServer
  readonly redis: RedisServer
  readonly commands: Redis
  /** A new database with its client. */
  database(name: string): Promise<{ readonly url: string; readonly client: pg.Client }>
  /** A definition with its own data directory. */
  define(config: PipelineConfig): PipelineDefinition
  run(definition: PipelineDefinition, options?: { readonly flushDelay?: number }): Promise<RunningPipeline>
  stop(): Promise<void>
}

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} }

export async function startRig(): Promise<Rig> {
  const [postgres, redis] = await Promise.all([startPostgres(), startRedis()])
  const commands = new Redis(redis.url, { maxRetriesPerRequest: null })
  commands.on('error', () => {})
  const clients: pg.Client[] = []
  const running = new Set<RunningPipeline>()
  const folder = mkdtempSync(join(tmpdir(), 'troupe-e2e-'))
  let made = 0
  return {
    postgres,
    redis,
    commands,
    async database(name) {
      const url = await postgres.createDatabase(name)
      const client = new pg.Client(url)
      client.on('error', () => {})
      await client.connect()
      clients.push(client)
      return { url, client }
    },
    define: (config) => resolvePipeline(definePipeline({ data: join(folder, String(++made)), ...config })),
    async run(definition, options = {}) {
      const pipeline = await runPipeline(definition, {
        world: realWorld,
        log: quiet,
        ...(options.flushDelay === undefined ? {} : { chaos: { flushDelay: options.flushDelay } }),
      })
      running.add(pipeline)
      return pipeline
    },
    async stop() {
      await Promise.allSettled([...running].map((pipeline) => pipeline.stop(2_000)))
      await Promise.allSettled(clients.map((client) => client.end()))
      commands.disconnect()
      await Promise.allSettled([postgres.stop(), redis.stop()])
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Waits for a condition; fails with `what` after `deadlineMs`. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  deadlineMs = 20_000,
): Promise<void> {
  const deadline = realWorld.monotonic() + deadlineMs
  for (;;) {
    if (await condition()) return
    if (realWorld.monotonic() > deadline) throw new Error(`not within ${deadlineMs} ms: ${what}`)
    await new Promise<void>((resolve) => realWorld.setTimer(20, resolve))
  }
}
