/**
 * A model of the key-value store of membership: writes are compared with the truth; answers are slow, lost, or never come;
 * `get` may be stale and watches lag; a watch of a store that is away fails, and begins anew with everything.
 */
import type { KvEntry, KvPort } from '../../../src/membership/port.js'
import type { SimulatedWorld } from '../../../src/world/simulated.js'
import type { Life } from './node.js'

export interface ModelKv {
  port(life: Life): KvPort
  /** Nobody is answered for so long, and what watches fails. */
  goAway(ms: number): void
  /** What is told of changes comes so much later from now on. */
  lag(ms: number): void
  calm(): void
}

/** ms after which a client gives up. */
const patience = 600
/** Share of requests of which nothing is heard. */
const loss = 0.02

export function createKvModel(world: SimulatedWorld): ModelKv {
  const entries = new Map<string, KvEntry>()
  const before = new Map<string, KvEntry>()
  const watchers = new Set<{ changed(entry: KvEntry): void; fail(): void }>()
  let revision = 0
  let awayUntil = 0
  let lagging = 0
  let calm = false

  const away = (): boolean => world.monotonic() < awayUntil
  const delay = (): number => 0.5 + world.random() * 4

  function set(key: string, value: Uint8Array | null): number {
    const entry: KvEntry = { key, value, revision: ++revision }
    const old = entries.get(key)
    if (old !== undefined) before.set(key, old)
    entries.set(key, entry)
    for (const watcher of watchers) watcher.changed(entry)
    return revision
  }

  function request<T>(life: Life, work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = life.world.setTimer(patience, () => reject(new Error('the store did not answer in time')))
      const lost = !calm && world.random() < loss
      const unheard = lost && world.random() < 0.5
      world.setTimer(delay(), () => {
        if (away() || unheard || world.monotonic() < life.node.cutUntil) return
        const answer = work()
        if (lost) return
        world.setTimer(delay(), () =>
          life.arrive(() => {
            timer.cancel()
            resolve(answer)
          }),
        )
      })
    })
  }

  const lastOf = (key: string): number => {
    const entry = entries.get(key)
    return entry === undefined || entry.value === null ? 0 : entry.revision
  }

  return {
    port: (life) => ({
      create: (key, value) => request(life, () => (lastOf(key) === 0 ? set(key, value) : null)),
      update: (key, value, over) => request(life, () => (entries.get(key)?.revision === over ? set(key, value) : null)),
      remove: (key, over) =>
        request(life, () => {
          if (entries.get(key)?.revision !== over) return false
          set(key, null)
          return true
        }),
      get: (key) =>
        request(life, () => (!calm && world.random() < 0.2 ? before.get(key) : undefined) ?? entries.get(key) ?? null),
      watch(options) {
        let stopped = false
        let due = 0
        const inOrder = (run: () => void): void => {
          const cut = Math.max(0, life.node.cutUntil - world.monotonic())
          due = Math.max(due + 0.001, world.monotonic() + cut + delay() + lagging)
          world.setTimer(due - world.monotonic(), () => life.arrive(() => !stopped && run()))
        }
        const watcher = {
          changed: (entry: KvEntry) => inOrder(() => options.entry(entry)),
          fail(): void {
            watchers.delete(watcher)
            world.setTimer(300, () => life.arrive(() => !stopped && options.failed(new Error('the watch was cut'))))
          },
        }
        if (away()) watcher.fail()
        else {
          for (const entry of [...entries.values()].sort((a, b) => a.revision - b.revision)) watcher.changed(entry)
          inOrder(options.ready)
          watchers.add(watcher)
        }
        return {
          stop() {
            stopped = true
            watchers.delete(watcher)
          },
        }
      },
    }),
    goAway(ms) {
      awayUntil = world.monotonic() + ms
      for (const watcher of [...watchers]) watcher.fail()
    },
    lag(ms) {
      lagging = ms
    },
    calm() {
      calm = true
      awayUntil = 0
      lagging = 0
    },
  }
}
