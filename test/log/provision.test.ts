import { createServer } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { streamNames } from '../../src/log/jetstream/names.js'
import { createNatsStream } from '../../src/log/jetstream/nats-stream.js'
import { leastPrivileges, type ProvisionOptions, provisionStream } from '../../src/log/jetstream/provision.js'
import { startNats } from '../../src/servers/nats.js'
import type { NatsLink } from '../../src/wire/nats/connect.js'
import type { Logger } from '../../src/world/logger.js'
import { until } from '../actor/harness.js'
import { api, linkTo, message, server, silent } from './nats-harness.js'

const names = streamNames('shop')
const MiB = 1024 * 1024

function provision(link: NatsLink, over: Partial<ProvisionOptions> = {}) {
  return provisionStream(link, names, { maxBytes: 256 * MiB, provision: true, log: silent, place: 'cluster', ...over })
}

const refusal = (made: Promise<unknown>) => made.then(() => null).catch((error) => error)

test('a stream is created once, on a single server with one replica, and that is said aloud', async () => {
  const link = await linkTo((await server()).url)
  const said: string[] = []
  const log: Logger = { ...silent, warn: (_, text) => said.push(text) }
  expect(await provision(link, { log })).toEqual({ created: true, replicas: 1, maxBytes: 256 * MiB })
  expect(await provision(link, { log })).toEqual({ created: false, replicas: 1, maxBytes: 256 * MiB })
  expect(await provision(link, { log, provision: false })).toMatchObject({ created: false })
  expect(said.filter((text) => text.includes('one replica'))).toHaveLength(3)
  const stream = createNatsStream(link, names, { log: silent })
  const outcome = await stream.commit(
    [message(names.frames('key', 0)), message(names.reader('db'), 'ck', { expect: 0, rollup: true })],
    5_000,
  )
  expect(outcome).toMatchObject({ kind: 'committed' })
})

test('nodes that start at once make one stream', async () => {
  const { url } = await server()
  const links = await Promise.all([1, 2, 3, 4].map(() => linkTo(url)))
  const made = await Promise.all(links.map((link) => provision(link)))
  expect(made.every((one) => one.replicas === 1)).toBe(true)
})

test('a stream that differs is reported field by field and left as it is', async () => {
  const link = await linkTo((await server()).url)
  await api(link, `STREAM.CREATE.${names.stream}`, {
    name: names.stream,
    subjects: ['troupe.shop.evt.>'],
    storage: 'memory',
    max_age: 3_600_000_000_000,
    no_ack: true,
  })
  const before = await api(link, `STREAM.INFO.${names.stream}`)
  const error = await refusal(provision(link, { replicas: 1 }))
  expect(error).toMatchObject({ code: 'stream-differs', exitCode: 2, permanent: true, place: 'cluster' })
  for (const part of [
    'subjects is troupe.shop.evt.>, wanted troupe.shop.ck.> troupe.shop.evt.> troupe.shop.ob.>',
    'storage is memory, wanted file',
    'discard is old, wanted new',
    'max_age is 3600000000000, wanted 0',
    `max_bytes is -1, wanted ${256 * MiB}`,
    'allow_atomic is not set, wanted true',
    'allow_rollup_hdrs is false, wanted true',
    'allow_msg_ttl is false, wanted true',
    'no_ack is true, wanted not set',
  ])
    expect(error.message).toContain(part)
  expect(error.message).not.toContain('num_replicas')
  const after = await api(link, `STREAM.INFO.${names.stream}`)
  expect(after.ok && after.value.config).toEqual(before.ok && before.value.config)
})

test('another size or number of replicas is a difference too', async () => {
  const link = await linkTo((await server()).url)
  await provision(link)
  expect((await refusal(provision(link, { maxBytes: 512 * MiB }))).message).toContain(
    `max_bytes is ${256 * MiB}, wanted ${512 * MiB}`,
  )
  expect((await refusal(provision(link, { replicas: 3 }))).message).toContain('num_replicas is 1, wanted 3')
})

test('a stream that covers our subjects is found before anything is created', async () => {
  const link = await linkTo((await server()).url)
  await api(link, 'STREAM.CREATE.OTHER', { name: 'OTHER', subjects: ['troupe.*.ck.>'] })
  const error = await refusal(provision(link))
  expect(error).toMatchObject({ code: 'stream-overlap', exitCode: 2 })
  expect(error.message).toContain("'troupe.shop.ck.>' is covered by OTHER")
  const list = await api(link, 'STREAM.NAMES')
  expect(list.ok && list.value.streams).toEqual(['OTHER'])
})

test('without provisioning a missing stream is an error whose remedy makes it', async () => {
  const link = await linkTo((await server()).url)
  const error = await refusal(provision(link, { provision: false, replicas: 1 }))
  expect(error).toMatchObject({ code: 'stream-missing', exitCode: 2 })
  const [, subject, body] = /nats request '([^']+)' '(.+)'$/.exec(error.remedy)!
  await api(link, subject!.replace('$JS.API.', ''), JSON.parse(body!))
  expect(await provision(link, { provision: false, replicas: 1 })).toMatchObject({ created: false })
})

test('the documented least of privileges is enough to run, and not to create', async () => {
  const { publish, subscribe } = leastPrivileges('shop', names, '_INBOX_node')
  const list = (subjects: readonly string[]) => `[${subjects.map((one) => JSON.stringify(one)).join(', ')}]`
  const least = `{ publish: ${list(publish)}, subscribe: ${list(subscribe)} }`
  const users = `[{ user: admin, password: p }, { user: node, password: p, permissions: ${least} }]`
  const nats = await server({ settings: { authorization: `{ users: ${users} }` } })
  const errors: object[] = []
  const node = await linkTo(`nats://node:p@127.0.0.1:${nats.port}?inbox=_INBOX_node`, {
    log: { ...silent, error: (fields) => errors.push(fields) },
  })
  expect(await refusal(provision(node, { provision: false }))).toMatchObject({ code: 'stream-missing' })
  expect(await refusal(provision(node))).toMatchObject({
    code: 'nats-denied',
    message: expect.stringContaining('STREAM.NAMES'),
  })
  await provision(await linkTo(`nats://admin:p@127.0.0.1:${nats.port}`))
  errors.length = 0
  expect(await provision(node, { provision: false })).toMatchObject({ created: false })
  const stream = createNatsStream(node, names, { log: silent })
  const subject = names.frames('key', 0)
  const batch = [message(subject), message(subject), message(names.reader('db'), 'ck', { expect: 0, rollup: true })]
  expect(await stream.commit(batch, 5_000)).toMatchObject({ kind: 'committed' })
  expect((await stream.last(names.reader('db'), 5_000))?.sequence).toBe(3)
  expect(await stream.subjects(names.processors, 5_000)).toEqual([])
  let seen = 0
  const reading = stream.read({ subject, from: 1, window: 1_000, message: () => seen++, resumed() {}, failed() {} })
  await until(() => seen === 2)
  reading.stop()
  await stream.purge(subject, 3, 5_000)
  expect((await stream.state(5_000)).messages).toBe(1)
  expect(errors).toEqual([])
})

test('a log that is too small, or larger than is allowed, and messages that are too small are refused', async () => {
  const accounts = `{ A { jetstream { max_file: ${100 * MiB}, max_streams: 2 }, users: [{ user: a, password: a }] } }`
  const nats = await server({ settings: { accounts } })
  const link = await linkTo(`nats://a:a@127.0.0.1:${nats.port}`)
  expect(await refusal(provision(link, { maxBytes: 10 * MiB }))).toMatchObject({
    code: 'stream-too-small',
    exitCode: 2,
  })
  expect(await refusal(provision(link, { maxBytes: Number.POSITIVE_INFINITY }))).toMatchObject({
    code: 'stream-too-small',
  })
  expect(await refusal(provision(link))).toMatchObject({ code: 'stream-limits', exitCode: 2 })
  for (const name of ['X', 'Y']) await api(link, `STREAM.CREATE.${name}`, { name, subjects: [name], max_bytes: 1_000 })
  expect(await refusal(provision(link, { maxBytes: 64 * MiB }))).toMatchObject({
    code: 'stream-limits',
    message: expect.stringContaining('10027'),
  })
  const small = await linkTo((await server({ settings: { max_payload: '65536' } })).url)
  expect(await refusal(provision(small))).toMatchObject({ code: 'max-payload-too-small', exitCode: 2 })
})

test('three replicas that a single server shall keep are refused', async () => {
  const link = await linkTo((await server()).url)
  expect(await refusal(provision(link, { replicas: 3 }))).toMatchObject({ code: 'stream-peers', exitCode: 2 })
})

async function freePort(): Promise<number> {
  const socket = createServer()
  await new Promise<void>((done) => socket.listen(0, '127.0.0.1', done))
  const { port } = socket.address() as { port: number }
  await new Promise((done) => socket.close(done))
  return port
}

/** Servers of one cluster, or what they are before they know each other. */
async function cluster(count: number) {
  const ports = await Promise.all(Array.from({ length: count }, freePort))
  const routes = ports.map((port) => `"nats://127.0.0.1:${port}"`).join(', ')
  const servers = await Promise.all(
    ports.map((port) =>
      startNats({ settings: { cluster: `{ name: test, listen: "127.0.0.1:${port}", routes: [${routes}] }` } }),
    ),
  )
  onTestFinished(async () => {
    await Promise.all(servers.map((one) => one.stop()))
  })
  return servers
}

test('on three servers the log has three replicas, reads go on when one of them is killed, and a stale fence is refused', async () => {
  const servers = await cluster(3)
  const link = await linkTo(servers.map((one) => one.url).join(','))
  expect(await provision(link)).toMatchObject({ created: true, replicas: 3 })
  const stream = createNatsStream(link, names, { log: silent })
  const subject = names.frames('key', 0)
  const seen: number[] = []
  const reading = stream.read({
    subject,
    from: 1,
    window: 64 * 1024,
    message: ({ payload }) => {
      seen.push(Number(Buffer.from(payload).toString()))
      reading.credit(payload.length)
    },
    resumed() {},
    failed: (error) => seen.push(Number(error)),
  })
  onTestFinished(() => reading.stop())
  let fence = 0
  let sent = 0
  /** As a writer does it: what is not clear is read before it is written again. */
  const append = async () => {
    const text = `${sent + 1}`
    const ck = message(names.reader('db'), text, { expect: fence, rollup: true })
    const outcome = await stream.commit([message(subject, text), ck], 2_000)
    if (outcome.kind === 'committed') fence = outcome.sequence
    else {
      expect(['retry', 'ambiguous', 'fenced']).toContain(outcome.kind)
      const last = await stream.last(names.reader('db'), 20_000)
      fence = last?.sequence ?? 0
      if (Buffer.from(last?.payload ?? []).toString() !== text) return
    }
    sent++
  }
  while (sent < 20) await append()
  const victim = servers.find((one) => link.connection.getServer().endsWith(`:${one.port}`))!
  await victim.kill()
  while (sent < 40) await append()
  await until(() => seen.length >= sent, 20_000)
  expect(seen).toEqual(Array.from({ length: sent }, (_, n) => n + 1))
  expect(await stream.commit([message(names.reader('db'), 'x', { expect: fence - 1, rollup: true })], 5_000)).toEqual({
    kind: 'fenced',
  })
  // The third is away: a new log must not get a single replica for it.
  const other = streamNames('other')
  const made = await provisionStream(link, other, { maxBytes: 64 * MiB, provision: true, log: silent }).catch(
    (error) => error.code,
  )
  expect([3, 'stream-peers']).toContain(made.replicas ?? made)
}, 60_000)

test('a cluster of which the URL names three servers and two are there gets no log of one replica', async () => {
  const servers = await cluster(2)
  const link = await linkTo([...servers.map((one) => one.url), 'nats://127.0.0.1:1'].join(','))
  expect(await refusal(provision(link))).toMatchObject({ code: 'stream-peers', exitCode: 2 })
  expect(await provision(link, { replicas: 1 })).toMatchObject({ created: true, replicas: 1 })
}, 60_000)

test('on two servers, which cannot outlive each other, the log has one replica', async () => {
  const servers = await cluster(2)
  const link = await linkTo(servers.map((one) => one.url).join(','))
  expect(await provision(link)).toMatchObject({ created: true, replicas: 1 })
}, 60_000)
