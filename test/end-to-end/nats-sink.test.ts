/** Redis in, a JetStream stream out; an older checkpoint of the pipeline is put back, and the sink's alone decides. */
import { cpSync, rmSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createNatsStream } from '../../src/log/jetstream/nats-stream.js'
import { type NatsServer, startNats } from '../../src/servers/nats.js'
import { connectNats, type NatsLink } from '../../src/wire/nats/connect.js'
import { callJetStream } from '../../src/wire/nats/jetstream-api.js'
import { realWorld } from '../../src/world/real.js'
import { endOf } from '../log/nats-harness.js'
import { type Rig, startRig, until } from './rig.js'

const silent = { debug() {}, info() {}, warn() {}, error() {} }
let rig: Rig
let nats: NatsServer
let link: NatsLink

beforeAll(async () => {
  ;[rig, nats] = await Promise.all([startRig(), startNats()])
  link = await connectNats({ servers: nats.url, name: 'test', world: realWorld, log: silent })
})
afterAll(async () => {
  await link?.close()
  await Promise.all([rig?.stop(), nats?.stop()])
})

test('events arrive in the stream once, in the order of each key, also where the pipeline has only an older checkpoint', async () => {
  const made = await callJetStream(link, {
    subject: 'STREAM.CREATE.ORDERS',
    body: {
      name: 'ORDERS',
      subjects: ['orders.>', 'troupe-ck.orders.copy.>'],
      storage: 'file',
      allow_atomic: true,
      allow_rollup_hdrs: true,
      allow_msg_ttl: true,
    },
    deadlineMs: 10_000,
  })
  expect(made.ok).toBe(true)
  const definition = rig.define({
    name: 'orders',
    partitions: 2,
    threads: 1,
    sources: { clicks: { kind: 'redis-streams', url: rig.redis.url, streams: ['orders-in'], keyField: 'user' } },
    processors: {
      copy: {
        guarantee: 'exactly-once',
        sink: { kind: 'nats', url: nats.url, stream: 'ORDERS', subject: 'orders.{entity}.{key}' },
      },
    },
  })
  const stream = createNatsStream(link, { stream: 'ORDERS' }, { log: silent })
  const arrived = async (): Promise<[string, number][]> => {
    const last = await endOf(link, 'ORDERS')
    const found: [string, number][] = []
    for (let sequence = 1; sequence <= last; sequence++) {
      const message = await stream.at(sequence, 5_000)
      if (message === null || !message.subject.startsWith('orders.')) continue
      const { after } = JSON.parse(Buffer.from(message.payload).toString()) as { after: { n: string } }
      found.push([message.subject, Number(after.n)])
    }
    return found
  }
  const data = definition.dataDirectory
  const older = `${data}-older`
  let written = 0
  for (let life = 1; life <= 3; life++) {
    const running = await rig.run(definition)
    for (let n = 0; n < 60; n++)
      await rig.commands.xadd('orders-in', '*', 'user', `u${written % 5}`, 'n', String(written++))
    await until('everything arrives', async () => (await arrived()).length >= written)
    await running.stop()
    if (life === 1) cpSync(data, older, { recursive: true })
    // Next time everything since the first life is read again, and the sink knows what it has.
    rmSync(data, { recursive: true })
    cpSync(older, data, { recursive: true })
  }
  const all = await arrived()
  expect(all.map(([, n]) => n).sort((a, b) => a - b)).toEqual(Array.from({ length: written }, (_, n) => n))
  for (let user = 0; user < 5; user++) {
    const own = all.filter(([subject]) => subject === `orders.orders-in.u${user}`).map(([, n]) => n)
    expect(own.length).toBe(written / 5)
    expect(own).toEqual([...own].sort((a, b) => a - b))
  }
})
