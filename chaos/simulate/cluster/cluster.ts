/**
 * A simulated cluster: nodes, a broker, two sources and targets, and whoever decides which node runs what.
 *
 * That is the real control in some seeds. In the others the decision is arbitrary: it lets two nodes own the same at once, and
 * leaves zombies behind pauses. Membership only saves effort; no promise may rest on it.
 */
import { streamNames } from '../../../src/log/jetstream/names.js'
import type { PartitionSet } from '../../../src/log/log.js'
import { TroupeError } from '../../../src/world/error.js'
import type { SimulatedWorld } from '../../../src/world/simulated.js'
import { type Checker, createChecker } from './checker.js'
import { createTarget, type Target } from './effects.js'
import { createGovernor } from './governor.js'
import { createGroup, type Group, openGroupReader } from './group-model.js'
import { type Broker, createBroker } from './jetstream-model.js'
import { createKvModel, type ModelKv } from './kv-model.js'
import { createNode, type SimulatedNode } from './node.js'
import { startOwner } from './owner-unit.js'
import { startReader } from './reader-unit.js'
import { createSlot, openSlotReader, type Slot } from './slot-model.js'
import { createTruth, type Truth } from './sources.js'
import type { Unit } from './unit.js'

export interface ClusterInit {
  readonly world: SimulatedWorld
  readonly planted: readonly string[]
  readonly note: (text: string) => void
}

export interface Cluster {
  readonly nodes: readonly SimulatedNode[]
  readonly broker: Broker
  readonly checker: Checker
  readonly truth: Truth
  readonly slot: Slot
  readonly group: Group
  readonly kv: ModelKv
  /** The real control decides who owns what. */
  readonly governed: boolean
  /** An acknowledged tail can be lost. */
  readonly lazy: boolean
  readonly resources: readonly string[]
  /** Of every incarnation that still runs, zombies too. */
  units(): Unit[]
  /** Starts another owner, whoever else runs. */
  start(resource: string, node?: SimulatedNode): void
  /** Ends an owner in order; the next one starts where it pleases. */
  handOver(unit: Unit): void
  crash(node: SimulatedNode): void
  pause(node: SimulatedNode, ms: number): void
  /** No more arbitrariness: one owner of each. */
  settle(): void
  /** What is not as it should be in the end; null: all is. */
  unsettled(): string | null
  messages(): number
}

/** An end that is part of life; everything else is a broken promise. */
const ordinary = new Set(['fenced', 'log-rewind', 'log-closed', 'source-lost', 'superseded'])
const sources = ['slot', 'group']

export function createCluster(init: ClusterInit): Cluster {
  const { world, planted, note } = init
  const chance = (odds: number): boolean => world.random() < odds
  const names = streamNames('p')
  const lazy = chance(0.6)
  const syncInterval = lazy ? 1_500 : 0
  const holdback = lazy ? 1_800 : 0
  const maxMessage = chance(0.3) ? 220 : 1 << 20
  const checkpointInterval = 150 + world.pick(700)
  const window = chance(0.3) ? 900 : 1 << 20
  const retain = chance(0.2) ? 2_500 : 0
  const sets: PartitionSet[] = [
    { name: 'key', partitions: 2, processors: ['plain', 'fenced'] },
    ...(chance(0.5) ? [{ name: 'global', partitions: 1, processors: ['whole'] }] : []),
  ]
  const truth = createTruth(sources)
  const targets: Target[] = sets.flatMap(({ name: scope, partitions, processors }) =>
    processors.flatMap((processor) =>
      Array.from({ length: partitions }, (_, partition) =>
        createTarget({
          processor,
          kind: processor === 'plain' ? 'plain' : 'fenced',
          scope,
          partition,
          note,
          violation: (text) => checker.violation(text),
          repeated: (incarnation, change) =>
            checker.repeated(processor, scope, partition, incarnation.split('.')[0]!, change),
        }),
      ),
    ),
  )
  const checker = createChecker({
    now: () => world.monotonic(),
    note,
    truth,
    targets,
    scopes: new Map(sets.map(({ name, partitions }) => [name, partitions])),
    syncInterval,
    frames: names.frames,
    reader: names.reader,
    processor: names.processor,
  })
  const broker = createBroker({ world, observer: checker, syncInterval })
  const slot = createSlot({ world, truth, source: 'slot', forgotten: checker.forgotten })
  const group = createGroup({ world, truth, source: 'group', forgotten: checker.forgotten })
  const nodes = ['a', 'b', 'c'].map((name) => createNode(world, name))
  const resources = [
    ...sources.map((source) => `reader.${source}`),
    ...sets.flatMap(({ name, partitions }) => Array.from({ length: partitions }, (_, at) => `part.${name}.${at}`)),
  ]
  const running = new Map<string, Unit[]>(resources.map((resource) => [resource, []]))
  const wanted = new Set<string>()
  let incarnations = 0
  let settled = false

  function live(resource: string): Unit[] {
    const left = running.get(resource)!.filter((unit) => !unit.over)
    running.set(resource, left)
    return left
  }

  function anyNode(): SimulatedNode | undefined {
    const able = nodes.filter((node) => node.up && !node.paused)
    return able.length === 0 ? undefined : able[world.pick(able.length)]
  }

  /** Soon somebody owns it. */
  function ensure(resource: string): void {
    if (governor !== null || wanted.has(resource)) return
    wanted.add(resource)
    world.setTimer(20 + world.random() * 400, () => {
      wanted.delete(resource)
      if (live(resource).some(({ life, state }) => !life.node.paused && state() !== 'handing-over')) return
      start(resource)
    })
  }

  function start(resource: string, node = anyNode()): void {
    if (node === undefined) ensure(resource)
    else startOn(resource, node)
  }

  function startOn(resource: string, node: SimulatedNode): Unit {
    const [kind, first, second] = resource.split('.') as [string, string, string]
    const { life } = node
    const owner = `${node.name}${++incarnations}`
    const ended = (error: Error | null): void => {
      const code = error instanceof TroupeError ? error.code : (error?.message ?? 'closed')
      note(`${resource} of ${owner} ended: ${code}`)
      if (error instanceof TroupeError && !ordinary.has(code) && !/in time/.test(error.message))
        checker.violation(`${resource} of ${owner}: ${error.message} (${code})`)
      else if (error !== null && !(error instanceof TroupeError) && !/killed|in time/.test(error.message))
        checker.violation(`${resource} of ${owner}: ${error.stack}`)
      if (code === 'log-rewind' && checker.lostMessages === 0)
        checker.violation(
          `${resource} of ${owner} says that the log lost its tail, and it never did: ${error?.message}`,
        )
      ensure(resource)
    }
    note(`${resource} starts as ${owner}`)
    const port = broker.port(life, owner)
    const unit =
      kind === 'reader'
        ? startReader({
            resource,
            source: first,
            life,
            owner,
            stream: port,
            names,
            sets,
            holdback,
            maxMessage,
            planted,
            obliges: !(first === 'slot'),
            open: (context) =>
              first === 'slot'
                ? openSlotReader(slot, life, world, context)
                : openGroupReader(group, truth, life, context, planted.includes('dedupe-by-high-water-mark')),
            hurry: () => tellOwners(life.node),
            ended,
          })
        : startOwner({
            resource,
            scope: first,
            partition: Number(second),
            life,
            owner,
            world,
            stream: port,
            names,
            targets: targets.filter(({ scope, partition }) => scope === first && partition === Number(second)),
            truth,
            holdback,
            retain,
            window,
            checkpointInterval,
            planted,
            ended,
          })
    running.get(resource)!.push(unit)
    return unit
  }

  function restart(node: SimulatedNode): void {
    node.start()
    governor?.join(node)
  }

  /** Owners that no control knows of. */
  function strays(resource: string): Unit[] {
    return live(resource).filter((unit) => governor?.governs(unit) !== true)
  }

  function tellOwners(from: SimulatedNode): void {
    for (const resource of resources)
      for (const unit of live(resource))
        if (chance(0.8) && world.monotonic() >= Math.max(from.cutUntil, unit.life.node.cutUntil))
          world.setTimer(1 + world.random() * 5, () => unit.life.arrive(() => !unit.over && unit.hurry()))
  }

  function handOver(unit: Unit): void {
    const early = !settled && chance(0.3)
    if (governor?.governs(unit) === true) {
      governor.drain(unit.life.node, 500 + world.random() * 2_000)
      return
    }
    void unit.close(50 + world.pick(400))
    if (early) start(unit.resource)
  }

  const kv = createKvModel(world)
  /** In some seeds the real control decides; a fault may start more owners even then. */
  const governor = chance(0.3) ? createGovernor({ world, kv, resources, start: startOn, note }) : null
  if (governor === null) for (const resource of resources) start(resource)
  else for (const node of nodes) governor.join(node)

  return {
    nodes,
    broker,
    checker,
    truth,
    slot,
    group,
    kv,
    governed: governor !== null,
    lazy,
    resources,
    units: () => resources.flatMap(live),
    start,
    handOver,
    crash(node) {
      node.crash()
      for (const resource of resources) ensure(resource)
      world.setTimer(100 + world.random() * 2_000, () => {
        if (!node.up) restart(node)
        for (const resource of resources) ensure(resource)
      })
    },
    pause(node, ms) {
      node.pause()
      const { life } = node
      world.setTimer(ms, () => {
        if (node.life === life) node.resume()
      })
      // The lease is over before it wakes, or it is not.
      world.setTimer(200 + world.random() * ms, () => {
        for (const resource of resources) ensure(resource)
      })
    },
    settle() {
      settled = true
      broker.calm()
      kv.calm()
      for (const node of nodes) {
        node.cutUntil = 0
        node.resume()
        if (!node.up) restart(node)
      }
      for (const resource of resources) {
        const more = governor === null ? live(resource).slice(0, -1) : strays(resource)
        for (const unit of more) handOver(unit)
        ensure(resource)
      }
    },
    unsettled() {
      const [missing] = checker.undelivered()
      if (missing !== undefined) return `not delivered: ${missing}`
      if (slot.confirmed < slot.end) return `the slot is confirmed to ${slot.confirmed} of ${slot.end}`
      if (group.pending + group.unread > 0) return `${group.pending} entries are pending, ${group.unread} unread`
      return null
    },
    messages: () => broker.figures.messages,
  }
}
