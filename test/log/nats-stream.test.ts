import { type AddressInfo, connect, createServer } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { createNatsStream } from '../../src/log/jetstream/nats-stream.js'
import type { ReadOptions, StoredMessage, StreamPort } from '../../src/log/jetstream/port.js'
import { until } from '../actor/harness.js'
import { api, linkTo, makeStream, message, server, silent, textOf } from './nats-harness.js'

interface Log {
  readonly messages: StoredMessage[]
  readonly resumed: { readonly last: number; readonly delivered: number }[]
  readonly failed: Error[]
  readonly credit: (bytes: number) => void
  readonly stop: () => void
}

/** Reads and gives credit for everything at once, unless told otherwise. */
function read(stream: StreamPort, over: Partial<ReadOptions> & { readonly credits?: boolean } = {}): Log {
  const { credits = true, ...options } = over
  const log: Pick<Log, 'messages' | 'resumed' | 'failed'> = { messages: [], resumed: [], failed: [] }
  const reading = stream.read({
    subject: 't.evt.0',
    from: 1,
    window: 64 * 1024,
    message: (one) => {
      log.messages.push(one)
      if (credits) reading.credit(one.payload.length)
    },
    resumed: (state) => log.resumed.push(state),
    failed: (error) => log.failed.push(error),
    ...options,
  })
  onTestFinished(() => reading.stop())
  return { ...log, credit: reading.credit, stop: reading.stop }
}

test('a batch is stored whole, and its checkpoint replaces the one before', async () => {
  const link = await linkTo((await server()).url)
  const stream = await makeStream(link)
  const commit = (n: number, expect: number) =>
    stream.commit(
      [
        message('t.evt.0', `a${n}`, { headers: { 'Troupe-Kind': 'frame' } }),
        message('t.evt.1', `b${n}`),
        message('t.ck', `ck${n}`, { expect, rollup: true }),
      ],
      5_000,
    )
  expect(await commit(1, 0)).toEqual({ kind: 'committed', sequence: 3 })
  expect(await commit(2, 3)).toEqual({ kind: 'committed', sequence: 6 })
  const last = await stream.last('t.ck', 5_000)
  expect(last).toMatchObject({ subject: 't.ck', sequence: 6 })
  expect(textOf(last!.payload)).toBe('ck2')
  expect(last!.headers).toMatchObject({ 'Nats-Rollup': 'sub', 'Nats-TTL': 'never' })
  expect(Math.abs(last!.storedAt - Date.now())).toBeLessThan(60_000)
  expect(await stream.last('t.none', 5_000)).toBeNull()
  expect(await stream.first('t.none', 5_000)).toBeNull()
  expect(await stream.state(5_000)).toMatchObject({ messages: 5 })
  expect(await stream.subjects('t.evt.*', 5_000)).toEqual(['t.evt.0', 't.evt.1'])
})

test('a stale fence refuses the whole batch, wherever in it the fence stands', async () => {
  const link = await linkTo((await server()).url)
  const stream = await makeStream(link)
  const fence = (subject: string, expect: number) => message(subject, 'ck', { expect, rollup: true })
  expect(await stream.commit([fence('t.ck.a', 0), fence('t.ck.b', 0)], 5_000)).toMatchObject({ kind: 'committed' })
  expect(await stream.commit([message('t.evt.0'), fence('t.ck.a', 2)], 5_000)).toEqual({ kind: 'fenced' })
  expect(await stream.commit([fence('t.ck.a', 2), message('t.evt.0')], 5_000)).toEqual({ kind: 'fenced' })
  // Each fence of a batch is looked at for itself: one that holds does not carry one that does not.
  expect(await stream.commit([fence('t.ck.a', 1), fence('t.ck.b', 1)], 5_000)).toEqual({ kind: 'fenced' })
  expect(await stream.commit([fence('t.ck.a', 2), fence('t.ck.b', 2)], 5_000)).toEqual({ kind: 'fenced' })
  expect(await stream.commit([fence('t.ck.none', 7)], 5_000)).toEqual({ kind: 'fenced' })
  expect(await stream.state(5_000)).toMatchObject({ messages: 2 })
  expect(await stream.commit([fence('t.ck.a', 1), fence('t.ck.b', 2)], 5_000)).toEqual({
    kind: 'committed',
    sequence: 4,
  })
})

test('of writers that hold the same fence exactly one commits', async () => {
  const { url } = await server()
  const streams = [
    await makeStream(await linkTo(url)),
    ...(await Promise.all([1, 2, 3].map(async () => makeStream(await linkTo(url))))),
  ]
  let fence = 0
  for (let round = 0; round < 20; round++) {
    const outcomes = await Promise.all(
      streams.map((stream, n) =>
        stream.commit(
          [message('t.evt.0', `${round}.${n}`), message('t.ck', 'x', { expect: fence, rollup: true })],
          5_000,
        ),
      ),
    )
    const won = outcomes.filter((one) => one.kind === 'committed')
    expect(won).toHaveLength(1)
    expect(outcomes.every((one) => ['committed', 'fenced', 'retry'].includes(one.kind))).toBe(true)
    fence = won[0]!.kind === 'committed' ? won[0]!.sequence : 0
  }
  expect((await stream0(streams).state(5_000)).messages).toBe(21)
})

const stream0 = (streams: readonly StreamPort[]) => streams[0]!

test('a purge takes the messages of one subject below a sequence and nothing else', async () => {
  const link = await linkTo((await server()).url)
  const stream = await makeStream(link)
  await stream.commit([message('t.ck', 'ck', { expect: 0, rollup: true })], 5_000)
  for (let n = 0; n < 5; n++) await stream.commit([message('t.evt.0', `a${n}`), message('t.evt.1', `b${n}`)], 5_000)
  expect(await stream.first('t.evt.0', 5_000)).toMatchObject({ sequence: 2 })
  await stream.purge('t.evt.0', 6, 5_000)
  expect(await stream.state(5_000)).toMatchObject({ messages: 9 })
  expect(textOf((await stream.last('t.ck', 5_000))!.payload)).toBe('ck')
  const log = read(stream)
  await until(() => log.messages.length === 3)
  expect(log.messages.map((one) => one.sequence)).toEqual([6, 8, 10])
  // The server takes a sequence of 0 for "everything", and no filter for "every subject".
  await stream.purge('t.evt.1', 0, 5_000)
  await stream.purge('t.evt.1', 1, 5_000)
  expect((await stream.state(5_000)).messages).toBe(9)
  for (const subject of ['', '>', 't.evt.*'])
    await expect(stream.purge(subject, 100, 5_000)).rejects.toThrow(/only one whole subject/)
  expect((await stream.state(5_000)).messages).toBe(9)
})

test('a reading delivers what is there and then each message as it comes, from where it was asked to', async () => {
  const link = await linkTo((await server()).url)
  const stream = await makeStream(link)
  for (let n = 1; n <= 10; n++)
    await stream.commit([message(`t.evt.${n % 2}`, `${n}`, { headers: { N: String(n) } })], 5_000)
  const log = read(stream, { from: 5 })
  await until(() => log.messages.length === 3)
  for (let n = 11; n <= 14; n++) await stream.commit([message(`t.evt.${n % 2}`, `${n}`)], 5_000)
  await until(() => log.messages.length === 5)
  expect(log.messages.map((one) => [one.sequence, textOf(one.payload)])).toEqual(
    [6, 8, 10, 12, 14].map((n) => [n, `${n}`]),
  )
  expect(log.messages[0]!.headers).toEqual({ N: '6' })
  expect(log.messages[3]!.headers).toEqual({})
  expect(Math.abs(log.messages[0]!.storedAt - Date.now())).toBeLessThan(60_000)
  expect([log.resumed, log.failed]).toEqual([[], []])
})

test('what is delivered and not credited stays within the window', async () => {
  const link = await linkTo((await server()).url)
  const stream = await makeStream(link)
  const kilobyte = 'x'.repeat(1_000)
  for (let n = 0; n < 20; n++)
    await stream.commit(
      Array.from({ length: 10 }, () => message('t.evt.0', kilobyte)),
      5_000,
    )
  const log = read(stream, { window: 20_000, credits: false })
  await until(() => log.messages.length >= 15)
  let credited = 0
  while (log.messages.length < 200) {
    const held = log.messages.length - credited
    expect(held).toBeLessThanOrEqual(20)
    log.credit(held * 1_000)
    credited += held
    await until(() => log.messages.length > credited || log.messages.length === 200)
  }
  expect(log.messages.map((one) => one.sequence)).toEqual(Array.from({ length: 200 }, (_, n) => n + 1))
})

test('a message larger than the window, and one larger than what is left of it, both pass', async () => {
  const link = await linkTo((await server()).url)
  const stream = await makeStream(link)
  const sizes = [100, 9_000, 100, 100_000, 9_500, 9_500, 3_000, 100_000, 100_000, 1]
  for (const size of sizes) await stream.commit([message('t.evt.0', 'x'.repeat(size))], 5_000)
  const log = read(stream, { window: 10_000, credits: false })
  for (let n = 1; n <= sizes.length; n++) {
    await until(() => log.messages.length >= n)
    log.credit(sizes[n - 1]!)
  }
  expect(log.messages.map((one) => one.payload.length)).toEqual(sizes)
  expect(log.resumed).toEqual([])
})

test('a reading survives the SIGKILL of its server: every message once and in order', async () => {
  const nats = await server({ syncInterval: 'always' })
  const link = await linkTo(nats.url)
  const stream = await makeStream(link)
  const log = read(stream)
  let sent = 0
  const send = async (count: number) => {
    for (let n = 0; n < count; n++) {
      const outcome = await stream.commit([message('t.evt.0', `${++sent}`)], 5_000)
      if (outcome.kind !== 'committed') throw new Error(JSON.stringify(outcome))
    }
  }
  for (let round = 1; round <= 3; round++) {
    await send(50)
    await until(() => log.messages.length >= sent - 25)
    await nats.kill()
    await nats.restart()
    await until(() => link.connected && log.resumed.length >= round)
  }
  await send(10)
  await until(() => log.messages.length >= sent)
  expect(log.messages.map((one) => textOf(one.payload))).toEqual(Array.from({ length: sent }, (_, n) => `${n + 1}`))
  expect(log.resumed.every((one) => one.last >= one.delivered)).toBe(true)
  expect(log.failed).toEqual([])
})

test('a reading whose consumer is deleted goes on behind the last message', async () => {
  const link = await linkTo((await server()).url)
  const stream = await makeStream(link)
  const log = read(stream)
  await stream.commit([message('t.evt.0', '1')], 5_000)
  await until(() => log.messages.length === 1)
  const names = await api(link, 'CONSUMER.NAMES.T')
  const [name] = (names.ok ? names.value.consumers : []) as string[]
  await api(link, `CONSUMER.DELETE.T.${name}`)
  await stream.commit([message('t.evt.0', '2')], 5_000)
  await until(() => log.messages.length === 2)
  expect(log.messages.map((one) => one.sequence)).toEqual([1, 2])
  expect(log.resumed).toHaveLength(1)
  expect(log.resumed[0]!.delivered).toBe(1)
})

test('a reading behind the end of the stream says so before anything is delivered', async () => {
  const link = await linkTo((await server()).url)
  const stream = await makeStream(link)
  await stream.commit([message('t.evt.0')], 5_000)
  const log = read(stream, { from: 10 })
  await until(() => log.resumed.length === 1)
  expect(log.resumed).toEqual([{ last: 1, delivered: 9 }])
  expect(log.messages).toEqual([])
})

test('a reading that is stopped leaves no consumer behind', async () => {
  const link = await linkTo((await server()).url)
  const stream = await makeStream(link)
  const log = read(stream)
  await stream.commit([message('t.evt.0')], 5_000)
  await until(() => log.messages.length === 1)
  log.stop()
  await stream.commit([message('t.evt.0')], 5_000)
  await until(async () => {
    const names = await api(link, 'CONSUMER.NAMES.T')
    return names.ok && (names.value.consumers as string[]).length === 0
  })
  expect(log.messages).toHaveLength(1)
})

test('a reading of a stream that is deleted fails and says which', async () => {
  const link = await linkTo((await server()).url)
  const stream = await makeStream(link)
  const log = read(stream)
  await stream.commit([message('t.evt.0')], 5_000)
  await until(() => log.messages.length === 1)
  await api(link, 'STREAM.DELETE.T')
  await until(() => log.failed.length === 1, 25_000)
  expect(log.failed[0]).toMatchObject({ code: 'log-unreadable', message: expect.stringContaining('T is not there') })
})

test('a handler that throws ends its reading and not the connection', async () => {
  const link = await linkTo((await server()).url)
  const stream = await makeStream(link)
  const bad = read(stream, {
    message: () => {
      throw new Error('no')
    },
  })
  const good = read(stream)
  await stream.commit([message('t.evt.0')], 5_000)
  await until(() => bad.failed.length === 1 && good.messages.length === 1)
  expect(bad.failed[0]!.message).toBe('no')
})

/** A way to the server on which one delivery can get lost. */
async function lossyWay(port: number) {
  let armed = false
  const way = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    for (const socket of [near, far]) socket.on('error', () => {})
    near.pipe(far)
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
    far.on('data', (chunk) => {
      const text = chunk.toString('latin1')
      const head = armed ? /H?MSG t\.evt\.0 \S+ \$JS\.ACK\S+ (?:\d+ )?(\d+)\r\n/.exec(text) : null
      if (head === null) return near.write(chunk)
      armed = false
      near.write(text.slice(0, head.index), 'latin1')
      near.write(text.slice(head.index + head[0].length + Number(head[1]) + 2), 'latin1')
    })
  })
  await new Promise<void>((done) => way.listen(0, '127.0.0.1', done))
  onTestFinished(() => void way.close())
  return {
    url: `nats://127.0.0.1:${(way.address() as AddressInfo).port}`,
    lose: () => {
      armed = true
    },
    lost: () => !armed,
  }
}

test('a message that is missing in what a consumer delivers is fetched again, and nothing comes twice', async () => {
  const nats = await server()
  const way = await lossyWay(nats.port)
  const writer = await makeStream(await linkTo(nats.url))
  const stream = createNatsStream(await linkTo(way.url), { stream: 'T' }, { log: silent })
  const log = read(stream)
  const send = (n: number) => writer.commit([message('t.evt.0', `${n}`)], 5_000)
  await send(1)
  await until(() => log.messages.length === 1)
  way.lose()
  await send(2)
  await until(way.lost)
  // Only what comes after it can show that it is missing.
  await send(3)
  await until(() => log.messages.length === 3)
  expect(log.messages.map((one) => textOf(one.payload))).toEqual(['1', '2', '3'])
  expect(log.resumed).toEqual([{ last: 3, delivered: 1 }])
})

test('a consumer whose heartbeats stop is made anew', async () => {
  const nats = await server()
  const link = await linkTo(nats.url)
  const said: string[] = []
  const stream = await makeStream(link, {}, { ...silent, debug: (fields) => said.push(JSON.stringify(fields)) })
  const log = read(stream)
  await stream.commit([message('t.evt.0', '1')], 5_000)
  await until(() => log.messages.length === 1)
  nats.pause()
  await until(() => said.some((line) => line.includes('no heartbeat')), 15_000)
  nats.resume()
  await stream.commit([message('t.evt.0', '2')], 5_000)
  await until(() => log.messages.length === 2 && log.resumed.length > 0)
  expect(log.messages.map((one) => one.sequence)).toEqual([1, 2])
})
