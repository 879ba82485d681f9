/**
 * The actor system of a process: the host's kernel, its hub, and what stands at the top.
 *
 * Actors at the top have no supervisor: when one ends, `ended` says why and nobody restarts it.
 */
import type { ActorSystem, ChildSpec, ExitReason, Ref, SystemOptions } from './actor.js'
import type { Child } from './cell.js'
import { Counters } from './counters.js'
import { actorGone } from './failure.js'
import { Kernel, type KernelInit } from './kernel.js'
import { idOf, resolvePath } from './path.js'
import type { ThreadDriver } from './thread/driver.js'
import { createHub } from './thread/hub.js'
import { workerDriver } from './thread/worker-driver.js'

/** Default of `tree`: a thread that has not answered by then is shown as lost. */
export const TREE_DEADLINE_MS = 1_000

export function createSystem(options: SystemOptions): ActorSystem {
  return systemOn(workerDriver(options.threadHeapMb), options)
}

/** A system on any threads. */
export function systemOn(
  driver: ThreadDriver,
  init: Pick<KernelInit, 'world' | 'log' | 'delay' | 'planted'>,
): ActorSystem {
  const counters = new Counters()
  const kernel = new Kernel({ ...init, thread: 'main', origin: 'main#0', counters })
  /** In order of start. */
  const tops = new Map<string, Child>()
  const ends = new Map<string, Promise<ExitReason>>()
  const hub = createHub(kernel, driver, () => [...tops.values()])
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
    const timer =
      deadlineMs === undefined
        ? undefined
        : kernel.world.setTimer(deadlineMs, () => {
            for (const child of tops.values()) child.kill(`the system had to stop within ${deadlineMs} ms`)
          })
    for (const child of [...tops.values()].reverse()) {
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
  }
}
