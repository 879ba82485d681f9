/** What a thread's death means: a `Down`, a rejected question, a restart; never the end of the host. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ActorSystem, ChildSpec, Ref } from '../../src/actor/actor.js'
import { childOf } from '../../src/actor/child.js'
import { isActorGone } from '../../src/actor/failure.js'
import { supervisor } from '../../src/actor/supervisor.js'
import { type CounterMessage, counter, probe } from './behaviors.js'
import { type Bench, bench, quick, until } from './harness.js'

describe('a thread', () => {
  let rig: Bench
  let system: ActorSystem
  let ear: Ref

  beforeEach(async () => {
    rig = bench(32)
    system = rig.system
    ear = await system.start(childOf(probe, { id: 'ear', args: null }))
  })
  afterEach(() => system.stop(5_000))

  const placed = (id: string, thread: string, args = {}): ChildSpec =>
    childOf(counter, { id, args, placement: { thread }, shutdownMs: 300 })
  const top = (children: readonly ChildSpec[]): Promise<Ref> =>
    system.start(childOf(supervisor, { id: 'top', args: { strategy: 'one-for-one', ...quick, children } }))
  const downs = (): Promise<{ path: string; kind: string; detail: string }[]> => ear.ask('downs', 1_000)
  const get = (path: string): Promise<unknown> => system.ref(path).ask('get', 2_000)
  const answers = (path: string): Promise<unknown> =>
    until(() =>
      get(path).then(
        () => true,
        () => false,
      ),
    )

  const deaths: readonly [CounterMessage, RegExp][] = [
    ['uncaught', /uncaught: Error: thrown past the actor/],
    ['unhandled', /uncaught: Error: rejected past the actor/],
    ['oom', /out of memory/],
  ]
  it.each(deaths)(
    'that dies of %s is told to watchers as lost, with the reason, and its actors are restarted',
    async (death, detail) => {
      await top([placed('a', 't'), placed('b', 't'), placed('other', 'u')])
      for (const path of ['/top/a', '/top/b']) await ear.ask({ watch: path }, 1_000)
      await get('/top/b')
      system.ref('/top/other').tell('add')
      const pending = get('/top/a').catch((error) => error)
      const hanging = system
        .ref('/top/b')
        .ask('hang', 60_000)
        .catch((error) => error)
      await pending
      system.ref('/top/a').tell(death)
      expect(isActorGone(await hanging)).toBe(true)
      const told = await until(async () => {
        const now = await downs()
        return now.length === 2 && now
      })
      for (const down of told) {
        expect(down.kind).toBe('lost')
        expect(down.detail).toMatch(detail)
      }
      await answers('/top/a')
      await answers('/top/b')
      expect(await get('/top/other')).toBe(1)
      expect(await downs()).toHaveLength(2)
    },
  )

  it('that is killed is started again on demand, under the same name', async () => {
    await top([placed('a', 't')])
    expect(system.killThread('t')).toBe(true)
    await until(() => rig.records.some((record) => record.fields.report === 'thread'))
    await answers('/top/a')
    expect(system.threads()).toEqual(['t'])
    expect(system.killThread('nobody')).toBe(false)
  })

  it('is shared by the actors that name it', async () => {
    await top([placed('a', 't'), placed('b', 't')])
    expect(system.threads()).toEqual(['t'])
    const tree = await system.tree()
    expect(tree[1]?.children.map((node) => node.thread)).toEqual(['t', 't'])
  })

  it('that holds a supervisor takes its whole subtree along, children on other threads included', async () => {
    await top([
      childOf(supervisor, {
        id: 'sub',
        placement: { thread: 't' },
        args: {
          strategy: 'rest-for-one',
          ...quick,
          children: [childOf(counter, { id: 'near', args: {} }), placed('far', 'u', { report: '/ear' })],
        },
      }),
    ])
    system.ref('/top/sub/far').tell('add')
    expect(await get('/top/sub/far')).toBe(1)
    system.killThread('t')
    await until(async () => (await ear.ask<string[]>('seen', 1_000)).length === 3)
    expect(await ear.ask('seen', 1_000)).toEqual([
      'started /top/sub/far',
      'stopped /top/sub/far',
      'started /top/sub/far',
    ])
    await answers('/top/sub/near')
    expect(await get('/top/sub/far')).toBe(0)
    expect(system.counters.restarts).toBe(1)
  })

  it('that is stuck in a loop is ended when its actors must stop', async () => {
    await top([placed('a', 't')])
    await system
      .ref('/top/a')
      .ask('spin', 100)
      .catch(() => {})
    await system.stop()
    expect(system.threads()).toEqual([])
    expect(rig.records.some((record) => /did not answer/.test(String(record.fields.reason)))).toBe(true)
  })

  it('that is stuck is shown as lost in the tree, within the deadline', async () => {
    await top([placed('a', 't'), placed('b', 'u')])
    system.ref('/top/a').tell('spin')
    const tree = await system.tree(200)
    expect(tree[1]?.children).toMatchObject([
      { id: 'a', state: 'ended', thread: 't', lastError: expect.stringMatching(/^lost/) },
      { id: 'b', state: 'running', thread: 'u' },
    ])
    system.killThread('t')
  })

  it('is told by the host that its actor must stop: in order, with what was sent before', async () => {
    await system.start(placed('a', 't'))
    for (let i = 0; i < 100; i++) system.ref('/a').tell('add')
    expect(await get('/a')).toBe(100)
  })

  it('gets what can be cloned; what cannot is refused alone', async () => {
    await system.start(placed('a', 't'))
    const ref = system.ref('/a')
    ref.tell('add')
    const refused = ref.ask({ echo: () => {} }, 2_000).catch((error: Error) => error)
    ref.tell('add')
    expect(((await refused) as Error).name).toBe('DataCloneError')
    expect(await get('/a')).toBe(2)
    expect(system.counters.deadLetters).toBe(1)
  })

  it('refuses messages beyond what its link holds', async () => {
    await system.start(placed('a', 't'))
    const ref = system.ref('/a')
    ref.tell('spin')
    let refused = 0
    for (let i = 0; i < 70_000; i++) if (!ref.tell('add')) refused++
    expect(refused).toBeGreaterThan(4_000)
    await expect(ref.ask('get', 1_000)).rejects.toMatchObject({ code: 'link-full' })
    system.killThread('t')
    await system.ended('/a')
  })
})
