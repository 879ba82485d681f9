/**
 * The actor system of a process: the host's kernel, its hub, and what stands at the top.
 *
 * Actors at the top have no supervisor: when one ends, `ended` says why and nobody restarts it.
 */
import { TroupeError } from '../world/error.js'
import type { ActorSystem, ChildSpec, ExitReason, Ref, SystemOptions } from './actor.js'
import type { Child } from './cell.js'
import { Counters } from './counters.js'
import { actorGone } from './failure.js'
import { Kernel, type KernelInit, MAIN, type NodeIdentity } from './kernel.js'
import type { NodeOptions } from './node/link.js'
import { register } from './node/registered.js'
import { idOf, isNodeName, resolvePath } from './path.js'
import { supervisor } from './supervisor.js'
import type { ThreadDriver } from './thread/driver.js'
import { createHub } from './thread/hub.js'
import { workerDriver } from './thread/worker-driver.js'

/** Default of `tree`: a thread that has not answered by then is shown as lost. */
export const TREE_DEADLINE_MS = 1_000

/** @throws TroupeError `bad-node-name` */
export function createSystem(options: SystemOptions): ActorSystem {
  return systemOn(workerDriver(options.threadHeapMb), options)
}

/** A system whose process can die, for tests. */
export interface MortalSystem extends ActorSystem {
  /** All its actors, threads and sessions vanish without a word. */
  crash(): void
}

/** A system on any threads. */
export function systemOn(
  driver: ThreadDriver,
  init: Pick<KernelInit, 'world' | 'log' | 'delay' | 'planted'> & Pick<SystemOptions, 'node'>,
): MortalSystem {
  const { node, ...own } = init
  const counters = new Counters()
  const identity = node === undefined ? undefined : identityOf(node)
  const kernel = new Kernel({
    ...own,
    thread: MAIN,
    origin: `${MAIN}#0`,
    counters,
    ...(identity === undefined ? {} : { identity }),
  })
  /** In order of start. */
  const tops = new Map<string, Child>()
  const ends = new Map<string, Promise<ExitReason>>()
  const hub = createHub(kernel, driver, { roots: () => [...tops.values()], node, identity })
  kernel.elsewhere = hub
  let stopping: Promise<void> | undefined

  async function start<T>(spec: ChildSpec): Promise<Ref<T>> {
    if (stopping !== undefined) throw actorGone('/', 'the system is stopping')
    const child = kernel.startChild('/', spec, tops.has(`/${spec.id}`))
    tops.set(child.path, child)
    ends.set(child.path, child.ended)
    void child.ended.then(() => tops.delete(child.path))
    await child.started
    return kernel.ref(undefined, child.path)
  }

  async function stopAll(deadlineMs: number | undefined): Promise<void> {
    // Guests first: they may use what stands at the top here, and nothing here hangs on them.
    const all = (): Child[] => [...tops.values(), ...hub.leave()]
    const timer =
      deadlineMs === undefined
        ? undefined
        : kernel.world.setTimer(deadlineMs, () => {
            for (const child of all()) child.kill(`the system had to stop within ${deadlineMs} ms`)
          })
    for (const child of all().reverse()) {
      child.stop()
      await child.ended
    }
    timer?.cancel()
    await hub.close()
  }

  return {
    world: init.world,
    start,
    ref: (path) => kernel.ref(undefined, path),
    tree: (deadlineMs = TREE_DEADLINE_MS) => hub.tree(deadlineMs),
    counters: {
      get deadLetters() {
        return counters.deadLetters + hub.totals().deadLetters
      },
      get restarts() {
        return counters.restarts + hub.totals().restarts
      },
      get messages() {
        return counters.messages + hub.totals().messages
      },
    },
    ended(path) {
      const end = ends.get(resolvePath('/', path))
      return end ?? Promise.resolve({ kind: 'lost', detail: `no actor '${idOf(path)}' was started at the top` })
    },
    stop(deadlineMs) {
      stopping ??= stopAll(deadlineMs)
      return stopping
    },
    killThread: (name) => hub.kill(name),
    threads: () => hub.names(),
    nodes: () => hub.nodes(),
    crash() {
      kernel.halt()
      hub.crash()
    },
  }
}

function identityOf({ link, behaviors = [] }: NodeOptions): NodeIdentity {
  if (!isNodeName(link.node))
    throw new TroupeError({
      code: 'bad-node-name',
      message: `'${link.node.slice(0, 80)}' is no name of a node`,
      remedy: 'use 1 to 64 of A-Z a-z 0-9 _ -',
      exitCode: 2,
      permanent: true,
    })
  // A supervisor starts nothing that is not registered itself.
  return { node: link.node, registered: register([supervisor.ref, ...behaviors]) }
}
