/** What every actor may rely on, wherever it is placed: the same promises on every placement. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ActorSystem, Placement, Ref, SupervisorArgs } from '../../src/actor/actor.js'
import { childOf } from '../../src/actor/child.js'
import { isTroupeError } from '../../src/actor/failure.js'
import { supervisor } from '../../src/actor/supervisor.js'
import type { TroupeError } from '../../src/world/error.js'
import { type CounterArgs, counter, probe, sequence } from './behaviors.js'
import { type Bench, bench, loopback, quick, until } from './harness.js'

/** Where an actor runs, and what stands before its path where it runs. */
const placements: readonly [string, Placement, string][] = [
  ['inline', 'inline', ''],
  ['on a thread', { thread: 'worker' }, ''],
  ['on another node', { node: 'b' }, '//a'],
  ['on a thread of another node', { node: 'b', thread: 'worker' }, '//a'],
]

describe.each(placements)('an actor %s', (_name, placement, home) => {
  const away = home !== ''
  let rig: Bench
  let system: ActorSystem
  let there: ActorSystem
  let ear: Ref

  beforeEach(async () => {
    const link = loopback()
    const behaviors = [counter.ref, probe.ref, sequence.ref, { ...counter.ref, export: 'nobody' }]
    rig = bench(64, { link: link('a') })
    system = rig.system
    there = away ? bench(64, { link: link('b'), behaviors }).system : system
    ear = await system.start(childOf(probe, { id: 'ear', args: null }))
  })
  afterEach(async () => {
    await system.stop(5_000)
    await there.stop(5_000)
  })

  const start = (args: CounterArgs = {}, id = 'it'): Promise<Ref> =>
    system.start(childOf(counter, { id, args, placement, shutdownMs: 300 }))
  const tree = (args: Partial<SupervisorArgs>): Promise<Ref> =>
    system.start(childOf(supervisor, { id: 'top', args: { strategy: 'one-for-one', ...quick, children: [], ...args } }))
  const errorOf = (promise: Promise<unknown>): Promise<TroupeError> =>
    promise.then(
      () => expect.fail('should have been rejected'),
      (error) => error,
    )
  const seen = (): Promise<string[]> => ear.ask('seen', 1_000)
  const downs = (): Promise<{ path: string; kind: string; detail: string }[]> => ear.ask('downs', 1_000)

  it('answers what it is asked, and handles what it was told before', async () => {
    const ref = await start({ from: 40 })
    ref.tell('add')
    ref.tell('add')
    expect(await ref.ask('get', 1_000)).toBe(42)
    expect(await ref.ask('async', 1_000)).toBe(42)
    expect(await ref.ask('path', 1_000)).toBe(`${home}/it`)
  })

  it('gets bytes as bytes, and every number as it was', async () => {
    const ref = await start()
    const echo = [new Uint8Array([1, 2]), 3n, -(2n ** 80n), new Date(5), { $: 'n', v: 'x' }, null, [[]], 'ü', 0.1]
    expect(await ref.ask({ echo }, 1_000)).toEqual(echo)
    const odd = [Number.NaN, Number.NEGATIVE_INFINITY, -0, undefined]
    expect(await ref.ask({ echo: odd }, 1_000)).toEqual(odd)
  })

  it(`${away ? 'is refused shared memory, which ends at a node' : 'gets shared memory as shared memory'}`, async () => {
    const ref = await start()
    const shared = new SharedArrayBuffer(4)
    const answer = ref.ask<{ shared: SharedArrayBuffer }>({ echo: { shared } }, 1_000)
    if (away) return await expect(answer).rejects.toMatchObject({ code: 'not-sendable' })
    new Uint8Array((await answer).shared)[0] = 7
    expect(new Uint8Array(shared)[0]).toBe(7)
  })

  it('gets thousands of messages of one sender in order', async () => {
    await system.start(
      childOf(sequence, { id: 'sequence', args: null, placement, mailbox: { capacity: 20_010 }, shutdownMs: 300 }),
    )
    const refused = await ear.ask({ tell: '/sequence', times: 20_000 }, 5_000)
    expect(refused).toBe(0)
    const state = await until(async () => {
      const now = await system.ref('/sequence').ask<{ next: number; ordered: boolean }>('state', 10_000)
      return now.next === 20_000 && now
    })
    expect(state.ordered).toBe(true)
  })

  it('drops what its mailbox cannot hold, and counts it', async () => {
    await system.start(
      childOf(counter, { id: 'small', args: {}, placement, mailbox: { capacity: 10 }, shutdownMs: 50 }),
    )
    const small = system.ref('/small')
    await errorOf(small.ask('hang', 20))
    for (let i = 0; i < 100; i++) small.tell('add')
    await until(() => there.counters.deadLetters === 90)
    expect((await errorOf(small.ask('get', 1_000))).code).toBe('mailbox-full')
  })

  it('fails when its mailbox is full, if its spec says so', async () => {
    await system.start(
      childOf(counter, { id: 's', args: {}, placement, mailbox: { capacity: 3, full: 'fail' }, shutdownMs: 50 }),
    )
    system.ref('/s').tell('hang')
    for (let i = 0; i < 10; i++) system.ref('/s').tell('add')
    const reason = await system.ended('/s')
    expect(reason).toMatchObject({ kind: 'error', error: { code: 'mailbox-full' } })
  })

  it('does not answer in time: the question is rejected with ask-timeout', async () => {
    const ref = await start()
    expect(await errorOf(ref.ask('hang', 30))).toMatchObject({ code: 'ask-timeout', place: '/it' })
  })

  it('ends with what it throws; who asked gets that error, who waits is told that it is gone', async () => {
    const ref = await start()
    const failing = errorOf(ref.ask('throw', 1_000))
    const waiting = errorOf(ref.ask('get', 1_000))
    expect(await failing).toMatchObject({ name: 'RangeError', message: 'asked to throw' })
    expect((await failing).stack).toContain('behaviors')
    expect((await waiting).code).toBe('actor-gone')
    expect(await system.ended('/it')).toMatchObject({ kind: 'error', error: { message: 'asked to throw' } })
    expect((await errorOf(ref.ask('get', 1_000))).code).toBe('actor-gone')
  })

  it('refuses a question with an error and lives on', async () => {
    const ref = await start()
    const error = await errorOf(ref.ask('refuse', 1_000))
    expect(isTroupeError(error)).toBe(true)
    expect(error).toMatchObject({ code: 'refused', remedy: 'ask tomorrow', permanent: false })
    expect(await ref.ask('get', 1_000)).toBe(0)
  })

  it('rejects: that ends it like a throw', async () => {
    const ref = await start()
    ref.tell('reject')
    expect(await system.ended('/it')).toMatchObject({ kind: 'error', error: { message: 'asked to reject' } })
  })

  it('exits by itself: the reason is normal, and stop was called', async () => {
    const ref = await start({ report: '/ear' })
    ref.tell('exit')
    expect(await system.ended('/it')).toEqual({ kind: 'normal' })
    await until(async () => (await seen()).includes(`stopped ${home}/it`))
  })

  it('that cannot start rejects its start with its own error', async () => {
    expect(await errorOf(start({ failStart: 'error' }))).toMatchObject({ message: 'cannot start' })
    expect(await errorOf(start({ failStart: 'permanent' }, 'other'))).toMatchObject({ code: 'wrong', permanent: true })
  })

  it('of an unknown module or export gives a clear error', async () => {
    const lost = { module: counter.ref.module, export: 'nobody' }
    const error = await errorOf(system.start({ id: 'it', behavior: lost, args: null, placement }))
    expect(error).toMatchObject({ code: 'no-behavior', permanent: true })
  })

  it('is told exactly once when what it watches ends', async () => {
    const ref = await start()
    ear.tell({ watch: '/it' })
    ear.tell({ watch: '/it' })
    await ear.ask('seen', 1_000)
    await ref.ask('get', 1_000)
    ref.tell('throw')
    await until(async () => (await downs()).length > 0)
    await system.start(childOf(counter, { id: 'it', args: {}, placement }))
    system.ref('/it').tell('exit')
    await system.ended('/it')
    expect(await downs()).toEqual([{ path: '/it', kind: 'error', detail: 'asked to throw' }])
  })

  it('watches from where it is placed', async () => {
    const near = await system.start(childOf(probe, { id: 'near', args: null, placement, shutdownMs: 300 }))
    await start({}, 'it')
    await system.start(childOf(counter, { id: 'far', args: {}, placement: { thread: 'far' } }))
    for (const path of ['/it', '/far', '/nobody']) await near.ask({ watch: path }, 1_000)
    await near.ask({ watch: '/far' }, 1_000)
    system.ref('/it').tell('exit')
    system.killThread('far')
    const all = await until(async () => {
      const now = await near.ask<{ path: string; kind: string }[]>('downs', 1_000)
      return now.length >= 3 && now
    })
    expect(all.map((down) => `${down.path} ${down.kind}`).sort()).toEqual([
      `${home}/far lost`,
      `${home}/it normal`,
      `${home}/nobody lost`,
    ])
  })

  it('hears nothing more of what it no longer watches', async () => {
    const ref = await start()
    await ear.ask({ watch: '/it' }, 1_000)
    await ref.ask('get', 1_000)
    await ear.ask({ unwatch: '/it' }, 1_000)
    await ref.ask('get', 1_000)
    ref.tell('exit')
    await system.ended('/it')
    expect(await downs()).toEqual([])
  })

  it('hears that nobody is there', async () => {
    await ear.ask({ watch: '/nobody' }, 1_000)
    await until(async () => (await downs()).length > 0)
    expect((await downs())[0]).toMatchObject({ path: '/nobody', kind: 'lost' })
    expect((await errorOf(system.ref('/nobody').ask('x', 1_000))).code).toBe('actor-gone')
  })

  it('has its children end before it, and hears of their failures', async () => {
    const parent = await system.start(childOf(probe, { id: 'parent', args: null, placement, shutdownMs: 300 }))
    const child = childOf(counter, { id: 'child', args: { report: '/ear' }, shutdownMs: 300 })
    expect(await parent.ask({ spawn: child }, 5_000)).toBe(`${home}/parent/child`)
    system.ref('/parent/child').tell('throw')
    const told = await until(async () => {
      const now = await parent.ask<{ path: string }[]>('downs', 1_000)
      return now.length > 0 && now
    })
    expect(told).toMatchObject([{ path: `${home}/parent/child`, kind: 'error' }])
    await parent.ask({ spawn: child }, 5_000)
    await parent.ask({ stopChild: 'child' }, 5_000)
    await parent.ask({ spawn: child }, 5_000)
    expect(await parent.ask('downs', 1_000)).toHaveLength(1)
  })

  it('spawns a child on another thread, which goes with it', async () => {
    const parent = await system.start(childOf(probe, { id: 'parent', args: null, placement, shutdownMs: 300 }))
    const far = childOf(counter, { id: 'far', args: { report: '/ear' }, placement: { thread: 'far' } })
    await parent.ask({ spawn: far }, 5_000)
    expect(await parent.ask({ ask: './far', message: 'path', deadlineMs: 1_000 }, 5_000)).toBe(`${home}/parent/far`)
    expect(there.threads()).toContain('far')
    const top = await system.tree()
    const node = top.find((root) => root.path === '/parent')
    expect(node?.children).toMatchObject([{ path: '/parent/far', thread: away ? '//b/far' : 'far', state: 'running' }])
    await system.stop()
    await there.stop()
    expect(there.threads()).toEqual([])
  })

  it('keeps one timer for each key, and none after a cancel', async () => {
    const timed = await system.start(childOf(probe, { id: 'timed', args: null, placement, shutdownMs: 300 }))
    timed.tell({ timer: { key: 'a', ms: 1, message: 'replaced' } })
    timed.tell({ timer: { key: 'a', ms: 5, message: 'kept' } })
    timed.tell({ timer: { key: 'b', ms: 1, message: 'cancelled' } })
    timed.tell({ cancel: 'b' })
    timed.tell({ timer: { key: 'c', ms: 40, message: 'last' } })
    await until(async () => (await timed.ask<unknown[]>('seen', 1_000)).includes('last'))
    expect(await timed.ask('seen', 1_000)).toEqual(['kept', 'last'])
  })

  it('that never finishes a message is killed at its deadline', async () => {
    const ref = await start({ report: '/ear' })
    await errorOf(ref.ask('hang', 20))
    const began = performance.now()
    await system.stop()
    expect(await system.ended('/it')).toMatchObject({ kind: 'killed' })
    expect(performance.now() - began).toBeLessThan(3_000)
  })

  it('whose stop never returns is killed at its deadline', async () => {
    await start({ stopMs: 'never' })
    await system.stop()
    expect(await system.ended('/it')).toMatchObject({ kind: 'killed' })
  })

  it('is restarted by its supervisor under the same path', async () => {
    await tree({ children: [childOf(counter, { id: 'it', args: {}, placement })] })
    const ref = system.ref('/top/it')
    ref.tell('add')
    expect(await ref.ask('get', 1_000)).toBe(1)
    ref.tell('throw')
    await until(() =>
      ref
        .ask('get', 1_000)
        .then((count) => count === 0)
        .catch(() => false),
    )
    expect(system.counters.restarts).toBe(1)
    const [, top] = await system.tree()
    expect(top?.children).toMatchObject([{ id: 'it', restarts: 1, lastError: 'asked to throw', state: 'running' }])
    const report = rig.records.find((record) => record.fields.report === 'supervisor')
    expect(report?.fields).toMatchObject({
      supervisor: '/top',
      context: 'child-terminated',
      reason: 'asked to throw',
      child: { id: 'it', restart: 'permanent' },
    })
  })

  it('fails too often: its supervisor gives up, and says why', async () => {
    await tree({
      children: [childOf(counter, { id: 'it', args: {}, placement })],
      intensity: { restarts: 2, periodMs: 30_000 },
    })
    const over = system.ended('/top')
    const ref = system.ref('/top/it')
    for (let i = 0; i < 3; i++) {
      await until(() =>
        ref
          .ask('get', 1_000)
          .then(() => true)
          .catch(() => false),
      )
      ref.tell('throw')
      await ref.ask('get', 1_000).catch(() => {})
    }
    expect(await over).toMatchObject({ kind: 'error', error: { code: 'restart-intensity' } })
  })

  it('says that no restart can help: it is escalated at once', async () => {
    await tree({
      children: [
        childOf(supervisor, {
          id: 'middle',
          placement,
          args: { strategy: 'one-for-one', ...quick, children: [childOf(counter, { id: 'it', args: {} })] },
        }),
      ],
    })
    system.ref('/top/middle/it').tell('permanent')
    expect(await system.ended('/top')).toMatchObject({ kind: 'error', error: { code: 'wrong', permanent: true } })
    expect(system.counters.restarts).toBe(0)
  })

  it('starts in order and stops in reverse order', async () => {
    const child = (id: string) => childOf(counter, { id, args: { report: '/ear' }, placement })
    const top = await tree({ children: [child('a'), child('b')] })
    await top.ask({ type: 'start-child', spec: child('c') }, 5_000)
    await top.ask({ type: 'restart-child', id: 'a' }, 5_000)
    await top.ask({ type: 'stop-child', id: 'b' }, 5_000)
    expect((await errorOf(top.ask({ type: 'stop-child', id: 'b' }, 5_000))).code).toBe('unknown-child')
    expect((await errorOf(top.ask({ type: 'start-child', spec: child('c') }, 5_000))).code).toBe('child-exists')
    expect((await errorOf(top.ask({ type: 'start-child', spec: child('no/id') }, 5_000))).code).toBe('bad-child-id')
    const history = (await seen()).map((it) => it.replace(`${home}/top/`, ''))
    expect(history).toEqual(['started a', 'started b', 'started c', 'stopped a', 'started a', 'stopped b'])
  })

  it('whose sibling cannot start is stopped again, and the start of both fails', async () => {
    const error = await errorOf(
      tree({
        children: [
          childOf(counter, { id: 'a', args: { report: '/ear' }, placement }),
          childOf(counter, { id: 'b', args: { failStart: 'error' }, placement }),
        ],
      }),
    )
    expect(error.message).toBe('cannot start')
    expect(await seen()).toEqual([`started ${home}/top/a`, `stopped ${home}/top/a`])
    expect(await system.ended('/top')).toMatchObject({ kind: 'error' })
  })
})
