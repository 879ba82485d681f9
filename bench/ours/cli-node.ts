/** A node as anybody would start it: `troupe run FILE --cluster … --node NAME`, a process of its own that ends with this one. */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { boundToParent } from '../../src/servers/child.js'
import type { TakeoverPlace } from './takeover-pipeline.js'

export interface CliNode {
  readonly name: string
  readonly pid: number
  /** Resolves when it says `running`; rejects where it ends before. */
  readonly runs: Promise<void>
  /** Exit code or signal. */
  readonly ended: Promise<number | string>
  signal(name: NodeJS.Signals): void
  /** The end of what it has said. */
  said(): string
}

const runsMs = 60_000

export function startCliNode(name: string, servers: string, place: TakeoverPlace): CliNode {
  const cli = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
  const file = fileURLToPath(new URL('./takeover-pipeline.js', import.meta.url))
  const run = [process.execPath, cli, 'run', file, '--cluster', servers, '--node', name, '--json']
  // Straight to the node where nothing binds it: signals must reach it, not a shell.
  const [command, ...args] = [...(boundToParent() ? ['setpriv', '--pdeathsig', 'KILL'] : []), ...run]
  const child = spawn(command!, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, TROUPE_BENCH_TAKEOVER: JSON.stringify(place), TROUPE_BENCH_NODE: name },
  })
  const endWithUs = () => void child.kill('SIGKILL')
  process.once('exit', endWithUs)
  let said = ''
  let running = () => {}
  const runs = new Promise<void>((resolve, reject) => {
    running = resolve
    const late = setTimeout(() => reject(new Error(`node ${name} does not run: ${said.slice(-1_500)}`)), runsMs)
    child.once('exit', () => reject(new Error(`node ${name} ended before it ran: ${said.slice(-1_500)}`)))
    late.unref()
  })
  runs.catch(() => {})
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-8_000)
    if (said.includes('"msg":"running"')) running()
  })
  return {
    name,
    pid: child.pid!,
    runs,
    ended: endOf(child, endWithUs),
    signal: (signal) => void child.kill(signal),
    said: () => said,
  }
}

function endOf(child: ChildProcess, endWithUs: () => void): Promise<number | string> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => {
      process.off('exit', endWithUs)
      resolve(code ?? signal ?? 'unknown')
    })
    child.once('error', (error) => resolve(error.message))
  })
}
