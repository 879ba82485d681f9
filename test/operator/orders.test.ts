/** Orders on a real bucket, also where what a replica says of them is old, or somebody else gives them too. */
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { createNatsStream } from '../../src/log/jetstream/nats-stream.js'
import { keys } from '../../src/membership/keys.js'
import { bucketOf, openNatsKv } from '../../src/membership/nats-kv.js'
import type { KvPort } from '../../src/membership/port.js'
import type { ClusterAccess } from '../../src/operator/cluster/connect.js'
import { giveOrder, withdrawOrder } from '../../src/operator/cluster/orders.js'
import { type NatsServer, startNats } from '../../src/servers/index.js'
import { connectNats } from '../../src/wire/nats/connect.js'
import type { Logger } from '../../src/world/logger.js'
import { realWorld } from '../../src/world/real.js'

const log: Logger = { debug() {}, info() {}, warn() {}, error() {} }
const world = realWorld

let server: NatsServer

beforeAll(async () => {
  server = await startNats()
  return () => server.stop()
}, 60_000)

type Orderly = Pick<ClusterAccess, 'world' | 'kv' | 'bucket' | 'bucketName'>

async function opened(pipeline: string): Promise<Orderly> {
  const link = await connectNats({ servers: server.url, name: 'test', world, log, place: 'test', onClosed() {} })
  onTestFinished(() => link.close())
  const { connection, inbox } = link
  const kv = await openNatsKv({ connection, inbox, world, pipeline, replicas: 1, provision: true })
  const bucketName = bucketOf(pipeline)
  return { world, kv, bucketName, bucket: createNatsStream(link, { stream: `KV_${bucketName}` }, { log }) }
}

const give = (access: Orderly) => giveOrder(access as ClusterAccess, keys.rolling)
const withdraw = (access: Orderly) => withdrawOrder(access as ClusterAccess, keys.rolling)

test('an order is given, is so already, is withdrawn, is so already, and is given again', async () => {
  const access = await opened('turns')
  expect(await withdraw(access)).toEqual({ order: keys.rolling, inForce: false, changed: false })
  expect(await give(access)).toEqual({ order: keys.rolling, inForce: true, changed: true })
  expect(await give(access)).toMatchObject({ changed: false })
  expect(await withdraw(access)).toMatchObject({ inForce: false, changed: true })
  expect(await withdraw(access)).toMatchObject({ changed: false })
  expect(await give(access)).toMatchObject({ changed: true })
}, 60_000)

test('what an old replica says of an order keeps nobody from giving or withdrawing it', async () => {
  const access = await opened('stale')
  const old: Orderly = { ...access, kv: { ...access.kv, get: async () => null } }
  await give(access)
  expect(await withdraw(old)).toMatchObject({ inForce: false, changed: true })
  // The client's own `create` asks a replica whether what is there is a removal.
  const given: Orderly = { ...access, kv: { ...access.kv, create: async () => null } }
  expect(await give(given)).toMatchObject({ inForce: true, changed: true })
  expect((await access.kv.get(keys.rolling))?.value).not.toBeNull()
}, 60_000)

test('an order that somebody gives anew each time is contended', async () => {
  const access = await opened('contended')
  await give(access)
  let times = 0
  const kv: KvPort = {
    ...access.kv,
    async remove(key, revision) {
      times++
      await access.kv.update(key, Buffer.from('{}'), revision)
      return access.kv.remove(key, revision)
    },
  }
  await expect(withdraw({ ...access, kv })).rejects.toMatchObject({ code: 'order-contended' })
  expect(times).toBe(5)
}, 60_000)
