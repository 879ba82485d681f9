/** Actors of two nodes over a real NATS server, one of them in a process that is killed. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { ActorSystem, Ref } from '../../src/actor/actor.js'
import { childOf } from '../../src/actor/child.js'
import { isActorGone } from '../../src/actor/failure.js'
import { supervisor } from '../../src/actor/supervisor.js'
import { type NatsServer, startNats } from '../../src/servers/index.js'
import { connectNats, type NatsLink } from '../../src/wire/nats/connect.js'
import { natsNodeLink } from '../../src/wire/nats/node-transport.js'
import { realWorld } from '../../src/world/real.js'
import { counter, probe } from '../actor/behaviors.js'
import { type Bench, bench, quick, until } from '../actor/harness.js'

const entry = fileURLToPath(new URL('../../dist/test/wire/node-process.js', import.meta.url))
const log = { debug() {}, info() {}, warn() {}, error() {} }

describe('nodes over NATS', () => {
  let server: NatsServer
  const connections: NatsLink[] = []
  const benches: Bench[] = []
  const processes: ChildProcess[] = []

  beforeAll(async () => {
    server = await startNats()
  })
  afterEach(async () => {
    for (const child of processes.splice(0)) child.kill('SIGKILL')
    for (const { system } of benches.splice(0)) await system.stop(5_000)
    for (const connection of connections.splice(0)) await connection.close()
  })
  afterAll(() => server.stop())

  async function node(name: string, deadMs = 2_000): Promise<ActorSystem> {
    const nats = await connectNats({ servers: server.url, name: `troupe.test.${name}`, world: realWorld, log })
    connections.push(nats)
    const link = natsNodeLink(nats, { pipeline: 'test', node: name })
    const made = bench(64, { link, behaviors: [counter.ref, probe.ref], pingMs: 100, deadMs })
    benches.push(made)
    return made.system
  }

  async function process(name: string): Promise<ChildProcess> {
    const child = spawn(globalThis.process.execPath, [entry, server.url, name], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    processes.push(child)
    await once(child.stdout!, 'data')
    return child
  }

  const downsOf = (ear: Ref): Promise<{ path: string; kind: string; detail: string }[]> => ear.ask('downs', 5_000)

  it('tell, ask and watch; a node that is killed is a Down, once, and every question to it is rejected', async () => {
    const a = await node('a')
    const ear = await a.start(childOf(probe, { id: 'ear', args: null, placement: { thread: 'worker' } }))
    const b = await process('b')
    const it = a.ref('//b/it')
    it.tell('add')
    it.tell('add')
    expect(await it.ask('get', 10_000)).toBe(42)
    const kid = childOf(counter, { id: 'kid', args: { from: 7 }, placement: { node: 'b' } })
    const intensity = { restarts: 1_000, periodMs: 60_000 }
    const args = { strategy: 'one-for-one' as const, ...quick, intensity, children: [kid] }
    await a.start(childOf(supervisor, { id: 'top', args }))
    expect(await a.ref('/top/kid').ask('path', 10_000)).toBe('//a/top/kid')
    for (const path of ['//b/it', '/top/kid']) await ear.ask({ watch: path }, 5_000)
    // From the thread of the ear, so that its watches went before.
    expect(await ear.ask({ ask: '//b/it', message: 'get', deadlineMs: 10_000 }, 10_000)).toBe(42)
    const hanging = it.ask('hang', 60_000).catch((error: unknown) => error)
    const behind = a
      .ref('//b/it')
      .ask('get', 60_000)
      .catch((error: unknown) => error)

    b.kill('SIGKILL')
    expect(isActorGone(await hanging)).toBe(true)
    expect(isActorGone(await behind)).toBe(true)
    const told = await until(async () => {
      const now = await downsOf(ear)
      return now.length === 2 && now
    })
    expect(told.map(({ path, kind }) => `${path} ${kind}`).sort()).toEqual(['//b/it lost', '/top/kid lost'])

    await process('b')
    expect(
      await until(
        () =>
          a
            .ref('/top/kid')
            .ask('get', 1_000)
            .catch(() => undefined),
        20_000,
      ),
    ).toBe(7)
    expect(await it.ask('get', 10_000)).toBe(40)
    expect(await downsOf(ear)).toHaveLength(2)
  })

  it('that are paused for too long are gone, and come back as another incarnation', async () => {
    const a = await node('a')
    const ear = await a.start(childOf(probe, { id: 'ear', args: null }))
    const b = await process('b')
    a.ref('//b/it').tell('add')
    expect(await a.ref('//b/it').ask('get', 10_000)).toBe(41)
    await ear.ask({ watch: '//b/it' }, 5_000)
    expect(await a.ref('//b/it').ask('get', 10_000)).toBe(41)
    b.kill('SIGSTOP')
    const hanging = a.ref('//b/it').ask('get', 60_000)
    await expect(hanging).rejects.toMatchObject({ code: 'actor-gone' })
    b.kill('SIGCONT')
    // The process and its actor live; the watch was told, and is told no more.
    expect(
      await until(
        () =>
          a
            .ref('//b/it')
            .ask('get', 1_000)
            .catch(() => undefined),
        20_000,
      ),
    ).toBe(41)
    expect(await downsOf(ear)).toMatchObject([{ path: '//b/it', kind: 'lost' }])
  })

  it('lose nothing that must arrive while the server restarts, if that is shorter than their patience', async () => {
    const [a, b] = [await node('a', 60_000), await node('b', 60_000)]
    const ear = await a.start(childOf(probe, { id: 'ear', args: null }))
    await b.start(childOf(counter, { id: 'it', args: {} }))
    expect(await a.ref('//b/it').ask('get', 10_000)).toBe(0)
    await server.kill()
    await until(() => connections.every((connection) => !connection.connected))
    await ear.ask({ watch: '//b/it' }, 5_000)
    expect(a.ref('//b/it').tell('add')).toBe(false)
    await expect(a.ref('//b/it').ask('get', 5_000)).rejects.toMatchObject({ code: 'link-full' })
    b.ref('/it').tell('exit')
    await b.ended('/it')
    await server.restart()
    const told = await until(async () => {
      const now = await downsOf(ear)
      return now.length > 0 && now
    }, 30_000)
    // It had ended before the watch arrived.
    expect(told).toMatchObject([{ path: '//b/it', kind: 'lost', detail: 'no such actor runs' }])
    expect(a.nodes()).toEqual(['b'])
  })
})
