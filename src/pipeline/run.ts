/**
 * Runs a pipeline in this process: checks everything that can be checked before anything is started, starts the
 * supervision tree, and says what it is doing until it is stopped.
 */
import { mkdirSync } from 'node:fs'
import type { ChildSpec, ExitReason, TreeNode } from '../actor/actor.js'
import type { NodeOptions } from '../actor/node/link.js'
import { createSystem } from '../actor/system.js'
import { messageOf, TroupeError } from '../world/error.js'
import type { Logger } from '../world/logger.js'
import type { World } from '../world/world.js'
import type { PipelineDefinition } from './definition.js'
import { nodeSpec, partitionSets, pathsOf } from './graph.js'
import { preflightPipeline } from './preflight.js'
import { createStatusKeeper } from './status.js'
import type { PipelineStatus } from './status-shape.js'
import type { TerminatorMessage } from './terminator.js'

export interface RunOptions {
  readonly world: World
  readonly log: Logger
  /** Heap of each worker thread, MiB; default 256. */
  readonly threadHeapMb?: number
  /** Run as a node of a cluster; without it, on this machine alone. */
  readonly cluster?: ClusterOptions
  /** For chaos tests only. */
  readonly chaos?: {
    /** ms that every checkpoint flush is late. */
    readonly flushDelay?: number
    /** Faults planted on purpose in the membership of a node (control-port.ts). */
    readonly planted?: readonly string[]
  }
}

export interface ClusterOptions {
  /** NATS servers, as `nats://user:password@host:port`, separated by commas. */
  readonly servers: string
  /** Name of this node, `[A-Za-z0-9_-]{1,64}`, unique in the cluster. */
  readonly node: string
  /** Version of the package. */
  readonly version: string
  /** Create the stream and the bucket where they are missing; default true. */
  readonly provision?: boolean
}

export interface RunningPipeline {
  status(): Promise<PipelineStatus>
  /** The live supervision tree, across threads. */
  tree(): Promise<readonly TreeNode[]>
  /** Drains front to back, then stops everything in reverse order; bounded by `deadlineMs`, default the pipeline's `stopDeadline`. */
  stop(deadlineMs?: number): Promise<void>
  /** Resolves when the pipeline has ended for good: stopped, or given up with an error. */
  readonly ended: Promise<ExitReason>
  /** Names of the live worker threads. */
  threads(): readonly string[]
  /** For chaos: ends a worker thread as a crash would. */
  killThread(name: string): boolean
}

/** ms that the ordered stop may take beyond the draining. */
const stopMargin = 5_000

/** ms that the terminator may take to hear of its deadline. */
const answerWithin = 1_000

/** ms between two samples of the counters: what a crash may take from them. */
const sampleEvery = 1_000

/**
 * @throws TroupeError from the preflight of a source, a sink or a handler, with place and remedy; nothing is started then
 */
export async function runPipeline(definition: PipelineDefinition, options: RunOptions): Promise<RunningPipeline> {
  const { world, log } = options
  await preflight(definition, options)
  const plan = await planOf(definition, options)
  const system = createSystem({
    world,
    log,
    ...(options.threadHeapMb === undefined ? {} : { threadHeapMb: options.threadHeapMb }),
    ...(plan.node === undefined ? {} : { node: plan.node }),
  })
  const keeper = createStatusKeeper(definition, world, plan.paths)
  let state: PipelineStatus['state'] = 'starting'
  let failure: string | null = null
  try {
    await system.start(plan.spec)
  } catch (error) {
    await system.stop(stopMargin)
    throw error
  }
  state = 'running'
  const ended = system.ended('/node').then((reason) => {
    state = state === 'stopping' ? 'stopped' : 'failed'
    if (reason.kind === 'error') failure = reason.error.message
    return reason
  })

  const sample = async () => {
    keeper.sample(await system.tree())
  }
  let sampling = world.setTimer(sampleEvery, resample, { background: true })
  function resample(): void {
    sample().then(
      () => {
        if (state === 'running') sampling = world.setTimer(sampleEvery, resample, { background: true })
      },
      (error) => log.warn({ cause: messageOf(error) }, 'the status could not be sampled'),
    )
  }

  return {
    async status() {
      await sample()
      return keeper.status({
        state,
        lastError: failure,
        threads: system.threads(),
        counters: system.counters,
      })
    },
    tree: () => system.tree(),
    async stop(deadlineMs = definition.stopDeadline) {
      if (state === 'running') state = 'stopping'
      sampling.cancel()
      // Before the stop, which discards what waits in a mailbox. Without an answer the pipeline's own deadline holds.
      const terminator = system.ref<TerminatorMessage>(pathsOf(definition).terminator)
      await terminator.ask({ type: 'deadline', ms: deadlineMs }, answerWithin).catch(() => {})
      await system.stop(deadlineMs + stopMargin)
    },
    ended,
    threads: () => system.threads(),
    killThread: (name) => system.killThread(name),
  }
}

interface Plan {
  readonly spec: ChildSpec
  readonly paths: ReturnType<typeof pathsOf>
  /** In a cluster: how the actors of other nodes are reached. */
  readonly node?: NodeOptions
}

/** What is started, and where its parts are found. A cluster's log is made or checked first. */
async function planOf(definition: PipelineDefinition, options: RunOptions): Promise<Plan> {
  if (options.cluster !== undefined) {
    const { prepareCluster } = await import('./cluster.js')
    return prepareCluster(definition, options.cluster, options)
  }
  const flushDelay = options.chaos?.flushDelay
  return {
    spec: nodeSpec(definition, flushDelay === undefined ? {} : { flushDelay }),
    paths: pathsOf(definition),
  }
}

/** Everything that can be found wrong before the start. */
async function preflight(definition: PipelineDefinition, options: RunOptions): Promise<void> {
  if (partitionSets(definition).length === 0)
    throw new TroupeError({
      code: 'no-processors',
      message: 'the pipeline has no processors',
      place: `pipeline ${definition.name}`,
      remedy: 'name at least one under `processors`',
      exitCode: 2,
    })
  try {
    mkdirSync(definition.dataDirectory, { recursive: true })
  } catch (cause) {
    throw new TroupeError({
      code: 'data-directory',
      message: `the data directory cannot be made: ${messageOf(cause)}`,
      place: definition.dataDirectory,
      remedy: 'name a writable one with `data:`',
      exitCode: 2,
      cause,
    })
  }
  await preflightPipeline(definition, {
    world: options.world,
    log: options.log,
    cluster: options.cluster !== undefined,
  })
}
