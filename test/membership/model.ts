/**
 * A model of the store and of the nodes around it, under the simulated World: a store that is slow, loses answers, is away
 * and lags in its watches; nodes that are killed, paused and woken; units that take their time and fail.
 */

import { createControl } from '../../src/membership/control.js'
import type { Control, ControlEvent } from '../../src/membership/control-port.js'
import type { KvEntry, KvPort, Resource, Units } from '../../src/membership/port.js'
import type { MembershipSettings } from '../../src/membership/settings.js'
import type { Logger } from '../../src/world/logger.js'
import type { SimulatedWorld } from '../../src/world/simulated.js'
import type { World } from '../../src/world/world.js'

/** What a process can no longer do once it is killed, and does late once it was paused. */
export interface Gate {
  readonly world: World
  pass(run: () => void): void
  pause(): void
  resume(): void
  kill(): void
  readonly state: 'running' | 'paused' | 'killed'
}

export function createGate(world: World, wallOffset = 0): Gate {
  let state: Gate['state'] = 'running'
  let waiting: (() => void)[] = []
  function pass(run: () => void): void {
    if (state === 'running') run()
    else if (state === 'paused') waiting.push(run)
  }
  return {
    world: {
      ...world,
      now: () => world.now() + wallOffset,
      setTimer: (ms, run) => {
        let off = false
        const timer = world.setTimer(ms, () => pass(() => !off && run()))
        return {
          cancel() {
            off = true
            timer.cancel()
          },
        }
      },
      defer: (run) => world.defer(() => pass(run)),
    },
    pass,
    pause() {
      if (state === 'running') state = 'paused'
    },
    resume() {
      if (state !== 'paused') return
      state = 'running'
      const due = waiting
      waiting = []
      for (const run of due) world.defer(() => pass(run))
    },
    kill() {
      state = 'killed'
      waiting = []
    },
    get state() {
      return state
    },
  }
}

export interface ModelKv {
  port(gate: Gate): KvPort & { lagMs: number }
  /** Nobody is answered, and the watches are silent; then they fail. */
  away: boolean
  /** Share of writes whose answer is lost, whether they were stored or not. */
  loss: number
  /** Most ms that a request or an answer takes. */
  slowMs: number
  write(key: string, value: object | null): void
  /** The last writes are undone, as by a server that had not synced them; their revisions are used again. */
  loseTail(count: number): void
  readonly entries: ReadonlyMap<string, KvEntry>
  readonly writes: number
}

export function createModelKv(world: SimulatedWorld): ModelKv {
  const entries = new Map<string, KvEntry>()
  const history: { readonly key: string; readonly before: KvEntry | undefined }[] = []
  const watchers = new Set<{ change(entry: KvEntry): void; broken(): void }>()
  let revision = 0
  let writes = 0
  let away = false

  function set(key: string, value: Uint8Array | null): number {
    const entry = { key, value, revision: ++revision }
    writes++
    history.push({ key, before: entries.get(key) })
    if (history.length > 1_000) history.shift()
    entries.set(key, entry)
    for (const watcher of watchers) watcher.change(entry)
    return entry.revision
  }
  const current = (key: string): number => {
    const entry = entries.get(key)
    return entry === undefined || entry.value === null ? 0 : entry.revision
  }
  const delay = (): number => 0.5 + world.random() * model.slowMs

  function request<T>(gate: Gate, work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const silent = (): void => {
        world.setTimer(600, () => gate.pass(() => reject(new Error('the store does not answer'))))
      }
      // What a dead process had sent already is carried out all the same.
      world.setTimer(delay(), () => {
        if (away) {
          silent()
          return
        }
        const lost = world.random() < model.loss
        if (lost && world.random() < 0.5) {
          silent()
          return
        }
        const result = work()
        if (lost) silent()
        else world.setTimer(delay(), () => gate.pass(() => resolve(result)))
      })
    })
  }

  const model: ModelKv = {
    loss: 0,
    slowMs: 3,
    entries,
    get writes() {
      return writes
    },
    get away() {
      return away
    },
    set away(on) {
      away = on
      if (on) for (const watcher of [...watchers]) watcher.broken()
    },
    write(key, value) {
      set(key, value === null ? null : Buffer.from(JSON.stringify(value)))
    },
    loseTail(count) {
      const touched = new Set<string>()
      for (let i = 0; i < count; i++) {
        const undone = history.pop()
        if (undone === undefined) break
        revision--
        touched.add(undone.key)
        if (undone.before === undefined) entries.delete(undone.key)
        else entries.set(undone.key, undone.before)
      }
      for (const key of touched)
        for (const watcher of watchers) watcher.change(entries.get(key) ?? { key, value: null, revision: 0 })
    },
    port(gate) {
      const port: KvPort & { lagMs: number } = {
        lagMs: 0,
        create: (key, value) => request(gate, () => (current(key) === 0 ? set(key, value) : null)),
        update: (key, value, over) =>
          request(gate, () => (entries.get(key)?.revision === over ? set(key, value) : null)),
        remove: (key, over) =>
          request(gate, () => {
            if (entries.get(key)?.revision !== over) return false
            set(key, null)
            return true
          }),
        get: (key) => request(gate, () => entries.get(key) ?? null),
        watch(options) {
          let stopped = false
          let last = 0
          const inOrder = (run: () => void): void => {
            last = Math.max(last, world.monotonic() + delay() + port.lagMs)
            world.setTimer(last - world.monotonic(), () => gate.pass(() => !stopped && run()))
          }
          const watcher = {
            change: (entry: KvEntry): void => inOrder(() => options.entry(entry)),
            broken: (): void => {
              watchers.delete(watcher)
              world.setTimer(1_000, () => gate.pass(() => !stopped && options.failed(new Error('the watch is cut'))))
            },
          }
          if (away) watcher.broken()
          else {
            for (const entry of [...entries.values()].sort((a, b) => a.revision - b.revision)) watcher.change(entry)
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
      }
      return port
    },
  }
  return model
}

export interface ModelUnits extends Units {
  readonly running: ReadonlySet<Resource>
  /** Resources that cannot be started here. */
  readonly broken: Set<Resource>
  /** Resources that run and give no proof of life. */
  readonly mute: Set<Resource>
  readonly starts: number
  readonly stops: number
  /** ms that taking down takes once a unit is closed; and whether closing leaves nothing. */
  takeDownMs: number
  clean: boolean
  /** Ends what runs, unasked. */
  end(resource: Resource, error: Error): void
}

export function createModelUnits(world: SimulatedWorld, gate: Gate): ModelUnits {
  const running = new Set<Resource>()
  const runs = new Map<Resource, number>()
  const broken = new Set<Resource>()
  const mute = new Set<Resource>()
  const told = new Map<Resource, (error: Error) => void>()
  let starts = 0
  let stops = 0
  const later = <T>(ms: number, value: () => T): Promise<T> =>
    new Promise((resolve, reject) =>
      world.setTimer(ms, () =>
        gate.pass(() => {
          try {
            resolve(value())
          } catch (error) {
            reject(error)
          }
        }),
      ),
    )
  return {
    running,
    broken,
    mute,
    get starts() {
      return starts
    },
    get stops() {
      return stops
    },
    start(resource, ended) {
      const run = (runs.get(resource) ?? 0) + 1
      runs.set(resource, run)
      starts++
      return later(5 + world.random() * 60, () => {
        if (broken.has(resource)) throw new Error(`${resource} cannot be started here`)
        if (runs.get(resource) !== run) return
        running.add(resource)
        told.set(resource, ended)
      })
    },
    end(resource, error) {
      if (!running.delete(resource)) return
      const ended = told.get(resource)
      told.delete(resource)
      gate.pass(() => ended?.(error))
    },
    takeDownMs: 10,
    clean: true,
    stop(resource, _, closed) {
      told.delete(resource)
      runs.set(resource, (runs.get(resource) ?? 0) + 1)
      stops++
      return later(5 + world.random() * 70, () => {
        running.delete(resource)
        if (this.clean) closed()
      }).then(() => later(world.random() * this.takeDownMs, () => {}))
    },
    alive: (resource) => later(1 + world.random() * 20, () => running.has(resource) && !mute.has(resource)),
  }
}

export interface ModelNode {
  readonly node: string
  readonly gate: Gate
  readonly kv: KvPort & { lagMs: number }
  readonly units: ModelUnits
  readonly control: Control
  readonly events: (ControlEvent & { readonly at: number })[]
  readonly started: Promise<void>
  /** It has neither joined nor been refused. */
  readonly joining: boolean
}

export interface NodeOptions {
  readonly node: string
  readonly resources: readonly Resource[]
  readonly settings?: Partial<MembershipSettings>
  readonly version?: string
  readonly protocol?: number
  readonly wallOffset?: number
}

export const silentLog: Logger = { debug() {}, info() {}, warn() {}, error() {} }

let boots = 0

export function startNode(world: SimulatedWorld, model: ModelKv, options: NodeOptions): ModelNode {
  const gate = createGate(world, options.wallOffset)
  const kv = model.port(gate)
  const units = createModelUnits(world, gate)
  const events: ModelNode['events'] = []
  const control = createControl({
    kv,
    units,
    world: gate.world,
    log: silentLog,
    node: options.node,
    boot: `boot${++boots}`,
    version: options.version ?? '1.0.0',
    protocol: options.protocol ?? 1,
    resources: options.resources,
    ...(options.settings === undefined ? {} : { settings: options.settings }),
    onEvent: (event) => events.push({ ...event, at: world.monotonic() }),
  })
  const started = control.start()
  let joining = true
  const over = (): void => {
    joining = false
  }
  started.then(over, over)
  return {
    node: options.node,
    gate,
    kv,
    units,
    control,
    events,
    started,
    get joining() {
      return joining
    },
  }
}

/** Who runs what, of the processes that live. */
export function runnersOf(nodes: readonly ModelNode[], resource: Resource): string[] {
  return nodes
    .filter(({ gate, units }) => gate.state !== 'killed' && units.running.has(resource))
    .map(({ node }) => node)
}

/** Lets virtual time pass until `done`, at most `ms`. */
export async function passes(world: SimulatedWorld, ms: number, done: () => boolean = () => false): Promise<boolean> {
  const end = world.monotonic() + ms
  let reached = false
  await world.run(() => {
    reached = done()
    return reached || world.monotonic() >= end
  }, 5_000_000)
  return reached
}
