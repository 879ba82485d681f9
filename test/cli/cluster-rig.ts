// biome-ignore-all lint/suspicious/noTemplateCurlyInString: interpolation is used
/** Two real nodes on one NATS and one Redis, the command line, and the status as a condition to wait for. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { vi } from 'vitest'
import { type ClusterAccess, withCluster } from '../../src/operator/cluster/connect.js'
import { type ClusterStatus, clusterStatus } from '../../src/operator/cluster/status.js'
import { loadPipeline } from '../../src/pipeline/load.js'
import { startRedis } from '../../src/servers/index.js'
import { startNats } from '../../src/servers/nats.js'
import type { Logger } from '../../src/world/logger.js'
import { realWorld } from '../../src/world/real.js'
import { captured, type Said } from './captured.js'

const main = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))
const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} }
/** Under load everything takes longer; what does not come at all is found out by then. */
const patience = 60_000

export interface Rig {
  readonly stream: string
  readonly client: Redis
  readonly url: string
  /** A pipeline of this name with these processors. */
  file(name: string, processors: Readonly<Record<string, string>>): string
  node(name: string, file: string): Promise<void>
  /** By SIGTERM, in order; or `SIGKILL`. */
  end(name: string, signal?: NodeJS.Signals): Promise<void>
  /** In a process of its own. */
  spawned(...args: string[]): Promise<Said>
  /** The same here, which spares two hundred starts of Node; one after the other. */
  troupe(...args: string[]): Promise<Said>
  until(what: string, holds: (status: ClusterStatus) => boolean): Promise<ClusterStatus>
  /** The pipeline's stream and bucket, of the first file. */
  access(): ClusterAccess
  /** Adds entries, and gives their ids. */
  add(count: number): Promise<string[]>
  /** Numbers of the entries that a processor has written, in order. */
  written(processor: string): Promise<number[]>
  /** How often a node has logged this. */
  logged(text: string): number
  stop(): Promise<void>
}

export async function startRig(): Promise<Rig> {
  const stream = `troupe-cluster-cli-${process.pid}`
  const [redis, nats] = await Promise.all([startRedis(), startNats()])
  const client = new Redis(redis.url)
  const folder = mkdtempSync(join(tmpdir(), 'troupe-cluster-cli-'))
  const environment = { PATH: process.env.PATH, HOME: process.env.HOME, REDIS_URL: redis.url, TROUPE_CLUSTER: nats.url }
  vi.stubEnv('REDIS_URL', redis.url)
  vi.stubEnv('TROUPE_CLUSTER', nats.url)
  const nodes = new Map<string, ChildProcess>()
  let first: string | undefined
  let access: ClusterAccess | undefined
  let release: () => void = () => {}
  let closed: Promise<void> = Promise.resolve()
  let added = 0
  let last: Promise<unknown> = Promise.resolve()

  async function look(): Promise<ClusterAccess> {
    if (access !== undefined) return access
    const definition = await loadPipeline(first!)
    return await new Promise((resolve, reject) => {
      closed = withCluster(definition, nats.url, { world: realWorld, log: silent }, async (opened) => {
        access = opened
        resolve(opened)
        await new Promise<void>((done) => {
          release = done
        })
      }).catch(reject)
    })
  }

  const said = (): string =>
    [...nodes.keys()]
      .map((name) => `${name}: ${readFileSync(join(folder, `${name}.log`), 'utf8').slice(-3_000)}`)
      .join('\n')

  return {
    stream,
    client,
    url: nats.url,
    file(name, processors) {
      const path = join(folder, `${name}.yaml`)
      first ??= path
      const lines = Object.entries(processors).map(
        ([processor, sink]) =>
          `  ${processor}: { sink: { kind: redis, url: "\${REDIS_URL}", write: stream, name: ${stream}-${processor}${sink} } }`,
      )
      writeFileSync(
        path,
        `name: clicks-${process.pid}
partitions: 2
threads: 1
stopDeadline: 5s
checkpointInterval: 50ms
data: ./data
cluster: { lease: 1s, maxBytes: 64MiB, durability: synced, retain: 1h }
sources:
  clicks: { kind: redis-streams, url: "\${REDIS_URL}", streams: ${stream}, keyField: key }
processors:
${lines.join('\n')}
`,
      )
      return path
    },
    async node(name, file) {
      const log = openSync(join(folder, `${name}.log`), 'a')
      const args = [main, 'run', file, '--cluster', 'env', '--node', name, '--json']
      nodes.set(name, spawn(process.execPath, args, { env: environment, stdio: ['ignore', 'ignore', log] }))
      closeSync(log)
    },
    async end(name, signal = 'SIGTERM') {
      const node = nodes.get(name)
      nodes.delete(name)
      if (node === undefined || node.exitCode !== null || node.signalCode !== null) return
      const exited = once(node, 'exit')
      node.kill(signal)
      await exited
    },
    troupe: (...args) => {
      const said = last.then(() => captured(args))
      last = said.catch(() => {})
      return said
    },
    spawned: (...args) =>
      new Promise((resolve) => {
        execFile(process.execPath, [main, ...args], { env: environment }, (error, out, err) =>
          resolve({ code: error === null ? 0 : Number(error.code), out, err }),
        )
      }),
    async until(what, holds) {
      let seen: ClusterStatus | undefined
      const deadline = performance.now() + patience
      while (performance.now() < deadline) {
        // Before the first node has made them there is neither stream nor bucket; later a look may come too late under load.
        seen = await look()
          .then(clusterStatus)
          .catch(() => undefined)
        if (seen !== undefined && holds(seen)) return seen
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      throw new Error(`not within ${patience} ms: ${what}: ${JSON.stringify(seen, null, 1)}\n${said()}`)
    },
    access: () => access!,
    logged: (text) =>
      ['n1', 'n2'].reduce(
        (sum, name) => sum + readFileSync(join(folder, `${name}.log`), 'utf8').split(text).length - 1,
        0,
      ),
    async add(count) {
      const ids: string[] = []
      for (let entry = 0; entry < count; entry++)
        ids.push((await client.xadd(stream, '*', 'key', `k${added % 10}`, 'number', String(added++)))!)
      return ids
    },
    async written(processor) {
      const entries = await client.xrange(`${stream}-${processor}`, '-', '+')
      return entries.map(([, fields]) => Number(fields[fields.indexOf('number') + 1]))
    },
    async stop() {
      release()
      await closed
      for (const node of nodes.values()) {
        if (node.exitCode !== null || node.signalCode !== null) continue
        const exited = once(node, 'exit')
        node.kill('SIGKILL')
        await exited
      }
      client.disconnect()
      await Promise.all([redis.stop(), nats.stop()])
      rmSync(folder, { recursive: true, force: true })
      vi.unstubAllEnvs()
    },
  }
}
