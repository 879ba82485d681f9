/**
 * Nodes under the simulated World: a network that delays, loses, repeats and is cut; processes that die and come back.
 * A failing seed is in the name of the failure.
 */
import { beforeAll, describe, expect, it } from 'vitest'
import type { ActorSystem } from '../../src/actor/actor.js'
import { childOf } from '../../src/actor/child.js'
import { loadBehavior } from '../../src/actor/loader.js'
import { createSessions, type Session, type Sessions } from '../../src/actor/node/sessions.js'
import { createSimulatedNetwork } from '../../src/actor/node/simulated-network.js'
import { createSimulatedSystem } from '../../src/actor/simulated.js'
import { supervisor } from '../../src/actor/supervisor.js'
import type { MortalSystem } from '../../src/actor/system.js'
import { type SimulatedWorld, simulatedWorld } from '../../src/world/simulated.js'
import { ear, heard } from './ear.js'

const FULL = process.env.TROUPE_FULL === '1'
const SEEDS = FULL ? 1_000 : 60
const timing = { pingMs: 1_000, deadMs: 5_000 }
const silent = { debug() {}, info() {}, warn() {}, error() {} }

async function pass(world: SimulatedWorld, ms: number): Promise<void> {
  const end = world.monotonic() + ms
  let over = false
  world.setTimer(ms, () => {
    over = true
  })
  await world.run(() => over || world.monotonic() >= end + 1)
}

describe('sessions', () => {
  interface End {
    readonly sessions: Sessions
    readonly got: Map<string, number[]>
    readonly deaths: number[]
    opened: Session[]
  }

  it('deliver what must arrive in order and once, what may be lost in order and at most once, and end once', async () => {
    let deaths = 0
    let reached = 0
    for (let seed = 1; seed <= SEEDS * 3; seed++) {
      const world = simulatedWorld(seed)
      const network = createSimulatedNetwork(world, 50)
      const ends = new Map<string, End>()
      const sent = { posted: 0, offered: 0 }

      const boot = (name: string): End => {
        const end: End = { got: new Map(), deaths: [], opened: [], sessions: undefined as never }
        const sessions = createSessions(world, network.link(name), timing, {
          opened: (session) => void end.opened.push(session),
          message(session, body) {
            const [kind, sender, number] = body as [string, string, number]
            const key = `${session.number} ${kind} ${sender}`
            const list = end.got.get(key) ?? []
            end.got.set(key, list)
            list.push(number)
          },
          died: (session) => void end.deaths.push(session.number),
          refused: (error) => expect.fail(`seed ${seed}: ${error.message}`),
        })
        Object.assign(end, { sessions })
        ends.set(name, end)
        return end
      }
      const all: End[] = ['a', 'b', 'c'].map(boot)
      network.lossy(world.random() * 0.3)
      let number = 0
      for (let step = 0; step < 200; step++) {
        const [from, to] = [world.pick(3), world.pick(3)].map((at) => 'abc'[at]!) as [string, string]
        const chance = world.random()
        if (chance < 0.01) {
          ends.get(from)!.sessions.halt()
          all.push(boot(from))
        } else if (chance < 0.02) network.cut(from, to)
        else if (chance < 0.04) network.heal()
        else if (from !== to) {
          const { sessions } = ends.get(from)!
          const session = sessions.with(to)!
          if (world.random() < 0.5) {
            session.post(JSON.stringify(['post', `${from}.${session.number}`, ++number]))
            sent.posted++
          } else if (session.offer(JSON.stringify(['offer', `${from}.${session.number}`, ++number]))) sent.offered++
        }
        await pass(world, world.random() * 400)
      }
      network.heal()
      network.lossy(0)
      await pass(world, timing.deadMs * 3)

      // After the storm all who have business are up with each other, and what must arrive does.
      for (const [from, to] of [
        ['a', 'b'],
        ['b', 'c'],
        ['c', 'a'],
      ] as const) {
        const session = ends.get(from)!.sessions.with(to)!
        for (let i = 0; i < 3; i++) session.post(JSON.stringify(['last', from, i]))
      }
      await pass(world, timing.deadMs)
      for (const [from, to] of [
        ['a', 'b'],
        ['b', 'c'],
        ['c', 'a'],
      ] as const) {
        const last = [...ends.get(to)!.got].filter(([key]) => key.endsWith(`last ${from}`)).flatMap(([, list]) => list)
        expect(last, `seed ${seed}: ${from} to ${to}`).toEqual([0, 1, 2])
        expect(ends.get(from)!.sessions.up()).toContain(to)
      }
      for (const end of all) {
        deaths += end.deaths.length
        expect(new Set(end.deaths).size, `seed ${seed}: a session ended twice`).toBe(end.deaths.length)
        for (const [key, list] of end.got) {
          reached += list.length
          const sorted = [...new Set(list)].sort((one, other) => one - other)
          expect(list, `seed ${seed}: ${key} out of order or repeated`).toEqual(sorted)
        }
      }
      for (const end of ends.values()) end.sessions.close()
      expect(sent.posted).toBeGreaterThan(0)
    }
    expect(deaths).toBeGreaterThan(SEEDS)
    expect(reached).toBeGreaterThan(SEEDS * 100)
  })

  it('of a node that can be heard but does not hear end on both sides', async () => {
    const world = simulatedWorld(1)
    const network = createSimulatedNetwork(world)
    const deaths: string[] = []
    const boot = (name: string): Sessions =>
      createSessions(world, network.link(name), timing, {
        opened() {},
        message() {},
        died: (session) => void deaths.push(`${name} lost ${session.node}`),
        refused() {},
      })
    const [a, b] = [boot('a'), boot('b')]
    a.with('b')
    await pass(world, 100)
    expect([a.up(), b.up()]).toEqual([['b'], ['a']])
    network.cut('a', 'b')
    await pass(world, timing.deadMs * 2 + timing.pingMs * 2)
    expect(deaths.sort()).toEqual(['a lost b', 'b lost a'])
    network.heal()
    a.with('b')
    await pass(world, 2_000)
    expect([a.up(), b.up()]).toEqual([['b'], ['a']])
  })

  it('end when the other does not acknowledge within the bounds', async () => {
    const world = simulatedWorld(1)
    const network = createSimulatedNetwork(world)
    const deaths: string[] = []
    const sessions = createSessions(world, network.link('a'), timing, {
      opened() {},
      message() {},
      died: (_session, detail) => void deaths.push(detail),
      refused() {},
    })
    const session = sessions.with('nobody')!
    let offered = 0
    while (session.offer('"x"')) offered++
    expect(offered).toBe(4_096)
    session.post('"x"')
    await pass(world, 1)
    expect(deaths).toEqual(['did not acknowledge what was sent to it'])
    expect(session.offer('"x"')).toBe(false)
    session.post('"x"')
    expect(sessions.with('nobody')).not.toBe(session)
    await pass(world, timing.deadMs * 2)
    expect(deaths).toHaveLength(2)
    // Nobody is left to be pinged: nothing more happens.
    expect(await world.run(() => false)).toBe(false)
  })
})

// Whole systems --------------------------------------------------------------------------------------------------------

describe('systems on several nodes', () => {
  beforeAll(async () => {
    await loadBehavior(ear.ref)
    await loadBehavior(supervisor.ref)
  })

  interface Cluster {
    readonly world: SimulatedWorld
    readonly network: ReturnType<typeof createSimulatedNetwork>
    boot(name: string): MortalSystem
  }

  function cluster(seed: number): Cluster {
    const world = simulatedWorld(seed)
    const network = createSimulatedNetwork(world, 20)
    return {
      world,
      network,
      boot: (name) =>
        createSimulatedSystem({
          world,
          log: silent,
          node: { link: network.link(name), behaviors: [ear.ref], ...timing },
        }),
    }
  }

  /** Lets virtual time pass until the promise is settled. */
  async function settled<T>(world: SimulatedWorld, promise: Promise<T>): Promise<T> {
    let over = false
    const done = promise.finally(() => {
      over = true
    })
    done.catch(() => {})
    await world.run(() => over)
    return done
  }
  const start = (world: SimulatedWorld, system: ActorSystem, id: string, key = id) =>
    settled(world, system.start(childOf(ear, { id, args: { key } })))

  it('tell of a death once, within the bound, and reject what was asked', async () => {
    const { world, boot } = cluster(3)
    const [a, b] = [boot('a'), boot('b')]
    await start(world, a, 'watcher')
    await start(world, b, 'it')
    a.ref('/watcher').tell({ watch: '//b/it' })
    expect(await settled(world, a.ref('//b/it').ask('get', 10_000))).toBe('/it')
    b.crash()
    const asked = a.ref('//b/it').ask('get', 60_000)
    const at = world.monotonic()
    await expect(settled(world, asked)).rejects.toMatchObject({ code: 'actor-gone' })
    expect(world.monotonic() - at).toBeLessThanOrEqual(timing.deadMs + timing.pingMs)
    await pass(world, 60_000)
    expect(heard.get('watcher')?.downs).toMatchObject([{ path: '//b/it', reason: { kind: 'lost' } }])
  })

  it('tell of a restarted node at once: it is another incarnation', async () => {
    const { world, boot } = cluster(4)
    const [a, b] = [boot('a'), boot('b')]
    await start(world, a, 'watcher')
    await start(world, b, 'it')
    a.ref('/watcher').tell({ watch: '//b/it' })
    await settled(world, a.ref('//b/it').ask('get', 10_000))
    b.crash()
    const again = boot('b')
    await start(world, again, 'it', 'it again')
    await pass(world, timing.pingMs + 100)
    expect(heard.get('watcher')?.downs).toMatchObject([{ path: '//b/it', reason: { kind: 'lost' } }])
    expect(await settled(world, a.ref('//b/it').ask('get', 10_000))).toBe('/it')
  })

  it('stop what a node had started that is cut off, and start it again when the cut heals, one at a time', async () => {
    const { world, network, boot } = cluster(5)
    const [a, b] = [boot('a'), boot('b')]
    const child = childOf(ear, { id: 'it', args: { key: 'placed' }, placement: { node: 'b' } })
    const args = { strategy: 'one-for-one' as const, intensity: { restarts: 100, periodMs: 60_000 }, children: [child] }
    await settled(world, a.start(childOf(supervisor, { id: 'top', args })))
    const guests = async (): Promise<string[]> => (await settled(world, b.tree(100))).map((root) => root.path)
    expect(await guests()).toEqual(['//a/top/it'])
    network.cut('a', 'b')
    network.cut('b', 'a')
    await pass(world, timing.deadMs * 2)
    expect(await guests()).toEqual([])
    network.heal()
    await pass(world, 30_000)
    expect(await guests()).toEqual(['//a/top/it'])
    expect(await settled(world, a.ref('/top/it').ask('get', 5_000))).toBe('//a/top/it')
    expect(a.counters.restarts).toBeGreaterThan(0)
  })

  it('keep their promises under loss, cuts and deaths', async () => {
    let lost = 0
    let answered = 0
    const refusals = new Set<string>()
    for (let seed = 1; seed <= SEEDS; seed++) {
      heard.clear()
      const { world, network, boot } = cluster(seed)
      const names = ['a', 'b', 'c']
      const systems = new Map<string, MortalSystem>()
      const lives = new Map<string, number>()
      const watchers: { key: string; path: string }[] = []
      /** A child on the next node, as often as it must. */
      const kidOf = (name: string) => {
        const node = names[(names.indexOf(name) + 1) % 3]!
        return childOf(ear, { id: 'kid', args: { key: `kid of ${name}${lives.get(name)}` }, placement: { node } })
      }
      const raise = async (name: string): Promise<void> => {
        const life = (lives.get(name) ?? 0) + 1
        lives.set(name, life)
        const system = boot(name)
        systems.set(name, system)
        await start(world, system, 'it', `${name}${life}`)
        const intensity = { restarts: 10_000, periodMs: 1_000 }
        const args = { strategy: 'one-for-one' as const, intensity, children: [] }
        await settled(world, system.start(childOf(supervisor, { id: 'top', args })))
        system.ref('/top').tell({ type: 'start-child', spec: kidOf(name) })
      }
      for (const name of names) await raise(name)
      network.lossy(world.random() * 0.2)
      let number = 0
      for (let step = 0; step < 120; step++) {
        const [from, to] = [names[world.pick(3)]!, names[world.pick(3)]!]
        const system = systems.get(from)!
        const chance = world.random()
        const target = system.ref(world.random() < 0.3 ? `//${to}/top/kid` : `//${to}/it`)
        if (chance < 0.02) {
          system.crash()
          await raise(from)
        } else if (chance < 0.04) network.cut(from, to)
        else if (chance < 0.07) network.heal()
        else if (chance < 0.5) target.tell({ number: ++number, from: `${from}${lives.get(from)} ${target.path}` })
        else if (chance < 0.8) {
          void target.ask('get', 3_000).then(
            () => answered++,
            (error) => void refusals.add(error.code),
          )
        } else {
          const id = `w${step}`
          await start(world, system, id, `${seed} ${id} ${from}${lives.get(from)}`)
          system.ref(`/${id}`).tell({ watch: target.path })
          watchers.push({ key: `${seed} ${id} ${from}${lives.get(from)}`, path: target.path })
        }
        await pass(world, world.random() * 500)
      }
      network.heal()
      network.lossy(0)
      await pass(world, 60_000)
      for (const name of names) {
        // A first start that failed was forgotten, as OTP has it.
        const again = systems
          .get(name)!
          .ref('/top')
          .ask({ type: 'start-child', spec: kidOf(name) }, 10_000)
        await settled(world, again).catch((error) => expect(error.code, `seed ${seed}`).toBe('child-exists'))
      }

      for (const name of names) {
        // Exactly one of each child that was placed elsewhere runs, and it answers.
        const path = await settled(world, systems.get(name)!.ref('/top/kid').ask('get', 5_000))
        expect(path, `seed ${seed}`).toBe(`//${name}/top/kid`)
        const next = names[(names.indexOf(name) + 1) % 3]!
        const roots = (await settled(world, systems.get(next)!.tree(100))).map((root) => root.path)
        expect(
          roots.filter((root) => root.startsWith('//')),
          `seed ${seed}`,
        ).toEqual([`//${name}/top/kid`])
      }
      // At most once and in order, from each life of each sender.
      for (const { numbers } of heard.values())
        for (const list of numbers.values())
          expect(list, `seed ${seed}`).toEqual([...new Set(list)].sort((one, other) => one - other))
      // Never twice; and after the end of everything that is watched, each has heard.
      const alive = watchers.filter(({ key }) => names.some((name) => key.endsWith(` ${name}${lives.get(name)}`)))
      for (const { key } of watchers) {
        const downs = heard.get(key)?.downs ?? []
        expect(downs.length, `seed ${seed}: ${key}`).toBeLessThanOrEqual(1)
        lost += downs.filter((down) => down.reason.kind === 'lost').length
      }
      // Those on a and b that watch c: it dies, and every one that had not heard yet hears now.
      systems.get('c')!.crash()
      await pass(world, 60_000)
      for (const { key, path } of alive) {
        if (!path.startsWith('//c/') || key.includes(` c${lives.get('c')}`)) continue
        expect(heard.get(key)?.downs.length, `seed ${seed}: ${key} watches ${path}`).toBe(1)
      }
      for (const name of ['a', 'b']) systems.get(name)!.crash()
    }
    expect(answered).toBeGreaterThan(SEEDS * 5)
    expect([...refusals].sort()).toEqual(['actor-gone', 'ask-timeout'])
    expect(lost).toBeGreaterThan(SEEDS)
  })
})
