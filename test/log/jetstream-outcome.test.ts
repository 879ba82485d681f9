import { headers as newHeaders } from '@nats-io/transport-node'
import { expect, test, vi } from 'vitest'
import { outcomeOf } from '../../src/log/jetstream/outcome.js'
import type { Outcome } from '../../src/log/jetstream/port.js'
import type { NatsLink } from '../../src/wire/nats/connect.js'
import type { NatsReply, OutgoingMessage } from '../../src/wire/nats/requests.js'
import { until } from '../actor/harness.js'
import { linkTo, makeStream, message, server } from './nats-harness.js'

const encoder = new TextEncoder()
const json = (value: object): NatsReply => ({ kind: 'reply', data: encoder.encode(JSON.stringify(value)) })
const refused = (errCode: number, code = 400, description = 'as it says') =>
  json({ error: { code, err_code: errCode, description }, stream: 'T', seq: 0 })

const table: readonly [string, NatsReply, number, Partial<Outcome> & Pick<Outcome, 'kind'>][] = [
  ['a single message that is stored', json({ stream: 'T', seq: 7 }), 1, { kind: 'committed', sequence: 7 }],
  [
    'a batch that is stored',
    json({ stream: 'T', seq: 7, batch: 'b', count: 3 }),
    3,
    { kind: 'committed', sequence: 7 },
  ],
  ['a batch of which one message counts', json({ stream: 'T', seq: 7 }), 3, { kind: 'misconfigured', code: 0 }],
  ['a batch that counts otherwise', json({ stream: 'T', seq: 7, count: 2 }), 3, { kind: 'misconfigured' }],
  ['another last sequence', refused(10071), 3, { kind: 'fenced' }],
  ['another write under way', refused(10164), 3, { kind: 'retry' }],
  ['a batch with a gap', refused(10176), 3, { kind: 'retry' }],
  ['too many batches at once', refused(10210, 429), 3, { kind: 'retry' }],
  ['no leader of the cluster', refused(10008, 503), 3, { kind: 'retry' }],
  ['not the leader', refused(10009, 500), 3, { kind: 'retry' }],
  ['a full stream', refused(10077, 503, 'maximum bytes exceeded'), 3, { kind: 'retry', full: true }],
  ['a stream full of messages', refused(10077, 503, 'maximum messages exceeded'), 3, { kind: 'retry', full: true }],
  ['a store that fails', refused(10077, 503, 'write: input/output error'), 3, { kind: 'ambiguous' }],
  ['a full account', refused(10002), 3, { kind: 'retry', full: true }],
  ['full servers', refused(10023, 503), 3, { kind: 'retry', full: true }],
  ['no storage left', refused(10047, 500), 3, { kind: 'retry', full: true }],
  ['no memory left', refused(10028, 500), 3, { kind: 'retry', full: true }],
  ['batches that are not enabled', refused(10174), 3, { kind: 'misconfigured', code: 10174 }],
  ['a header that batches may not have', refused(10177), 3, { kind: 'misconfigured', code: 10177 }],
  ['a batch id that is none', refused(10179), 3, { kind: 'misconfigured', code: 10179 }],
  ['a batch of too many', refused(10199), 3, { kind: 'misconfigured', code: 10199 }],
  ['a message id twice', refused(10201), 3, { kind: 'misconfigured', code: 10201 }],
  ['a message that is too large', refused(10054), 3, { kind: 'misconfigured', code: 10054 }],
  ['another stream', refused(10060), 3, { kind: 'misconfigured', code: 10060 }],
  ['rollups that are not enabled', refused(10111, 500), 3, { kind: 'misconfigured', code: 10111 }],
  ['TTLs that are not enabled', refused(10166), 3, { kind: 'misconfigured', code: 10166 }],
  ['a sealed stream', refused(10109), 3, { kind: 'misconfigured', code: 10109 }],
  ['JetStream that was turned off', refused(10076, 503), 3, { kind: 'misconfigured', code: 10076 }],
  ['a failure of the servers’ own log', refused(10041, 500), 3, { kind: 'ambiguous' }],
  ['an unknown refusal', refused(19999, 400), 3, { kind: 'misconfigured', code: 19999 }],
  ['an unknown failure', refused(19999, 500), 3, { kind: 'ambiguous' }],
  ['an error without numbers', json({ error: {} }), 3, { kind: 'ambiguous' }],
  ['an answer without a sequence', json({ stream: 'T' }), 1, { kind: 'ambiguous' }],
  ['an empty answer', { kind: 'reply', data: new Uint8Array(0) }, 1, { kind: 'ambiguous' }],
  ['an answer that is no JSON', { kind: 'reply', data: encoder.encode('-ERR') }, 1, { kind: 'ambiguous' }],
  ['an answer that is null', { kind: 'reply', data: encoder.encode('null') }, 1, { kind: 'ambiguous' }],
  ['nobody who listens', { kind: 'no-responders' }, 1, { kind: 'ambiguous' }],
  ['silence', { kind: 'silence', ms: 5_000 }, 1, { kind: 'ambiguous' }],
  ['a connection that went', { kind: 'lost' }, 1, { kind: 'ambiguous' }],
  ['a connection that was not there', { kind: 'unsent', why: 'not connected' }, 1, { kind: 'retry' }],
  ['a publish that is denied', { kind: 'denied', operation: 'publish', subject: 't.a' }, 1, { kind: 'misconfigured' }],
  ['what cannot be sent', { kind: 'invalid', why: 'max_payload' }, 1, { kind: 'misconfigured' }],
]

test.each(table)('%s', (_, reply, messages, expected) => {
  expect(outcomeOf(reply, messages)).toMatchObject(expected)
})

/** A batch as our own writer would never send it. */
async function raw(link: NatsLink, count: number, over: (index: number) => Record<string, string>): Promise<Outcome> {
  const outgoing = Array.from({ length: count }, (_, index): OutgoingMessage => {
    const headers = newHeaders()
    const all = {
      'Nats-Batch-Id': 'raw',
      'Nats-Batch-Sequence': String(index + 1),
      ...(index === count - 1 ? { 'Nats-Batch-Commit': '1' } : {}),
      ...over(index),
    }
    for (const [name, value] of Object.entries(all)) if (value !== '') headers.set(name, value)
    return { subject: 't.raw', payload: encoder.encode('x'), headers }
  })
  const last = outgoing.pop()!
  return outcomeOf(await link.request({ ...last, before: outgoing, deadlineMs: 5_000 }), count)
}

test('a real server refuses for good what is wrong with the stream or the batch', async () => {
  const link = await linkTo((await server()).url)
  const plain = await makeStream(link, {
    allow_atomic: false,
    allow_rollup_hdrs: false,
    allow_msg_ttl: false,
    max_msg_size: 100,
  })
  expect(await plain.commit([message('t.a'), message('t.b')], 5_000)).toMatchObject({
    kind: 'misconfigured',
    code: 10174,
  })
  expect(await plain.commit([message('t.a', 'x', { headers: { 'Nats-Rollup': 'sub' } })], 5_000)).toMatchObject({
    kind: 'misconfigured',
    code: 10111,
  })
  expect(await plain.commit([message('t.a', 'x', { headers: { 'Nats-TTL': 'never' } })], 5_000)).toMatchObject({
    kind: 'misconfigured',
    code: 10166,
  })
  expect(await plain.commit([message('t.a', 'x'.repeat(200))], 5_000)).toMatchObject({
    kind: 'misconfigured',
    code: 10054,
  })
  const stream = await makeStream(link, { name: 'U', subjects: ['u.>'] })
  const elsewhere = { headers: { 'Nats-Expected-Stream': 'T' } }
  expect(await stream.commit([message('u.a', 'x', elsewhere), message('u.b')], 5_000)).toMatchObject({
    kind: 'misconfigured',
    code: 10060,
  })
  const dedupe = { headers: { 'Nats-Expected-Last-Msg-Id': 'x' } }
  expect(await stream.commit([message('u.a', 'x', dedupe), message('u.b')], 5_000)).toMatchObject({
    kind: 'misconfigured',
    code: 10177,
  })
  expect(await stream.commit([message('u.a', 'x'.repeat(2 * 1024 * 1024))], 5_000)).toMatchObject({
    kind: 'misconfigured',
    why: expect.stringContaining('larger'),
  })
  expect(await stream.state(5_000)).toMatchObject({ messages: 0 })
})

test('a real server tells a batch with a gap, one of too many, one that follows itself, and too many at once', async () => {
  const link = await linkTo((await server()).url)
  const stream = await makeStream(link)
  const gap = await raw(link, 3, (index) => ({ 'Nats-Batch-Sequence': String(index < 1 ? 1 : index + 2) }))
  expect(gap).toMatchObject({ kind: 'retry', why: expect.stringContaining('10176') })
  expect(await raw(link, 1_001, () => ({}))).toMatchObject({ kind: 'misconfigured', code: 10199 })
  const behind = await raw(
    link,
    2,
    (index): Record<string, string> => (index === 1 ? { 'Nats-Expected-Last-Subject-Sequence': '0' } : {}),
  )
  expect(behind).toMatchObject({ kind: 'retry', why: expect.stringContaining('10164') })
  // Our writer would not send it: it would be refused for ever.
  const own = await stream.commit([message('t.ck'), message('t.ck', 'x', { expect: 0 })], 5_000)
  expect(own).toMatchObject({ kind: 'misconfigured', why: expect.stringContaining('fence behind') })
  for (let n = 0; n < 50; n++) {
    const headers = newHeaders()
    headers.set('Nats-Batch-Id', `open-${n}`)
    headers.set('Nats-Batch-Sequence', '1')
    link.connection.publish('t.open', 'x', { headers })
  }
  expect(await raw(link, 1, () => ({ 'Nats-Batch-Commit': '' }))).toMatchObject({
    kind: 'retry',
    why: expect.stringContaining('10210'),
  })
  // A refusal of an earlier message has no reply: the last one is told that the batch is incomplete.
  const many = await stream.commit([message('t.a'), message('t.b')], 5_000)
  expect(many).toMatchObject({ kind: 'retry', why: expect.stringContaining('10176') })
  expect(await stream.state(5_000)).toMatchObject({ messages: 0 })
})

test('a full stream and a full account are to be tried again when there is room', async () => {
  const link = await linkTo((await server()).url)
  const stream = await makeStream(link, { max_bytes: 20_000 })
  const large = message('t.a', 'x'.repeat(5_000))
  expect(await stream.commit([large, large, large], 5_000)).toMatchObject({ kind: 'committed' })
  expect(await stream.commit([large, large, large], 5_000)).toMatchObject({ kind: 'retry', full: true })
  expect(await stream.commit([{ ...large, payload: new Uint8Array(10_000) }], 5_000)).toMatchObject({
    kind: 'retry',
    full: true,
  })
  await stream.purge('t.a', 4, 5_000)
  expect(await stream.commit([large, large, large], 5_000)).toMatchObject({ kind: 'committed' })

  const accounts = '{ A { jetstream { max_file: 50000 }, users: [{ user: a, password: a }] } }'
  const limited = await server({ settings: { accounts } })
  const other = await linkTo(`nats://a:a@127.0.0.1:${limited.port}`)
  const small = await makeStream(other)
  const outcomes: Outcome[] = []
  for (let n = 0; n < 30 && outcomes.at(-1)?.kind !== 'retry'; n++)
    outcomes.push(await small.commit([large, large], 5_000))
  expect(outcomes.at(-1)).toMatchObject({ kind: 'retry', full: true })
})

test('silence is ambiguous: what nobody answered may be stored all the same', async () => {
  const nats = await server()
  const link = await linkTo(nats.url)
  const stream = await makeStream(link)
  nats.pause()
  const silence = await stream.commit([message('t.a'), message('t.ck', 'x', { expect: 0 })], 300)
  nats.resume()
  expect(silence).toMatchObject({ kind: 'ambiguous' })
  // A question may overtake it in the server.
  await vi.waitFor(async () => expect((await stream.last('t.ck', 5_000))?.sequence).toBe(2), { timeout: 10_000 })
})

test('a connection that goes before the reply is ambiguous, and one that is away is not', async () => {
  const nats = await server()
  const link = await linkTo(nats.url)
  const stream = await makeStream(link)
  nats.pause()
  const waiting = stream.commit([message('t.a'), message('t.ck', 'x', { expect: 0 })], 20_000)
  await nats.kill()
  expect(await waiting).toMatchObject({ kind: 'ambiguous', why: expect.stringContaining('lost') })
  await until(() => !link.connected)
  expect(await stream.commit([message('t.a')], 5_000)).toMatchObject({ kind: 'retry', why: 'not connected' })
})

test('a subject that no stream covers is ambiguous, for a stream without a leader looks the same', async () => {
  const link = await linkTo((await server()).url)
  const stream = await makeStream(link)
  expect(await stream.commit([message('nowhere')], 5_000)).toMatchObject({
    kind: 'ambiguous',
    why: expect.stringContaining('503'),
  })
})

test('what the user may not publish is misconfigured at once, wherever in the batch it stands', async () => {
  const permissions = '{ publish: { deny: ["t.secret"] } }'
  const authorization = `{ users: [{ user: u, password: p, permissions: ${permissions} }] }`
  const nats = await server({ settings: { authorization } })
  const link = await linkTo(`nats://u:p@127.0.0.1:${nats.port}`)
  const stream = await makeStream(link)
  const batches = [
    [message('t.secret')],
    [message('t.secret'), message('t.ck')],
    [message('t.a'), message('t.secret'), message('t.ck')],
    [message('t.a'), message('t.secret')],
  ]
  for (const batch of batches)
    expect(await stream.commit(batch, 20_000)).toMatchObject({
      kind: 'misconfigured',
      why: expect.stringContaining("publish to 't.secret'"),
    })
  expect(await stream.commit([message('t.a'), message('t.ck')], 5_000)).toMatchObject({ kind: 'committed' })
})
