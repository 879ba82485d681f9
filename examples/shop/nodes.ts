/**
 * The pipeline on node processes of a cluster, each started as anybody would: `troupe run FILE --cluster … --node n1`. What
 * is killed are whole nodes (SIGKILL); one that was killed is started again under its name.
 *
 * They end with this process where the machine has `setpriv`, and otherwise when it exits in order. What a
 * killed node had counted since the last look is not in the figures; the checker counts at the sink.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { compiled } from '../../chaos/compiled.js'
import { type Logger, type PipelineStatus, realWorld } from '../../src/index.js'
import { askNode } from '../../src/operator/client.js'
import { boundToParent } from '../../src/servers/child.js'
import { merged } from './merged.js'
import type { Runner } from './runner.js'

export interface NodesInit {
  readonly count: number
  /** Of the pipeline, compiled. */
  readonly file: string
  /** NATS servers, separated by commas. */
  readonly cluster: string
  /** The pipeline's own data directory; that of a node lies below it. */
  readonly data: string
  readonly environment: Readonly<Record<string, string>>
  readonly log: Logger
}

interface Node {
  readonly name: string
  child: ChildProcess
  /** We have ended it, or are about to. */
  expected: boolean
  status: PipelineStatus | null
  kills: number
}

const readyMs = 60_000
const askMs = 1_000
const pollMs = 200
/** The pipeline's stopDeadline and what a node may take beyond it. */
const stopMs = 45_000
const keptLines = 5

export async function runOnNodes(init: NodesInit): Promise<Runner> {
  const nodes: Node[] = []
  /** The last word of those that were killed: what they did counts. */
  const departed: PipelineStatus[] = []
  let fail: (error: Error) => void = () => {}
  const failed = new Promise<never>((_, reject) => {
    fail = reject
  })
  failed.catch(() => {})

  const start = (name: string, kills: number): Node => {
    const child = launch(init, name)
    const node: Node = { name, child, expected: false, status: null, kills }
    const said = listen(child, init.log)
    child.once('error', fail)
    child.once('exit', (code, signal) => {
      if (!node.expected) fail(new Error(`node ${name} ended by itself (${signal ?? code}): ${said.join(' | ')}`))
    })
    return node
  }
  const look = async (node: Node) => {
    const { child } = node
    const directory = join(init.data, 'nodes', node.name)
    const status = await askNode(directory, 'status', { world: realWorld, deadlineMs: askMs }).catch(() => null)
    // The socket of the one before may have answered.
    if (status !== null && node.child === child && status.pid === child.pid) node.status = status
  }
  let shown: PipelineStatus | null = null
  const status = async () => {
    await Promise.all(nodes.map(look))
    const live = nodes.flatMap((node) => (node.status === null ? [] : [{ name: node.name, status: node.status }]))
    // Where none is left for a moment, the last that was seen.
    if (live.length > 0) shown = merged(live, departed)
    return shown
  }
  let ending = false
  const abandon = async () => {
    ending = true
    for (const node of nodes) end(node, 'SIGKILL')
    await Promise.all(nodes.map(({ child }) => gone(child)))
  }

  for (let n = 1; n <= init.count; n++) nodes.push(start(`n${n}`, 0))
  try {
    await Promise.race([untilRunning(status), failed])
  } catch (error) {
    await abandon()
    throw error
  }
  return {
    status: async () => (await status())!,
    victims: { name: 'nodes', everyMs: 6_000, peaceAtEndMs: 5_000 },
    kill(random) {
      const up = nodes.filter((node) => node.status !== null)
      if (up.length < nodes.length) return false
      const victim = random.pick(up)
      end(victim, 'SIGKILL')
      departed.push(victim.status!)
      victim.status = null
      void gone(victim.child).then(() => {
        if (!ending) nodes[nodes.indexOf(victim)] = start(victim.name, victim.kills + 1)
      })
      return true
    },
    nodes: () =>
      nodes
        .map(({ name, status, kills }) => {
          const up = status === null ? 'joining' : `up ${Math.round(status.upMs / 1000)} s`
          return `${name} ${up}${kills > 0 ? `, killed ${kills}` : ''}`
        })
        .join('; '),
    failed,
    abandon,
    async stop() {
      ending = true
      // Who is still joining may end as it likes: it holds nothing.
      const working = nodes.filter(({ status }) => status !== null)
      for (const node of nodes) end(node, 'SIGTERM')
      const deadline = setTimeout(() => void abandon(), stopMs)
      await Promise.all(nodes.map(({ child }) => gone(child)))
      clearTimeout(deadline)
      for (const { name, child } of working)
        if (child.exitCode !== 0) throw new Error(`node ${name} did not end in order (${await gone(child)})`)
    },
  }
}

function launch({ file, cluster, environment }: NodesInit, name: string): ChildProcess {
  const cli = compiled(new URL('../../src/cli/main.js', import.meta.url))
  const run = [process.execPath, cli, 'run', file, '--cluster', cluster, '--node', name, '--json']
  const [command, ...args] = [...(boundToParent() ? ['setpriv', '--pdeathsig', 'KILL'] : []), ...run]
  const child = spawn(command!, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...environment } })
  const endWithUs = () => void child.kill('SIGKILL')
  process.once('exit', endWithUs)
  child.once('exit', () => process.off('exit', endWithUs))
  return child
}

/** Errors are told, the last lines kept. */
function listen(child: ChildProcess, log: Logger): readonly string[] {
  const said: string[] = []
  createInterface(child.stderr!).on('line', (line) => {
    said.push(line.slice(0, 500))
    if (said.length > keptLines) said.shift()
    if (/"level":"(error|fatal)"/.test(line)) log.error({}, line.slice(0, 500))
  })
  return said
}

function end(node: Node, signal: NodeJS.Signals): void {
  node.expected = true
  node.child.kill(signal)
}

/** Its exit code; the signal's name where one ended it. */
async function gone(child: ChildProcess): Promise<number | string> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return child.exitCode ?? child.signalCode ?? 'unknown'
}

/** Every source is read, every partition has its owner. */
async function untilRunning(look: () => Promise<PipelineStatus | null>): Promise<void> {
  const until = performance.now() + readyMs
  for (;;) {
    const status = await look()
    const read = status?.sources.every(({ state }) => state === 'streaming' || state === 'blocked')
    if (read && status?.partitions.every(({ state }) => state === 'running')) return
    if (performance.now() > until) throw new Error(`the nodes did not start within ${readyMs / 1000} s`)
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}
