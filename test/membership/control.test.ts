import { expect, test } from 'vitest'
import type { ControlEvent } from '../../src/membership/control-port.js'
import { keys } from '../../src/membership/keys.js'
import { partitionResource, type Resource, readerResource } from '../../src/membership/port.js'
import { TroupeError } from '../../src/world/error.js'
import { simulatedWorld } from '../../src/world/simulated.js'
import { createModelKv, type ModelNode, type NodeOptions, passes, runnersOf, startNode } from './model.js'

const resources: Resource[] = [
  readerResource('db'),
  readerResource('cache'),
  ...Array.from({ length: 12 }, (_, i) => partitionResource('key', i)),
]
const LEASE = 3_000

function cluster(seed: number, names: readonly string[], rest: Partial<NodeOptions> = {}) {
  const world = simulatedWorld(seed)
  const model = createModelKv(world)
  const nodes: ModelNode[] = []
  const add = (node: string, more: Partial<NodeOptions> = {}): ModelNode => {
    const added = startNode(world, model, { resources, settings: { settle: 500 }, ...rest, ...more, node })
    nodes.push(added)
    return added
  }
  for (const name of names) add(name)
  const live = (): ModelNode[] => nodes.filter(({ gate }) => gate.state === 'running')
  const leaseOf = (node: string, resource: Resource) =>
    nodes
      .findLast((other) => other.node === node)!
      .control.view()
      .leases.find((lease) => lease.resource === resource)!
  /** Each resource runs on one node, which holds its lease; all have joined, and nothing is to be moved. */
  const whole = (): boolean =>
    live().every(({ joining, control }) => {
      const { ready, hold, moves } = control.view()
      return !joining && (!ready || (hold !== 'settling' && moves === 0))
    }) &&
    resources.every((resource) => {
      const [runner, second] = runnersOf(nodes, resource)
      if (runner === undefined || second !== undefined) return false
      const lease = leaseOf(runner, resource)
      return lease.node === runner && lease.state === 'held' && lease.desired === runner
    })
  const settled = async (ms: number): Promise<void> =>
    expect(await passes(world, ms, whole), `settled within ${ms} ms`).toBe(true)
  const held = (node: ModelNode): Resource[] => resources.filter((resource) => node.units.running.has(resource))
  return { world, model, nodes, add, live, whole, settled, held }
}

const ofType = <T extends ControlEvent['type']>(node: ModelNode, type: T) =>
  node.events.filter((event): event is Extract<ControlEvent, { type: T }> & { at: number } => event.type === type)

test('three nodes share everything, each resource on one of them', async () => {
  const { nodes, settled, held } = cluster(1, ['a', 'b', 'c'])
  await settled(60_000)
  for (const node of nodes) {
    expect(held(node).filter((resource) => resource.startsWith('part.')).length).toBe(4)
    expect(held(node).filter((resource) => resource.startsWith('reader.')).length).toBeLessThanOrEqual(1)
  }
})

test('what a killed node held runs elsewhere within a lease and a second, and nothing else moves', async () => {
  const { world, nodes, settled, held } = cluster(2, ['a', 'b', 'c'])
  await settled(60_000)
  const [a, b, c] = nodes as [ModelNode, ModelNode, ModelNode]
  const orphans = held(a)
  const kept = [...held(b), ...held(c)]
  const stops = b.units.stops + c.units.stops
  a.gate.kill()
  const killedAt = world.monotonic()
  const taken = (): boolean => orphans.every((resource) => runnersOf(nodes, resource).length === 1)
  expect(await passes(world, LEASE + 1_000, taken)).toBe(true)
  expect(world.monotonic() - killedAt).toBeLessThanOrEqual(LEASE + 1_000)
  expect([...held(b), ...held(c)]).toEqual(expect.arrayContaining(kept))
  expect(b.units.stops + c.units.stops).toBe(stops)
  const { takeovers } = b.control.view().counters
  expect(takeovers.count + c.control.view().counters.takeovers.count).toBe(orphans.length)
  expect(takeovers.mostMs).toBeLessThanOrEqual(LEASE + 1_000)
})

test('a planned handoff takes less than half a second from the decision until the taker runs it', async () => {
  const { nodes, add, settled } = cluster(3, ['a', 'b'])
  await settled(60_000)
  const c = add('c')
  await settled(60_000)
  const received = ofType(c, 'running')
  expect(received.length).toBeGreaterThanOrEqual(4)
  for (const event of received) {
    const released = nodes.flatMap((node) =>
      ofType(node, 'released').filter((its) => its.resource === event.resource && its.to === 'c'),
    )
    expect(released.length).toBe(1)
    expect(event.how).toBe('handoff')
    expect(event.at - (released[0]!.at - released[0]!.ms)).toBeLessThan(500)
  }
})

test('what is closed with nothing left is handed over while it is taken down, and what is not is handed over after that', async () => {
  for (const clean of [true, false]) {
    const { world, nodes, add, settled } = cluster(25, ['a', 'b'])
    await settled(60_000)
    for (const { units } of nodes) Object.assign(units, { clean, takeDownMs: 20_000 })
    const c = add('c')
    let early = 0
    const received = (): boolean => {
      const mine = ofType(c, 'running')
      const stopping = nodes.slice(0, 2).flatMap(({ control }) => control.view().units)
      for (const { resource } of mine)
        if (stopping.some((unit) => unit.resource === resource && unit.unit === 'stopping')) early++
      return mine.length >= 4
    }
    expect(await passes(world, 300_000, received)).toBe(true)
    expect(early > 0).toBe(clean)
    await settled(60_000)
  }
})

test('a paused node that wakes finds its leases taken and stops at once; meanwhile each resource has a taker', async () => {
  const { world, nodes, settled, held } = cluster(4, ['a', 'b', 'c'])
  await settled(60_000)
  const a = nodes[0]!
  const had = held(a)
  a.gate.pause()
  const taken = (): boolean => had.every((resource) => runnersOf(nodes, resource).some((runner) => runner !== 'a'))
  expect(await passes(world, LEASE + 1_000, taken)).toBe(true)
  a.gate.resume()
  expect(await passes(world, 1_000, () => had.every((resource) => runnersOf(nodes, resource).length === 1))).toBe(true)
  expect(ofType(a, 'taken').length).toBe(had.length)
  // It was its own sleep, not the death of the others.
  expect(ofType(a, 'member-lost')).toEqual([])
  await settled(60_000)
})

test('a node joins a store that answers some of its questions only, and has its name though it wrote it twice', async () => {
  const { world, model, add, settled } = cluster(6, ['a'])
  await settled(60_000)
  model.loss = 0.8
  const b = add('b')
  expect(await passes(world, 30_000, () => !b.joining)).toBe(true)
  await b.started
  model.loss = 0
  await settled(60_000)
})

test('a store that is away stops nothing and kills nobody', async () => {
  const { world, model, nodes, settled } = cluster(5, ['a', 'b', 'c'])
  await settled(60_000)
  const stops = (): number => nodes.reduce((sum, { units }) => sum + units.stops, 0)
  const before = stops()
  model.away = true
  await passes(world, 20_000)
  for (const node of nodes) expect(ofType(node, 'heartbeat-late').length).toBe(1)
  model.away = false
  await settled(20_000)
  await passes(world, 20_000)
  for (const node of nodes) {
    expect(ofType(node, 'heartbeat-again').length).toBe(1)
    expect(ofType(node, 'member-lost')).toEqual([])
  }
  expect(stops()).toBe(before)
})

test('a wall clock that is years off changes nothing', async () => {
  const { world, add, nodes, settled } = cluster(6, [])
  add('a', { wallOffset: 10 * 365 * 86_400_000 })
  add('b', { wallOffset: -10 * 365 * 86_400_000 })
  await settled(60_000)
  await passes(world, 10_000)
  for (const node of nodes) {
    expect(ofType(node, 'member-lost')).toEqual([])
    expect(ofType(node, 'taken')).toEqual([])
  }
})

test('a node that leaves hands everything off within its deadline and is forgotten', async () => {
  const { world, model, nodes, settled, held, live } = cluster(7, ['a', 'b', 'c'])
  await settled(60_000)
  const a = nodes[0]!
  const had = held(a)
  let clean: boolean | undefined
  void a.control.leave(10_000).then((result) => {
    clean = result
  })
  expect(await passes(world, 10_000, () => clean !== undefined)).toBe(true)
  expect(clean).toBe(true)
  expect(held(a)).toEqual([])
  expect(model.entries.get(keys.member('a'))?.value).toBeNull()
  a.gate.kill()
  expect(await passes(world, 1_000, () => had.every((resource) => runnersOf(live(), resource).length === 1))).toBe(true)
  for (const node of live()) expect(ofType(node, 'member-left').length).toBe(1)
})

test('a drained node holds nothing and says so; when the order is gone it takes part again', async () => {
  const { world, model, nodes, settled, held } = cluster(8, ['a', 'b', 'c'])
  await settled(60_000)
  const a = nodes[0]!
  model.write(keys.drain('a'), { by: 'test' })
  expect(await passes(world, 30_000, () => a.control.view().drained)).toBe(true)
  expect(held(a)).toEqual([])
  expect(ofType(a, 'drained').length).toBe(1)
  await settled(10_000)
  model.write(keys.drain('a'), null)
  expect(await passes(world, 30_000, () => held(a).length >= 4)).toBe(true)
  await settled(30_000)
})

test('in a rolling upgrade each node gets its own back, and nothing else moves', async () => {
  const { world, model, nodes, add, settled, held } = cluster(9, ['a', 'b', 'c'])
  await settled(60_000)
  const before = nodes.map(held)
  model.write(keys.rolling, { by: 'test' })
  for (const [index, name] of ['a', 'b', 'c'].entries()) {
    const old = nodes.findLast(({ node }) => node === name)!
    let gone = false
    void old.control.leave(10_000).then(() => {
      gone = true
    })
    expect(await passes(world, 10_000, () => gone)).toBe(true)
    old.gate.kill()
    const again = add(name)
    expect(await passes(world, 60_000, () => held(again).length === before[index]!.length)).toBe(true)
    await settled(10_000)
  }
  expect(nodes.slice(3).map(held)).toEqual(before)
})

test('a paused pipeline runs nowhere; resumed, everything is where it was', async () => {
  const { world, model, nodes, settled, held } = cluster(10, ['a', 'b', 'c'])
  await settled(60_000)
  const before = nodes.map(held)
  model.write(keys.pausePipeline, { by: 'test' })
  expect(await passes(world, 5_000, () => nodes.every((node) => held(node).length === 0))).toBe(true)
  await passes(world, 10_000)
  model.write(keys.pausePipeline, null)
  await settled(10_000)
  expect(nodes.map(held)).toEqual(before)
})

test('every node is told which processors are paused', async () => {
  const { world, model, nodes, settled } = cluster(11, ['a', 'b'])
  await settled(60_000)
  model.write(keys.pauseProcessor('mailer'), {})
  await passes(world, 1_000)
  for (const node of nodes) expect([...ofType(node, 'orders').at(-1)!.orders.pausedProcessors]).toEqual(['mailer'])
  model.write(keys.pauseProcessor('mailer'), null)
  await passes(world, 1_000)
  for (const node of nodes) expect(ofType(node, 'orders').at(-1)!.orders.pausedProcessors.size).toBe(0)
})

test('what one node cannot start another tries, and the first is not asked again meanwhile', async () => {
  const { world, nodes, add, held } = cluster(12, ['a'], { settings: { settle: 500, giveUp: 5_000 } })
  const a = nodes[0]!
  a.units.broken.add('reader.db')
  await passes(world, 2_000)
  const b = add('b')
  b.units.broken.delete('reader.db')
  expect(await passes(world, 30_000, () => held(b).includes('reader.db'))).toBe(true)
  const starts = ofType(a, 'start-failed').length
  expect(starts).toBeGreaterThan(1)
  await passes(world, 20_000)
  expect(ofType(a, 'start-failed').length).toBe(starts)
  expect(held(b)).toContain('reader.db')
})

test('alone, a node goes on trying what it cannot start, less and less often', async () => {
  const { world, nodes, held } = cluster(13, ['a'])
  const a = nodes[0]!
  a.units.broken.add('reader.db')
  await passes(world, 120_000)
  const attempts = ofType(a, 'start-failed').length
  expect(attempts).toBeGreaterThan(20)
  expect(attempts).toBeLessThan(60)
  a.units.broken.clear()
  expect(await passes(world, 10_000, () => held(a).includes('reader.db'))).toBe(true)
})

test('a unit without proof of life goes to another node', async () => {
  const { world, nodes, settled, held } = cluster(14, ['a', 'b', 'c'])
  await settled(60_000)
  const a = nodes[0]!
  const mute = held(a)[0]!
  a.units.mute.add(mute)
  const elsewhere = (): boolean => {
    const runners = runnersOf(nodes, mute)
    return runners.length === 1 && runners[0] !== 'a'
  }
  expect(await passes(world, LEASE + 2_000, elsewhere)).toBe(true)
  await passes(world, 20_000)
  expect(elsewhere()).toBe(true)
})

test('alone, a unit without proof of life is started again', async () => {
  const { world, nodes, held } = cluster(15, ['a'], { settings: { giveUp: 5_000 } })
  const a = nodes[0]!
  await passes(world, 2_000)
  a.units.mute.add('reader.db')
  expect(await passes(world, 20_000, () => !held(a).includes('reader.db'))).toBe(true)
  a.units.mute.clear()
  expect(await passes(world, 20_000, () => held(a).includes('reader.db'))).toBe(true)
  expect(ofType(a, 'silent').length).toBe(1)
})

test('a unit that has ended is started again where it was, and nobody else is asked', async () => {
  const { world, nodes, settled, held } = cluster(22, ['a', 'b', 'c'])
  await settled(60_000)
  const a = nodes[0]!
  const before = nodes.map(held)
  const one = held(a)[0]!
  const { n } = a.control.view().leases.find(({ resource }) => resource === one)!
  a.units.end(one, new Error('the log was rewound'))
  expect(a.control.view().units.find(({ resource }) => resource === one)).toMatchObject({
    unit: 'resting',
    lastError: 'the log was rewound',
  })
  // Before silence could have told it.
  expect(await passes(world, LEASE / 3, () => held(a).includes(one))).toBe(true)
  expect(ofType(a, 'ended')).toMatchObject([{ resource: one }])
  await passes(world, 20_000)
  expect(nodes.map(held)).toEqual(before)
  expect(a.control.view().leases.find(({ resource }) => resource === one)).toMatchObject({ n, refused: [] })
})

test('a unit that was fenced rests for a lease: meanwhile whoever has fenced it can be seen', async () => {
  const { world, nodes, held } = cluster(23, ['a'])
  const a = nodes[0]!
  await passes(world, 5_000)
  a.units.end('reader.db', new TroupeError({ code: 'fenced', message: 'another has sealed', permanent: true }))
  await passes(world, LEASE - 100)
  expect(held(a)).not.toContain('reader.db')
  expect(await passes(world, 1_000, () => held(a).includes('reader.db'))).toBe(true)
})

test('a unit that ends soon after each start is started less and less often, and goes to another node', async () => {
  const { world, nodes, settled, held } = cluster(24, ['a', 'b'], { settings: { settle: 500, giveUp: 5_000 } })
  await settled(60_000)
  const a = nodes[0]!
  const one = held(a)[0]!
  const since = a.units.starts
  const gone = (): boolean => {
    if (held(a).includes(one)) a.units.end(one, new Error('it does not work here'))
    return held(nodes[1]!).includes(one)
  }
  expect(await passes(world, 20_000, gone)).toBe(true)
  expect(a.units.starts - since).toBeGreaterThan(2)
  expect(a.units.starts - since).toBeLessThan(10)
  expect(ofType(a, 'given-up')).toMatchObject([{ resource: one }])
})

test('a second process under the name of a live node is refused', async () => {
  const { world, nodes, add, settled, held } = cluster(16, ['a', 'b'])
  await settled(60_000)
  const had = held(nodes[0]!)
  const second = add('a')
  let error: unknown
  second.started.catch((thrown) => {
    error = thrown
  })
  expect(await passes(world, 2 * LEASE, () => error !== undefined)).toBe(true)
  expect(error).toMatchObject({ code: 'node-name-taken', exitCode: 2 })
  await passes(world, 10_000)
  expect(held(nodes[0]!)).toEqual(had)
})

test('a process killed and started again waits until its predecessor is known to be dead, then has its own again', async () => {
  const { world, nodes, add, settled, held } = cluster(17, ['a'])
  await settled(10_000)
  nodes[0]!.gate.kill()
  const again = add('a')
  expect(await passes(world, LEASE - 500, () => held(again).length > 0)).toBe(false)
  expect(await passes(world, 2_500, () => held(again).length === resources.length)).toBe(true)
})

test('a process that wakes and finds its name taken stops everything', async () => {
  const { world, nodes, add, settled, held } = cluster(18, ['a', 'b'])
  await settled(60_000)
  const a = nodes[0]!
  a.gate.pause()
  await passes(world, LEASE + 500)
  const next = add('a')
  expect(await passes(world, 2 * LEASE, () => next.control.view().ready)).toBe(true)
  a.gate.resume()
  expect(await passes(world, 2_000, () => ofType(a, 'name-lost').length === 1 && held(a).length === 0)).toBe(true)
  await settled(60_000)
})

test('a node of another protocol is refused, one of another version is not', async () => {
  const { world, add, settled } = cluster(19, ['a', 'b'])
  await settled(60_000)
  const foreign = add('c', { protocol: 2 })
  let error: unknown
  foreign.started.catch((thrown) => {
    error = thrown
  })
  expect(await passes(world, 2 * LEASE, () => error !== undefined)).toBe(true)
  expect(error).toMatchObject({ code: 'node-version', exitCode: 2 })
  const newer = add('d', { version: '1.1.0' })
  expect(await passes(world, LEASE, () => newer.control.view().ready)).toBe(true)
})

test('records that cannot be read, or are of a newer form, harm nobody', async () => {
  const { world, model, nodes, settled } = cluster(20, ['a', 'b'])
  await settled(60_000)
  const stops = (): number => nodes.reduce((sum, { units }) => sum + units.stops, 0)
  const before = stops()
  model.write('member.x', { nonsense: true })
  model.write('member.y', { form: 99 })
  model.write('member.z', { form: 1, node: 'not-z' })
  model.write('lease.part.other.1', { form: 1, node: 7 })
  model.write('order.something.new', {})
  await passes(world, 10_000)
  expect(stops()).toBe(before)
  expect(nodes[0]!.control.view().members.map(({ node }) => node)).toEqual(['a', 'b'])
})

test('the view and the why say who holds what, since when silent, and for which reason', async () => {
  const { nodes, settled } = cluster(21, ['a', 'b', 'c'])
  await settled(60_000)
  const view = nodes[1]!.control.view()
  expect(view.members.map(({ node, live }) => [node, live])).toEqual([
    ['a', true],
    ['b', true],
    ['c', true],
  ])
  expect(view.members.flatMap(({ holds }) => holds).length).toBeLessThanOrEqual(resources.length)
  const why = nodes[1]!.control.why('part.key.3')!
  expect(why.lease).toMatchObject({ state: 'held', node: why.explanation.desired })
  expect(why.explanation.candidates.length).toBe(3)
  expect(structuredClone(view)).toEqual(view)
})

/** Whatever happens, once it is over each resource has one holder. */
async function ordeal(seed: number): Promise<string> {
  const { world, model, nodes, add, live, whole } = cluster(seed, ['n0', 'n1', 'n2', 'n3'], {
    settings: { settle: 1_000, giveUp: 6_000 },
  })
  const faults: string[] = []
  model.slowMs = 1 + world.random() * 20
  await passes(world, world.random() * 5_000)
  for (let i = 0; i < 14; i++) {
    const node = nodes[world.pick(nodes.length)]!
    const fault = world.pick(11)
    faults.push(`${fault} ${node.node}`)
    if (fault === 0 && live().length > 2) node.gate.kill()
    else if (fault <= 2) node.gate.pause()
    else if (fault === 3) for (const { gate } of nodes) gate.resume()
    else if (fault === 4) node.kv.lagMs = world.random() * 2_500
    else if (fault === 5) model.away = !model.away
    else if (fault === 6) model.loss = world.random() * 0.3
    else if (fault === 7) {
      const name = node.node
      const last = nodes.findLast((other) => other.node === name)!
      if (last.gate.state === 'killed' || world.random() < 0.3) {
        last.gate.kill()
        add(name)
      }
    } else if (fault === 8) model.write(keys.drain(node.node), world.random() < 0.5 ? {} : null)
    else if (fault === 9) model.loseTail(1 + world.pick(30))
    else {
      const resource = resources[world.pick(resources.length)]!
      const how = world.random()
      if (how < 0.4) node.units.broken.add(resource)
      else if (how < 0.6) node.units.end(resource, new Error('it has ended'))
      else node.units.mute.add(resource)
    }
    await passes(world, world.random() * 6_000)
  }
  model.away = false
  model.loss = 0
  for (const { gate, kv, units, node } of nodes) {
    gate.resume()
    kv.lagMs = 0
    units.broken.clear()
    units.mute.clear()
    model.write(keys.drain(node), null)
  }
  if (await passes(world, 120_000, whole)) return ''
  const stuck = resources
    .map((resource) => `${resource}: ${runnersOf(nodes, resource).join(',')}`)
    .filter((line) => !/: n\d$/.test(line))
  const leases = nodes.map(({ node, gate, control }) => `${node} ${gate.state} ${JSON.stringify(control.view())}`)
  return `seed ${seed}: ${faults.join('; ')}\n${stuck.join('\n')}\n${leases.join('\n')}`
}

test('after any faults each resource is held and run by exactly one live node', async () => {
  const seeds = process.env.TROUPE_FULL === undefined ? 10 : 1_000
  for (let seed = 1_000; seed < 1_000 + seeds; seed++) expect(await ordeal(seed)).toBe('')
}, 600_000)
