/**
 * `troupe run FILE`: runs a pipeline in the foreground until it is told to stop, fails, or its time is over.
 *
 * SIGTERM and SIGINT drain and stop it within its `stopDeadline`; a second one ends the process at once, as `kill -9` does.
 */
import { hostname } from 'node:os'
import { Command, InvalidArgumentError } from 'commander'
import type { ExitReason } from '../actor/actor.js'
import { runNode } from '../operator/node.js'
import type { PipelineDefinition } from '../pipeline/definition.js'
import { loadPipeline } from '../pipeline/load.js'
import type { ClusterOptions, RunningPipeline } from '../pipeline/run.js'
import { formatDuration, parseDuration } from '../pipeline/scalar.js'
import { TroupeError } from '../world/error.js'
import type { Logger } from '../world/logger.js'
import { realWorld } from '../world/real.js'
import { nameOption, serversOf } from './cluster-access.js'
import { endNow } from './end.js'
import { jsonLogger, type LogLevel, terminalLogger } from './log.js'
import { loggedProgress, type Progress, progressFields, terminalProgress } from './progress.js'

interface RunFlags {
  readonly for?: number
  readonly json?: boolean
  readonly logLevel: LogLevel
  readonly cluster?: string
  readonly node?: string
  readonly provision: boolean
  readonly version: string
}

/** ms beyond the deadline after which a stop that hangs is ended by force. */
const grace = 10_000

/** @param version of the package: nodes tell each other */
export function runCommand(version: string): Command {
  return new Command('run')
    .description('run a pipeline until it is stopped')
    .argument('<file>', 'pipeline.yaml, or a module that default-exports definePipeline({…})')
    .option('--for <duration>', 'stop after this time, as SIGTERM does (20s, 5m)', durationOption)
    .option(
      '--cluster <servers>',
      'run as a node of a cluster, over these NATS servers (nats://a:4222,nats://b:4222); `env`: those that TROUPE_CLUSTER names',
    )
    .option('--node <name>', 'name of this node in the cluster; default the host and the process', nameOption)
    .option('--no-provision', 'create neither stream nor bucket: refuse where they are missing')
    .option('--json', 'log JSON lines, also on a terminal')
    .option('--log-level <level>', 'debug, info, warn or error', levelOption, 'info')
    .action(async (file: string, flags: Omit<RunFlags, 'version'>) => {
      const definition = await loadPipeline(file)
      const output = outputOf({ ...flags, version })
      await runInForeground(definition, { ...flags, version }, output)
    })
}

function durationOption(text: string): number {
  const ms = parseDuration(text)
  if (ms === null || ms < 1 || ms > 2 ** 31 - 1) throw new InvalidArgumentError('A duration such as 500ms, 20s or 5m.')
  return ms
}

function levelOption(text: string): LogLevel {
  if (text === 'debug' || text === 'info' || text === 'warn' || text === 'error') return text
  throw new InvalidArgumentError('One of debug, info, warn, error.')
}

function clusterOf(flags: RunFlags): { readonly cluster?: ClusterOptions } {
  if (flags.cluster === undefined) {
    if (flags.node === undefined) return {}
    throw new TroupeError({
      code: 'usage',
      message: '--node names a node of a cluster, and there is none',
      remedy: 'give --cluster with the NATS servers, or leave --node away',
      exitCode: 2,
    })
  }
  const host = hostname()
    .replace(/[^A-Za-z0-9_-]/g, '-')
    .slice(0, 48)
  const node = flags.node ?? `${host}-${process.pid}`
  return { cluster: { servers: serversOf(flags.cluster), node, version: flags.version, provision: flags.provision } }
}

interface Output {
  readonly log: Logger
  readonly progress: Progress
}

function outputOf(flags: RunFlags): Output {
  const write = (text: string): void => void process.stderr.write(text)
  if (!process.stderr.isTTY || flags.json === true) {
    const log = jsonLogger(flags.logLevel, write)
    return { log, progress: loggedProgress(realWorld, log) }
  }
  const screen = {
    get columns() {
      return process.stderr.columns
    },
    write,
  }
  const progress = terminalProgress(realWorld, screen)
  return { progress, log: terminalLogger(flags.logLevel, progress.line) }
}

async function runInForeground(
  definition: PipelineDefinition,
  flags: RunFlags,
  { log, progress }: Output,
): Promise<void> {
  const stop = stopRequests(definition, log)
  log.info({ pipeline: definition.name, pid: process.pid, data: definition.dataDirectory }, 'starting')
  const running = await runNode(definition, { world: realWorld, log, ...clusterOf(flags) })
  log.info({ pipeline: definition.name, partitions: definition.partitions, threads: definition.threads }, 'running')
  progress.show(() => running.status())
  if (flags.for !== undefined) realWorld.setTimer(flags.for, () => stop.request(`--for ${formatDuration(flags.for!)}`))
  const first = await Promise.race([
    stop.requested.then((): null => null),
    running.ended.then((reason): ExitReason => reason),
  ])
  const last = await running.status().catch(() => null)
  if (first === null) await drain(running, definition, stop.reason(), log)
  progress.end()
  const figures = last === null ? {} : progressFields(last, null)
  log.info({ ...figures, pipeline: definition.name, state: 'stopped' }, 'stopped')
  if (first !== null) failOn(first)
}

async function drain(
  running: RunningPipeline,
  definition: PipelineDefinition,
  reason: string,
  log: Logger,
): Promise<void> {
  log.info({ pipeline: definition.name, reason, deadlineMs: definition.stopDeadline }, 'draining')
  await running.stop(definition.stopDeadline)
  const reasonOfEnd = await running.ended
  failOn(reasonOfEnd)
}

function failOn(reason: ExitReason): void {
  switch (reason.kind) {
    case 'normal':
    case 'shutdown':
      return
    case 'error':
      throw reason.error
    case 'killed':
      throw endedEarly('pipeline-killed', reason.detail)
    case 'lost':
      throw endedEarly('pipeline-lost', reason.detail)
  }
}

function endedEarly(code: string, detail: string): TroupeError {
  return new TroupeError({
    code,
    message: `the pipeline ended: ${detail}`,
    remedy: 'start it again: it goes on from its last checkpoint',
  })
}

/** The first request is answered by draining; a second signal, or a drain that hangs, ends the process. */
function stopRequests(definition: PipelineDefinition, log: Logger) {
  let reason: string | null = null
  let resolve: () => void = () => {}
  const requested = new Promise<void>((done) => {
    resolve = done
  })
  const request = (why: string): void => {
    if (reason !== null) return
    reason = why
    realWorld.setTimer(
      definition.stopDeadline + grace,
      () => {
        log.error({ deadlineMs: definition.stopDeadline }, 'the stop did not end within its deadline')
        endNow()
      },
      { background: true },
    )
    resolve()
  }
  const onSignal = (signal: NodeJS.Signals): void => {
    if (reason !== null) {
      log.warn({ signal }, 'stopping now: what was not checkpointed comes again')
      endNow()
    }
    request(signal)
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  return { request, requested, reason: () => reason ?? '' }
}
