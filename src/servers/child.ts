/**
 * One server process: spawned as itself (so that pid, signals and exit are ours), in a session of its own (so that
 * Ctrl-C in a terminal reaches us and not it), ended with us where the machine has util-linux's `setpriv`.
 *
 * The parent-death signal follows the *thread* that spawned: start servers from a main thread. Where there is no
 * `setpriv`, an exit hook ends what is left, and after a SIGKILL of ours the next start reaps.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import { TroupeError } from '../world/error.js'
import { sleep } from '../world/sleep.js'
import type { World } from '../world/world.js'
import { descendantsOf, identify, isAlive, type ProcessIdentity, signalProcess } from './processes.js'
import { environmentOf, type Program } from './program.js'

export interface Launch {
  readonly program: Program
  readonly args: readonly string[]
  readonly directory: string
  readonly logFile: string
  /** Beside our own environment. */
  readonly environment?: Readonly<Record<string, string>>
  /** What ends it cleanly enough when its parent dies: PostgreSQL gives its shared memory back on SIGQUIT. */
  readonly deathSignal: 'SIGKILL' | 'SIGQUIT'
}

export interface ServerProcess {
  readonly identity: ProcessIdentity
  readonly alive: boolean
  signalAll(signal: NodeJS.Signals): void
  /** Signals the process (SIGKILL: its children too) and waits until all of them are gone; after `deadline` ms it is SIGKILL for all. */
  end(signal: NodeJS.Signals, deadline: number): Promise<void>
}

const living = new Set<ChildProcess>()
let hooked = false

export function launch(
  world: World,
  { program, args, directory, logFile, environment, deathSignal }: Launch,
): ServerProcess {
  const log = openSync(logFile, 'a', 0o600)
  const bind = boundToParent() ? ['setpriv', '--pdeathsig', deathSignal.slice(3)] : []
  const [command, ...rest] = [...bind, program.binary, ...args]
  const child = spawn(command!, rest, {
    cwd: directory,
    detached: true,
    stdio: ['ignore', log, log],
    env: { ...environmentOf(program.libraries), ...environment },
    ...(program.account ?? {}),
  })
  closeSync(log)
  child.on('error', () => {}) // A failed spawn has no pid; that is looked at below.
  const identity = child.pid === undefined ? undefined : identify(child.pid)
  if (identity === undefined)
    throw new TroupeError({
      code: 'server-not-started',
      message: `${program.binary} could not be started`,
      place: directory,
      remedy: `see ${logFile}`,
    })
  endWithUs(child)
  const alive = () => child.exitCode === null && child.signalCode === null
  return {
    identity,
    get alive() {
      return alive()
    },
    signalAll(signal) {
      // The parent first: a stopped parent makes no more children.
      signalProcess(identity.pid, signal)
      for (const pid of descendantsOf(identity.pid)) signalProcess(pid, signal)
    },
    async end(signal, deadline) {
      if (!alive()) return
      const family = [identity.pid, ...descendantsOf(identity.pid)]
        .map(identify)
        .filter((member) => member !== undefined)
      const send = (sent: NodeJS.Signals, members: readonly ProcessIdentity[]) => {
        for (const member of members) if (isAlive(member)) signalProcess(member.pid, sent)
      }
      if (signal === 'SIGKILL') send('SIGKILL', family)
      else send(signal, [identity])
      const gone = () => !alive() && !family.some(isAlive)
      if (await until(world, gone, deadline)) return
      send('SIGKILL', family)
      if (await until(world, gone, 10_000)) return
      throw new TroupeError({
        code: 'server-not-ended',
        message: `${program.binary} (pid ${identity.pid}) is still there after SIGKILL`,
        place: directory,
        remedy: 'see whether its disk still answers',
      })
    },
  }
}

/** True as soon as `condition` holds, false after `deadline` milliseconds. */
export async function until(
  world: World,
  condition: () => boolean | Promise<boolean>,
  deadline: number,
): Promise<boolean> {
  const end = world.monotonic() + deadline
  for (let pause = 2; ; pause = Math.min(pause * 2, 25)) {
    if (await condition()) return true
    if (world.monotonic() >= end) return false
    await sleep(world, pause)
  }
}

/** The last lines of a log, for the message of an error. */
export function tailOf(logFile: string): string {
  if (!existsSync(logFile)) return ''
  return readFileSync(logFile, 'utf8').trim().split('\n').slice(-4).join(' | ').slice(-600)
}

let setpriv: boolean | undefined

/** Whether `setpriv --pdeathsig` is there, which ends a child with the thread that spawned it. */
export function boundToParent(): boolean {
  setpriv ??= spawnSync('setpriv', ['--pdeathsig', 'KILL', 'true'], { stdio: 'ignore' }).status === 0
  return setpriv
}

function endWithUs(child: ChildProcess): void {
  living.add(child)
  child.once('exit', () => living.delete(child))
  child.unref()
  if (hooked) return
  hooked = true
  process.on('exit', () => {
    for (const left of living)
      if (left.pid !== undefined)
        for (const pid of [left.pid, ...descendantsOf(left.pid)]) signalProcess(pid, 'SIGKILL')
  })
}
