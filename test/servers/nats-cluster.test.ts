import { existsSync } from 'node:fs'
import { expect, onTestFinished, test, vi } from 'vitest'
import { copyStore, outdatedNats, runningServers, startNats, startNatsCluster } from '../../src/servers/index.js'
import { connectNats, type NatsLink } from '../../src/wire/nats/connect.js'
import { callJetStream } from '../../src/wire/nats/jetstream-api.js'
import type { Logger } from '../../src/world/logger.js'
import { realWorld } from '../../src/world/real.js'

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} }

async function linkTo(url: string): Promise<NatsLink> {
  const link = await connectNats({ servers: url, name: 'troupe.test', world: realWorld, log: silent })
  onTestFinished(() => link.close())
  return link
}

interface StreamAnswer {
  readonly config: { readonly num_replicas: number }
  readonly state: { readonly messages: number; readonly last_seq: number }
  readonly cluster?: {
    readonly leader: string
    readonly replicas?: readonly { readonly name: string; readonly current: boolean }[]
  }
}

async function api(link: NatsLink, subject: string, body?: object): Promise<StreamAnswer> {
  const question = { subject, ...(body === undefined ? {} : { body }), deadlineMs: 10_000 }
  const answer = await callJetStream<StreamAnswer>(link, question)
  if (!answer.ok) throw new Error(answer.error.description)
  return answer.value
}

async function publish(link: NatsLink, subject: string): Promise<void> {
  const reply = await link.request({ subject, payload: new Uint8Array(1), deadlineMs: 10_000 })
  expect(reply.kind).toBe('reply')
}

test('a cluster of three keeps a stream while one is killed, takes it in again, and leaves nothing', async () => {
  const cluster = await startNatsCluster({ syncInterval: 'always' })
  onTestFinished(() => cluster.stop())
  const { servers, url } = cluster
  expect(servers.map(({ name }) => name)).toEqual(['n1', 'n2', 'n3'])
  expect(servers.map((server) => server.url).join()).toBe(url)
  const link = await linkTo(url)
  const made = await api(link, 'STREAM.CREATE.T', { name: 'T', subjects: ['t.>'], storage: 'file', num_replicas: 3 })
  expect([made.config.num_replicas, made.cluster?.replicas?.length]).toEqual([3, 2])
  await publish(link, 't.1')

  // The one that leads is missed most.
  const killed = servers.find(({ name }) => name === made.cluster?.leader)!
  const { port, pid } = killed
  await killed.kill()
  expect(killed.running).toBe(false)
  await vi.waitFor(() => publish(link, 't.2'), 20_000)
  expect((await api(link, 'STREAM.INFO.T')).cluster?.leader).not.toBe(killed.name)

  await killed.restart()
  expect([killed.port, killed.pid === pid]).toEqual([port, false])
  await cluster.ready()
  await vi.waitFor(async () => {
    const { replicas = [] } = (await api(link, 'STREAM.INFO.T')).cluster ?? {}
    expect(replicas.map(({ current }) => current)).toEqual([true, true])
  }, 20_000)
  expect((await api(link, 'STREAM.INFO.T')).state.messages).toBeGreaterThanOrEqual(2)
  expect(servers).toContain(await cluster.leader())

  await cluster.stop()
  const mine = servers.map((server) => server.port)
  expect(runningServers().filter((record) => mine.includes(record.port))).toEqual([])
  expect(servers.filter(({ directory }) => existsSync(directory))).toEqual([])
}, 90_000)

test('a cluster that is asked for before all its servers run says what is missing', async () => {
  const cluster = await startNatsCluster()
  onTestFinished(() => cluster.stop())
  await cluster.servers[1]!.kill()
  await expect(cluster.ready(50)).rejects.toMatchObject({
    code: 'server-not-ready',
    message: expect.stringContaining('n2 does not run'),
  })
}, 60_000)

test('a store that is put back has lost its tail', async () => {
  const server = await startNats({ syncInterval: 'always' })
  onTestFinished(() => server.stop())
  const before = await linkTo(server.url)
  await api(before, 'STREAM.CREATE.T', { name: 'T', subjects: ['t.>'], storage: 'file' })
  for (const n of [1, 2, 3]) await publish(before, `t.${n}`)
  const copy = await copyStore(server)
  for (const n of [4, 5]) await publish(before, `t.${n}`)
  await expect(copy.putBackStore()).rejects.toMatchObject({ code: 'server-running' })
  await before.close()
  await server.kill()
  await copy.putBackStore()
  await server.restart()
  const after = await linkTo(server.url)
  expect((await api(after, 'STREAM.INFO.T')).state).toMatchObject({ messages: 3, last_seq: 3 })
})

test('a real NATS that is too old is refused, not used in silence', async ({ skip }) => {
  const program = await outdatedNats()
  if (typeof program === 'string') {
    console.warn(
      `SKIPPED: no NATS older than 2.12 on this machine, so a refusal by a real one was not seen: ${program}`,
    )
    return skip(program)
  }
  const server = await startNats({ program })
  onTestFinished(() => server.stop())
  await expect(linkTo(server.url)).rejects.toMatchObject({
    code: 'nats-too-old',
    exitCode: 2,
    message: expect.stringContaining(program.version),
  })
}, 120_000)
