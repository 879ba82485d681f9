/** What crosses the border between nodes, and what does not. Links in this process; node-transport.test.ts has real ones. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ActorSystem, BehaviorRef, Ref } from '../../src/actor/actor.js'
import { childOf } from '../../src/actor/child.js'
import { isActorGone } from '../../src/actor/failure.js'
import { MAX_BYTES, type NodeLink } from '../../src/actor/node/link.js'
import { globalPath, localPath, resolvePath } from '../../src/actor/path.js'
import { supervisor } from '../../src/actor/supervisor.js'
import type { TroupeError } from '../../src/world/error.js'
import { counter, hermit, probe } from './behaviors.js'
import { type Bench, bench, loopback, quick, until } from './harness.js'

describe('a path', () => {
  it('stays on the node that its base names, unless it names another', () => {
    expect(resolvePath('/top/it', '../log')).toBe('/top/log')
    expect(resolvePath('/top/it', '//b/log')).toBe('//b/log')
    expect(resolvePath('//a/top/it', '../log')).toBe('//a/top/log')
    expect(resolvePath('//a/top/it', '/log')).toBe('//a/log')
    expect(resolvePath('//a/top/it', '//b/./x/../log')).toBe('//b/log')
    expect(resolvePath('//a/it', '../../..')).toBe('//a/')
  })

  it('leaves its own node out at home and names it elsewhere', () => {
    expect(localPath('a', '//a/top')).toBe('/top')
    expect(localPath('a', '//ab/top')).toBe('//ab/top')
    expect(globalPath('a', '/top')).toBe('//a/top')
    expect(globalPath(undefined, '/top')).toBe('/top')
  })
})

describe('two nodes', () => {
  let links: ReturnType<typeof loopback>
  let benches: Bench[]
  let a: ActorSystem
  let b: ActorSystem
  let ear: Ref

  const quickly = { pingMs: 50, deadMs: 400 }
  const node = (
    name: string,
    behaviors: readonly BehaviorRef[] = [counter.ref, probe.ref, hermit.ref],
  ): ActorSystem => {
    const made = bench(64, { link: links(name), behaviors, ...quickly })
    benches.push(made)
    return made.system
  }
  beforeEach(async () => {
    links = loopback()
    benches = []
    a = node('a')
    b = node('b')
    ear = await a.start(childOf(probe, { id: 'ear', args: null }))
  })
  afterEach(async () => {
    for (const { system } of benches) await system.stop(5_000)
  })

  const errorOf = (promise: Promise<unknown>): Promise<TroupeError> =>
    promise.then(
      () => expect.fail('should have been rejected'),
      (error) => error,
    )
  const downs = (): Promise<{ path: string; kind: string; detail: string }[]> => ear.ask('downs', 1_000)
  const told = (count: number) =>
    until(async () => {
      const now = await downs()
      return now.length >= count && now
    })

  it('tell, ask and watch each other by name', async () => {
    await b.start(childOf(counter, { id: 'it', args: { from: 40 } }))
    const ref = a.ref('//b/it')
    expect(ref.path).toBe('//b/it')
    expect(ref.tell('add')).toBe(true)
    ref.tell('add')
    expect(await ref.ask('get', 5_000)).toBe(42)
    await ear.ask({ watch: '//b/it' }, 1_000)
    await ref.ask('get', 5_000)
    ref.tell('throw')
    expect(await told(1)).toEqual([{ path: '//b/it', kind: 'error', detail: 'asked to throw' }])
    expect(isActorGone(await errorOf(ref.ask('get', 5_000)))).toBe(true)
    expect(a.nodes()).toEqual(['b'])
    expect(b.nodes()).toEqual(['a'])
  })

  it('reach each other from worker threads, and the actors on them', async () => {
    await b.start(childOf(counter, { id: 'it', args: { from: 7 }, placement: { thread: 'deep' } }))
    const near = await a.start(childOf(probe, { id: 'near', args: null, placement: { thread: 'worker' } }))
    expect(await near.ask({ ask: '//b/it', message: 'get', deadlineMs: 5_000 }, 5_000)).toBe(7)
    await near.ask({ watch: '//b/it' }, 1_000)
    expect(await near.ask({ ask: '//b/it', message: 'get', deadlineMs: 5_000 }, 5_000)).toBe(7)
    b.killThread('deep')
    const heard = await until(async () => {
      const now = await near.ask<{ path: string; kind: string }[]>('downs', 1_000)
      return now.length > 0 && now
    })
    expect(heard).toMatchObject([{ path: '//b/it', kind: 'lost' }])
  })

  it('know themselves by their own name, and each other by an address', async () => {
    await a.start(childOf(counter, { id: 'it', args: { from: 1 } }))
    expect(a.ref('//a/it').path).toBe('/it')
    expect(await a.ref('//a/it').ask('get', 1_000)).toBe(1)
  })

  it('refuse messages for an actor that declares no check for them, and say so', async () => {
    const recluse = await b.start(childOf(hermit, { id: 'hermit', args: null }))
    expect(await recluse.ask('echo', 1_000)).toBe('echo')
    const error = await errorOf(a.ref('//b/hermit').ask('echo', 5_000))
    expect(error).toMatchObject({ code: 'not-reachable', permanent: true })
    const before = b.counters.deadLetters
    a.ref('//b/hermit').tell('echo')
    await until(() => b.counters.deadLetters === before + 1)
    expect(await recluse.ask('echo', 1_000)).toBe('echo')
  })

  it('refuse a message that does not pass the check of its actor, who lives on', async () => {
    await b.start(childOf(counter, { id: 'it', args: {} }))
    const error = await errorOf(a.ref('//b/it').ask({ drop: 'tables' }, 5_000))
    expect(error).toMatchObject({ code: 'bad-message', place: '/it' })
    expect(error.message).toContain("node 'a'")
    a.ref('//b/it').tell(17)
    await until(() => b.counters.deadLetters === 2)
    expect(await a.ref('//b/it').ask('get', 5_000)).toBe(0)
    expect(benches[1]?.records.some((record) => record.fields.report === 'border')).toBe(true)
  })

  it('refuse at once what cannot be sent: too large, or no data', async () => {
    await b.start(childOf(counter, { id: 'it', args: {} }))
    const ref = a.ref('//b/it')
    const large = await errorOf(ref.ask({ echo: 'x'.repeat(MAX_BYTES) }, 5_000))
    expect(large.code).toBe('message-too-large')
    const ring: unknown[] = []
    ring.push(ring)
    for (const odd of [() => {}, new Map(), ring, Symbol('x'), new SharedArrayBuffer(1)])
      expect((await errorOf(ref.ask({ echo: odd }, 5_000))).code).toBe('not-sendable')
    expect(a.counters.deadLetters).toBe(6)
    const most = 'x'.repeat(MAX_BYTES - 2_048)
    expect(await ref.ask({ echo: most }, 10_000)).toBe(most)
  })

  it('answer with an error when the answer cannot be sent', async () => {
    await b.start(childOf(probe, { id: 'p', args: null }))
    const child = childOf(counter, { id: 'c', args: {} })
    await a.ref('//b/p').ask({ spawn: child }, 5_000)
    const huge = { ask: './c', message: { echo: 'ü'.repeat(400_000) }, deadlineMs: 1_000 }
    expect(await a.ref('//b/p').ask(huge, 10_000)).toHaveLength(400_000)
    for (let i = 0; i < 3; i++) a.ref('//b/p').tell({ event: 'x'.repeat(500_000) })
    expect((await errorOf(a.ref('//b/p').ask('seen', 10_000))).code).toBe('message-too-large')
  })

  it('drop and count whatever comes over the link and is no frame, and live on', async () => {
    await b.start(childOf(counter, { id: 'it', args: {} }))
    expect(await a.ref('//b/it').ask('get', 5_000)).toBe(0)
    const stranger: NodeLink = links('x')
    const good = (body: string): string => `["troupe/1","x","0123456789abcdef.1","",0,0,${body}]`
    const junk = [
      '',
      'no json',
      '[]',
      '{"a":1}',
      '['.repeat(100_000),
      '["troupe/2","x","0123456789abcdef.1","",0,0,null]',
      '["troupe/1","b","0123456789abcdef.1","",0,0,null]',
      '["troupe/1","x/y","0123456789abcdef.1","",0,0,null]',
      '["troupe/1","x","nonsense","",0,0,null]',
      '["troupe/1","x","0123456789abcdef.1","",-1,0,null]',
      good('{"__proto__":{"polluted":1}}'),
      good('{"$":"n","v":"1e9"}'),
      good('{"$":"zz","v":"1"}'),
      'x'.repeat(MAX_BYTES + 1),
    ]
    const before = b.counters.deadLetters
    for (const text of junk) stranger.send('b', Buffer.from(text))
    stranger.send('b', Buffer.from([0xff, 0xfe, 0, 1]))
    await until(() => b.counters.deadLetters === before + junk.length + 1)
    expect(({} as { polluted?: number }).polluted).toBeUndefined()
    expect(await a.ref('//b/it').ask('get', 5_000)).toBe(0)
  })

  it('drop and count what a node says that makes no sense, and keep the session', async () => {
    await b.start(childOf(counter, { id: 'it', args: {} }))
    // A node that shakes hands and then talks nonsense.
    const liar = links('liar')
    let ends: { mine: string } | undefined
    liar.listen((bytes) => {
      const [, , mine] = JSON.parse(Buffer.from(bytes).toString()) as [string, string, string]
      ends ??= { mine }
    })
    const say = (theirs: string, seq: number, body: unknown): void =>
      liar.send('b', Buffer.from(JSON.stringify(['troupe/1', 'liar', '00000000000000aa.1', theirs, 0, seq, body])))
    say('', 0, null)
    const { mine } = await until(() => ends)
    const nonsense: unknown[] = [
      7,
      { type: 'format-disk' },
      { type: 'constructor' },
      { type: 'user', to: '/it', message: 'add' },
      { type: 'user', to: '//b/it', message: 'add', ask: { origin: 5, id: 1 } },
      { type: 'answer', origin: 'main#0', id: -1, outcome: { ok: true } },
      { type: 'down', token: 'main#0/1', reason: { kind: 'bored' } },
      { type: 'start', path: '//liar/x', run: 'one', spec: {} },
    ]
    const before = b.counters.deadLetters
    nonsense.forEach((body, at) => void say(mine, -1 - at, body))
    await until(() => b.counters.deadLetters === before + nonsense.length)
    // An answer that was not asked for, and the end of what it does not hold: heard by nobody.
    const pending = b.ref('//a/ear').ask('seen', 5_000)
    for (let id = 0; id < 20; id++)
      say(mine, -100 - id, { type: 'answer', origin: 'main#0', id, outcome: { ok: true, value: 'forged' } })
    expect(await pending).toEqual([])
    // A spec that is wrong is answered, and starts nothing.
    say(mine, 1, { type: 'start', path: '//b/evil', run: 1, spec: { id: 'evil', behavior: probe.ref, args: null } })
    say(mine, 2, { type: 'start', path: '//liar/x', run: 2, spec: { id: 'y', behavior: probe.ref, args: null } })
    say(mine, 3, {
      type: 'start',
      path: '//liar/fs',
      run: 3,
      spec: { id: 'fs', behavior: { module: 'node:fs', export: 'rmSync' }, args: null },
    })
    await until(() =>
      benches[1]?.records.some((record) => /behavior-not-registered/.test(String(record.fields.reason))),
    )
    expect((await b.tree()).map((root) => root.path)).toEqual(['/it'])
    liar.close()
  })

  describe('with children placed on the other', () => {
    const remote = { node: 'b' }

    it('start only what that node has registered, with arguments that pass its check', async () => {
      const from = (behavior: BehaviorRef, args: unknown) =>
        errorOf(a.start({ id: 'x', behavior, args, placement: remote }))
      expect(await from(hermit.ref, null)).toMatchObject({ code: 'not-startable', permanent: true })
      expect(await from(probe.ref, 'nonsense')).toMatchObject({ code: 'bad-arguments', permanent: true })
      const unknown = { module: 'node:fs', export: 'rmSync' }
      expect(await from(unknown, null)).toMatchObject({ code: 'behavior-not-registered', permanent: true })
      const inside = childOf(supervisor, {
        id: 'sup',
        placement: remote,
        args: { strategy: 'one-for-one', children: [{ id: 'x', behavior: unknown, args: null }] },
      })
      expect(await errorOf(a.start(inside))).toMatchObject({ code: 'behavior-not-registered' })
      expect(await b.tree()).toEqual([])
      expect(b.counters.deadLetters).toBe(0)
    })

    it('refuse a spec that cannot be sent, and one for no node', async () => {
      const spec = (args: unknown, placement: object) =>
        a.start({ id: 'x', behavior: probe.ref, args, placement: placement as { node: string } })
      expect((await errorOf(spec(() => {}, remote))).code).toBe('not-sendable')
      expect((await errorOf(spec(null, { node: 'no/name' }))).code).toBe('bad-child-spec')
      const alone = bench()
      benches.push(alone)
      const error = await errorOf(alone.system.start({ id: 'x', behavior: probe.ref, args: null, placement: remote }))
      expect(error.code).toBe('no-such-node')
      expect(isActorGone(await errorOf(alone.system.ref('//b/x').ask('get', 5_000)))).toBe(true)
    })

    it('show them in the tree of both', async () => {
      await a.start(
        childOf(supervisor, {
          id: 'sup',
          placement: remote,
          args: { strategy: 'one-for-one', children: [childOf(counter, { id: 'c', args: { from: 3 } })] },
        }),
      )
      const [, top] = await a.tree()
      expect(top).toMatchObject({ path: '/sup', kind: 'supervisor', thread: '//b/main', state: 'running' })
      expect(top?.children).toMatchObject([{ path: '/sup/c', thread: '//b/main', detail: { count: 3 } }])
      const [guest] = await b.tree()
      expect(guest).toMatchObject({ path: '//a/sup', thread: 'main', children: [{ path: '//a/sup/c' }] })
    })

    it('are reached by a third node through the one whose names they bear', async () => {
      const c = node('c')
      await a.start(childOf(counter, { id: 'it', args: { from: 5 }, placement: remote }))
      expect(await c.ref('//a/it').ask('get', 5_000)).toBe(5)
      const watcher = await c.start(childOf(probe, { id: 'w', args: null }))
      await watcher.ask({ watch: '//a/it' }, 1_000)
      await c.ref('//a/it').ask('get', 5_000)
      c.ref('//a/it').tell('exit')
      const heard = await until(async () => {
        const now = await watcher.ask<{ path: string; kind: string }[]>('downs', 1_000)
        return now.length > 0 && now
      })
      expect(heard).toMatchObject([{ path: '//a/it', kind: 'normal' }])
      expect(isActorGone(await errorOf(c.ref('//a/nobody').ask('get', 5_000)))).toBe(true)
    })

    it('place theirs on a third node, never back on the first', async () => {
      const c = node('c')
      const parent = await a.start(childOf(probe, { id: 'parent', args: null, placement: remote }))
      const far = childOf(counter, { id: 'far', args: { from: 9 }, placement: { node: 'c' } })
      expect(await parent.ask({ spawn: far }, 5_000)).toBe('//a/parent/far')
      expect(await a.ref('/parent/far').ask('get', 5_000)).toBe(9)
      expect((await c.tree()).map((root) => root.path)).toEqual(['//a/parent/far'])
      const home = await a.start(childOf(probe, { id: 'other', args: null, placement: remote }))
      const back = childOf(counter, { id: 'back', args: {}, placement: { node: 'a' } })
      expect((await errorOf(home.ask({ spawn: back }, 5_000))).code).toBe('bad-child-spec')
    })
  })

  describe('of which one goes', () => {
    it('with a goodbye: the other knows at once, and stops what it had started', async () => {
      await b.start(childOf(counter, { id: 'it', args: {} }))
      await b.start(childOf(counter, { id: 'guest', args: {}, placement: { node: 'a' } }))
      await ear.ask({ watch: '//b/it' }, 1_000)
      const hanging = errorOf(a.ref('//b/it').ask('hang', 60_000))
      await until(() => a.nodes().includes('b'))
      expect((await a.tree()).map((root) => root.path)).toEqual(['/ear', '//b/guest'])
      await b.stop(200)
      expect(isActorGone(await hanging)).toBe(true)
      await told(1)
      await until(async () => (await a.tree()).length === 1)
      expect(a.nodes()).toEqual([])
    })

    it('without a word, or never was there: lost within the bound, once, and restarted when it returns', async () => {
      const deaf = links('c')
      await ear.ask({ watch: '//c/it' }, 1_000)
      const asked = errorOf(a.ref('//c/it').ask('get', 60_000))
      a.ref('//c/it').tell('add')
      expect(await told(1)).toMatchObject([{ path: '//c/it', kind: 'lost' }])
      expect(isActorGone(await asked)).toBe(true)
      expect(a.counters.deadLetters).toBe(2)
      deaf.close()

      const top = childOf(supervisor, {
        id: 'top',
        args: {
          strategy: 'one-for-one',
          backoff: quick.backoff!,
          intensity: { restarts: 1_000, periodMs: 30_000 },
          children: [childOf(counter, { id: 'it', args: { from: 1 }, placement: { node: 'b' } })],
        },
      })
      await a.start(top)
      await ear.ask({ watch: '/top/it' }, 1_000)
      a.ref('/top/it').tell('add')
      expect(await a.ref('/top/it').ask('get', 5_000)).toBe(2)
      // A process of the same name takes its place: another incarnation.
      const again = node('b')
      const back = await until(() =>
        a
          .ref('/top/it')
          .ask('get', 500)
          .then(
            (count) => count === 1,
            () => false,
          ),
      )
      expect(back).toBe(true)
      expect((await again.tree()).map((root) => root.path)).toEqual(['//a/top/it'])
      expect((await downs()).filter((down) => down.path === '/top/it')).toMatchObject([{ kind: 'lost' }])
    })
  })
})
