/**
 * The life of a server of ours: reserve a port, make its directory, launch, wait until it answers; then kill, pause,
 * resume, restart and stop, each of which ends in a known state.
 *
 * What differs between the three programs is a `Recipe`. A port that somebody took between our look and the server's
 * start is answered with another port, unless the caller named it.
 */
import { chownSync, existsSync, mkdirSync, mkdtempSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { TroupeError } from '../world/error.js'
import { realWorld } from '../world/real.js'
import type { World } from '../world/world.js'
import { type Launch, launch, type ServerProcess, tailOf, until } from './child.js'
import { discardDirectory, runDirectory } from './places.js'
import type { Program } from './program.js'
import { type Reservation, reapOrphans, refuseSharedDirectory, reservePort } from './record.js'
import { resolveProgram } from './resolve.js'
import type { Server, ServerKind, Settings, StartOptions } from './server.js'

/** What is prepared before the first start and known at every start. */
export interface Site {
  readonly world: World
  readonly program: Program
  readonly directory: string
  readonly port: number
}

export interface Recipe<Prepared> {
  readonly kind: ServerKind
  readonly deathSignal: Launch['deathSignal']
  /** How it ends when its data must stay, and when they are thrown away. */
  readonly stopSignal: { readonly kept: NodeJS.Signals; readonly discarded: NodeJS.Signals }
  /** Makes the data directory, if it is not there yet. */
  prepare(site: Site): Promise<Prepared>
  /** Writes configuration and gives the arguments. */
  arguments(site: Site, prepared: Prepared, settings: Settings): readonly string[]
  /** Variables that it starts with, beside ours. */
  readonly environment?: (site: Site) => Readonly<Record<string, string>>
  /** Whether it answers a real request; throws or gives false while it does not. */
  answers(site: Site, prepared: Prepared, settings: Settings): Promise<boolean>
}

export interface Instance<Prepared> {
  readonly site: Site
  readonly prepared: Prepared
  readonly pid: number
  readonly running: boolean
  readonly settings: Settings
  kill: Server['kill']
  pause: Server['pause']
  resume: Server['resume']
  restart: Server['restart']
  stop: Server['stop']
}

const portRetries = 5
const defaultDeadline = 30_000
const stopDeadline = 15_000
let reaped = false

export async function startInstance<Prepared>(
  recipe: Recipe<Prepared>,
  options: StartOptions,
): Promise<Instance<Prepared>> {
  const world = options.world ?? realWorld
  if (!reaped) {
    reaped = true
    reapOrphans()
  }
  const { major, report } = options
  const program =
    options.program ??
    (await resolveProgram(recipe.kind, {
      ...(major === undefined ? {} : { major }),
      ...(report === undefined ? {} : { report }),
    }))
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce(world, recipe, program, options)
    } catch (error) {
      if (!isWorthAnother(error, options) || attempt === portRetries) throw error
    }
  }
}

/** Another port, or another temporary directory, may do where this one did not. */
function isWorthAnother(error: unknown, { port, directory }: StartOptions): boolean {
  if (!(error instanceof TroupeError)) return false
  if (error.code === 'server-port-taken') return port === undefined
  return error.code === 'server-not-prepared' && directory === undefined
}

async function startOnce<Prepared>(
  world: World,
  recipe: Recipe<Prepared>,
  program: Program,
  options: StartOptions,
): Promise<Instance<Prepared>> {
  const temporary = options.directory === undefined
  const directory = openDirectory(recipe.kind, program, options.directory)
  let reservation: Reservation | undefined
  const discard = () => {
    reservation?.release()
    if (temporary) discardDirectory(directory)
  }
  try {
    reservation = await reservePort(world, options.port, { kind: recipe.kind, directory, temporary })
    const site: Site = { world, program, directory, port: reservation.port }
    const prepared = await recipe.prepare(site)
    const instance = makeInstance(recipe, site, prepared, reservation, options, discard)
    await instance.restart()
    return instance
  } catch (error) {
    discard()
    throw error
  }
}

function makeInstance<Prepared>(
  recipe: Recipe<Prepared>,
  site: Site,
  prepared: Prepared,
  reservation: Reservation,
  options: StartOptions,
  discard: () => void,
): Instance<Prepared> {
  const { world, program, directory } = site
  const logFile = join(directory, 'server.log')
  let settings: Settings = options.settings ?? {}
  let server: ServerProcess | undefined
  let stopped = false

  const end = async (signal: NodeJS.Signals) => {
    if (server === undefined) return
    // A stopped process would hear any other signal only when it is woken.
    if (signal !== 'SIGKILL') server.signalAll('SIGCONT')
    await server.end(signal, stopDeadline)
    reservation.write(null)
  }

  const start = async () => {
    const args = recipe.arguments(site, prepared, settings)
    const environment = recipe.environment?.(site) ?? {}
    const started = launch(world, { program, args, directory, logFile, environment, deathSignal: recipe.deathSignal })
    server = started
    reservation.write({ ...started.identity, program: basename(program.binary) })
    const deadline = options.deadline ?? defaultDeadline
    const ready = await until(
      world,
      async () => !started.alive || (await answers(recipe, site, prepared, settings)),
      deadline,
    )
    if (ready && started.alive) return
    const tail = tailOf(logFile)
    const reason = started.alive ? `does not answer after ${deadline} ms` : 'ended at its start'
    await end('SIGKILL')
    throw new TroupeError({
      code: /address already in use/i.test(tail) ? 'server-port-taken' : 'server-not-ready',
      message: `${program.kind} ${program.version} on port ${site.port} ${reason}: ${tail}`,
      place: directory,
      remedy: 'the lines above are the end of its log; correct the settings or free what it misses',
    })
  }

  return {
    site,
    prepared,
    get pid() {
      return server!.identity.pid
    },
    get running() {
      return server?.alive ?? false
    },
    get settings() {
      return settings
    },
    async kill(signal = 'SIGKILL') {
      await end(signal)
    },
    pause() {
      server?.signalAll('SIGSTOP')
    },
    resume() {
      server?.signalAll('SIGCONT')
    },
    async restart(changes) {
      if (stopped)
        throw new TroupeError({
          code: 'server-stopped',
          message: `the ${program.kind} server on port ${site.port} was stopped for good`,
          place: directory,
          remedy: 'start another one; kill() keeps data and port, stop() does not',
        })
      settings = { ...settings, ...changes }
      await end(recipe.stopSignal.kept)
      await start()
    },
    async stop() {
      if (stopped) return
      stopped = true
      await end(options.directory === undefined ? recipe.stopSignal.discarded : recipe.stopSignal.kept)
      discard()
    },
  }
}

async function answers<Prepared>(
  recipe: Recipe<Prepared>,
  site: Site,
  prepared: Prepared,
  settings: Settings,
): Promise<boolean> {
  try {
    return await recipe.answers(site, prepared, settings)
  } catch {
    return false // Not yet; the deadline decides, and the error then shows the server's own log.
  }
}

function openDirectory(kind: ServerKind, program: Program, named: string | undefined): string {
  const directory = named === undefined ? mkdtempSync(join(runDirectory(), `${kind}-`)) : resolve(named)
  if (named !== undefined) refuseSharedDirectory(directory)
  if (!existsSync(directory)) mkdirSync(directory, { recursive: true, mode: 0o700 })
  if (program.account !== undefined) chownSync(directory, program.account.uid, program.account.gid)
  return directory
}
