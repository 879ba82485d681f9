import { expect, onTestFinished, test } from 'vitest'
import type { ActorSystem, Ref } from '../../src/actor/actor.js'
import { childOf } from '../../src/actor/child.js'
import { loadBehavior } from '../../src/actor/loader.js'
import { createSimulatedSystem } from '../../src/actor/simulated.js'
import { supervisor } from '../../src/actor/supervisor.js'
import { simulatedWorld } from '../../src/world/simulated.js'
import { bench, quick, until } from '../actor/harness.js'
import { silentLog } from './model.js'
import { type HolderMessage, holder, type UnitArgs, type UnitMessage, unit as unitBehavior } from './unit-behaviors.js'

function treeOf(system: ActorSystem, units: Record<string, UnitArgs>, startDeadline = 5_000) {
  const none = childOf(supervisor, { id: 'units', args: { strategy: 'one-for-one', children: [], ...quick } })
  const control = childOf(holder, { id: 'holder', args: { units, startDeadline } })
  const ref: Ref<HolderMessage> = system.ref('/node/holder')
  return {
    spec: childOf(supervisor, { id: 'node', args: { strategy: 'one-for-one', children: [none, control] } }),
    ref,
    ask: (message: HolderMessage) => ref.ask(message, 10_000),
  }
}

async function node(units: Record<string, UnitArgs>, startDeadline = 5_000) {
  const { system, records } = bench()
  onTestFinished(() => system.stop())
  const { spec, ref } = treeOf(system, units, startDeadline)
  await system.start(spec)
  return {
    records,
    start: (resource: string) => ref.ask({ do: 'start', resource }, 10_000),
    stop: (resource: string, deadlineMs = 5_000) => ref.ask({ do: 'stop', resource, deadlineMs }, 10_000),
    alive: (resource: string) => ref.ask({ do: 'alive', resource }, 10_000),
    closed: () => ref.ask<readonly string[]>({ do: 'closed' }, 10_000),
    ended: () => ref.ask<readonly string[]>({ do: 'ended' }, 10_000),
    unit: (resource: string): Ref<UnitMessage> => system.ref(`/node/units/${resource}/log`),
    async children(): Promise<string[]> {
      const [root] = await system.tree()
      return root!.children.find(({ id }) => id === 'units')!.children.map(({ id }) => id)
    },
  }
}

test('a unit that was started runs and answers, and is forgotten once it has been stopped', async () => {
  const { start, stop, alive, children } = await node({ 'part.key.1': { startMs: 20 } })
  expect(await alive('part.key.1')).toBe(false)
  expect(await start('part.key.1')).toBe('runs')
  expect(await alive('part.key.1')).toBe(true)
  await stop('part.key.1')
  expect(await alive('part.key.1')).toBe(false)
  expect(await children()).toEqual([])
  expect(await start('part.key.1')).toBe('runs')
})

test('starting what runs already finds it at work', async () => {
  const { start, children } = await node({ 'reader.db': {} })
  await start('reader.db')
  expect(await start('reader.db')).toBe('runs')
  expect(await children()).toEqual(['reader.db'])
})

test('a unit that cannot start says why, and is not tried again behind our back', async () => {
  const { start, children } = await node({ 'reader.db': { failStart: true } })
  await expect(start('reader.db')).rejects.toThrow('the server is away')
  expect(await children()).toEqual([])
})

test('a start that does not end in time fails and is taken back', async () => {
  const { start, children } = await node({ 'reader.db': { startMs: 2_000 } }, 50)
  await expect(start('reader.db')).rejects.toMatchObject({ code: 'ask-timeout' })
  await until(async () => (await children()).length === 0)
})

test('a stop ends at its deadline, and stopping what is not there is no error', async () => {
  const { start, stop, children, records } = await node({ 'reader.db': { stopMs: 500 } })
  await stop('reader.db')
  await start('reader.db')
  expect(await stop('reader.db', 20)).toBe('stopped')
  expect(records.some(({ message }) => message.includes('was still stopping at its deadline'))).toBe(true)
  await until(async () => (await children()).length === 0)
})

test('what is still stopping is not taken for running', async () => {
  const { start, stop, alive } = await node({ 'reader.db': { stopMs: 500 } })
  await start('reader.db')
  await stop('reader.db', 20)
  await expect(start('reader.db')).rejects.toMatchObject({ code: 'unit-busy' })
  await until(() => start('reader.db').catch(() => false) as Promise<true | false>)
  expect(await alive('reader.db')).toBe(true)
})

test('a unit is stopped while it is still starting', async () => {
  const { start, stop, children } = await node({ 'reader.db': { startMs: 1_000 } })
  const starting = start('reader.db').catch(() => 'failed')
  await until(async () => (await children()).length === 1)
  expect(await stop('reader.db')).toBe('stopped')
  await starting
  expect(await children()).toEqual([])
})

test('who answers false, or is being restarted, gives no proof of life', async () => {
  const { start, alive, unit } = await node({ 'reader.db': {} })
  await start('reader.db')
  await unit('reader.db').ask({ type: 'mute' }, 1_000)
  expect(await alive('reader.db')).toBe(false)
  unit('reader.db').tell({ type: 'crash' })
  await until(() => alive('reader.db').then((yes) => yes === true))
})

test('the end of a unit that was not asked to end is told with its reason, each time; that of a stopped one is not', async () => {
  const { start, stop, unit, children, ended } = await node({ 'reader.db': {}, 'part.key.1': {} })
  await start('part.key.1')
  await start('reader.db')
  for (let times = 1; times <= 2; times++) {
    unit('reader.db').tell({ type: 'fence' })
    await until(async () => (await ended()).length === times)
    expect((await ended()).at(-1)).toMatch(/^reader.db: .*another has sealed/)
    await until(async () => !(await children()).includes('reader.db'))
    await start('reader.db')
  }
  // Its own supervisor starts it again.
  unit('reader.db').tell({ type: 'crash' })
  await stop('part.key.1')
  await stop('reader.db')
  await start('reader.db')
  expect(await ended()).toHaveLength(2)
})

test('what is closed with nothing left is told before the unit is gone, and what is closed otherwise is not', async () => {
  const { start, stop, children, closed } = await node({
    'part.key.1': { closeMs: 1, stopMs: 1_000 },
    'part.key.2': { closeMs: 1, clean: false },
  })
  await start('part.key.1')
  await start('part.key.2')
  const stopping = stop('part.key.1')
  await until(async () => (await closed()).length === 1)
  expect(await children()).toContain('part.key.1')
  await Promise.all([stopping, stop('part.key.2')])
  expect(await closed()).toEqual(['part.key.1'])
})

test('what was closed and never stopped is not taken for running, but stopped and started anew', async () => {
  const { start, alive, unit } = await node({ 'part.key.1': { closeMs: 1 } })
  await start('part.key.1')
  await unit('part.key.1').ask({ type: 'close' }, 1_000)
  await expect(start('part.key.1')).rejects.toMatchObject({ code: 'unit-busy' })
  await until(() => start('part.key.1').catch(() => false) as Promise<true | false>)
  expect(await alive('part.key.1')).toBe(true)
})

test('closing a unit and stopping it take no longer together than the deadline of the stop', async () => {
  await Promise.all([supervisor, holder, unitBehavior].map(({ ref }) => loadBehavior(ref)))
  const world = simulatedWorld(1)
  const system = createSimulatedSystem({ world, log: silentLog })
  async function over<T>(promise: Promise<T>): Promise<T> {
    let done = false
    const end = (): void => {
      done = true
    }
    promise.then(end, end)
    await world.run(() => done)
    return promise
  }
  const { spec, ask } = treeOf(system, { 'part.key.1': { closeMs: 800, stopMs: 1_500 } })
  await over(system.start(spec))
  await over(ask({ do: 'start', resource: 'part.key.1' }))
  const before = world.monotonic()
  await over(ask({ do: 'stop', resource: 'part.key.1', deadlineMs: 1_000 }))
  expect(world.monotonic() - before).toBeLessThan(1_100)
})

test('a resource without a plan cannot be started', async () => {
  const { start } = await node({})
  await expect(start('reader.other')).rejects.toMatchObject({ code: 'unknown-resource', permanent: true })
})
