import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { connectNats, type NatsConnectOptions } from '../../src/wire/nats/connect.js'
import { deliveryOf } from '../../src/wire/nats/delivery.js'
import { parseNatsEndpoint } from '../../src/wire/nats/endpoint.js'
import { explainNats } from '../../src/wire/nats/errors.js'
import { callJetStream } from '../../src/wire/nats/jetstream-api.js'
import { checkJetStream } from '../../src/wire/nats/server-check.js'
import { realWorld } from '../../src/world/real.js'
import { until } from '../actor/harness.js'
import { linkTo, server, silent } from '../log/nats-harness.js'

const empty = new Uint8Array(0)

/** The error of a connect, or of the look for JetStream after it, where that must not succeed. */
async function refusal(servers: string, over: Partial<NatsConnectOptions> = {}) {
  const link = await connectNats({
    servers,
    name: 'test',
    world: realWorld,
    log: silent,
    place: 'cluster',
    ...over,
  }).catch((error) => error)
  if (link instanceof Error) return link
  try {
    return await checkJetStream(link, 'cluster').catch((error) => error)
  } finally {
    await link.close()
  }
}

test('the URL of a cluster is read once for all its servers', () => {
  const endpoint = parseNatsEndpoint('nats://u%40x:p%2Cw:@a:4333, b ,nats://[::1]:5?creds=/c&inbox=_INBOX_t')
  expect(endpoint).toEqual({
    servers: ['a:4333', 'b:4222', '[::1]:5'],
    tls: false,
    user: 'u@x',
    password: 'p,w:',
    token: null,
    creds: '/c',
    ca: null,
    inboxPrefix: '_INBOX_t',
  })
  expect(parseNatsEndpoint('tls://secret@host')).toMatchObject({ tls: true, token: 'secret', user: null })
  expect(parseNatsEndpoint('nats://a?ca=/ca.pem,nats://b')).toMatchObject({ tls: true, ca: '/ca.pem' })
})

test.each([
  '',
  'redis://u:some-secret@h',
  'nats://u:some-secret@',
  'nats://u:some-secret@h:99999',
  'nats://u:some-secret@h/path',
  'nats://u:some-secret@h?what=1',
  'nats://u:some-secret@h?inbox=a.*',
  'nats://u:%some-secret@h',
  'nats://u:12?some-secret@h',
  'nats://u:12#some-secret@h',
  'nats://u:some-secret@a,nats://u:other-secret@b',
  'nats://u:some-secret@a?ca=/a,nats://b?ca=/b',
])('a URL that cannot be used is refused without being repeated: %s', (url) => {
  let error: unknown
  try {
    parseNatsEndpoint(url, 'cluster')
  } catch (one) {
    error = one
  }
  expect(error).toMatchObject({ code: 'nats-url', exitCode: 2, permanent: true, remedy: expect.any(String) })
  expect(JSON.stringify(error)).not.toContain('secret')
})

test('a reply subject tells sequences and time, with and without a domain', () => {
  const expected = { streamSequence: 12, consumerSequence: 3, storedAt: 1_700_000_000_123, pending: 4 }
  expect(deliveryOf('$JS.ACK.S.c.1.12.3.1700000000123456789.4')).toEqual(expected)
  expect(deliveryOf('$JS.ACK.hub.acc.S.c.1.12.3.1700000000123456789.4')).toEqual(expected)
  expect(deliveryOf('$JS.ACK.hub.acc.S.c.1.12.3.1700000000123456789.4.token')).toEqual(expected)
  for (const reply of [undefined, '', '_INBOX.x', '$JS.ACK.S.c', '$JS.ACK.S.c.1.a.b.c.d'])
    expect(deliveryOf(reply)).toBeNull()
})

test('a link knows the largest message of its server', async () => {
  const nats = await server({ settings: { max_payload: '300000' } })
  const link = await linkTo(nats.url)
  expect(link).toMatchObject({
    maxPayload: 300_000,
    connected: true,
    closed: false,
    described: `127.0.0.1:${nats.port}`,
  })
})

test('wrong servers and wrong credentials are refused with a remedy and without a secret', async () => {
  const nats = await server({ settings: { authorization: '{ user: u, password: right-secret }' } })
  const at = (user: string) => `nats://${user}@127.0.0.1:${nats.port}`
  const cases: [string, string][] = [
    [at('u:wrong-secret'), 'nats-denied'],
    [at('some-secret'), 'nats-denied'],
    [`nats://127.0.0.1:${nats.port}`, 'nats-denied'],
    ['nats://u:some-secret@127.0.0.1:1', 'nats-unreachable'],
    ['nats://u:some-secret@nowhere.invalid', 'nats-unreachable'],
    [at('u:right-secret').replace('nats:', 'tls:'), 'nats-tls'],
    [`${at('u:right-secret')}?creds=/does/not/exist`, 'nats-credentials'],
  ]
  for (const [url, code] of cases) {
    const error = await refusal(url)
    expect(error, url).toMatchObject({ code, exitCode: 2, place: 'cluster', remedy: expect.any(String) })
    expect(`${error.message} ${error.remedy} ${error.place}`, url).not.toContain('secret')
  }
  expect(await refusal(at('u:right-secret'))).not.toBeInstanceOf(Error)
})

test('of several servers one that answers is enough', async () => {
  const nats = await server()
  const link = await linkTo(`nats://127.0.0.1:1,127.0.0.1:${nats.port}`)
  expect(link.connected).toBe(true)
})

test('a NATS without JetStream, or an account without it, is refused', async () => {
  const off = await server({ jetstream: false })
  expect(await refusal(off.url)).toMatchObject({ code: 'jetstream-off', exitCode: 2, permanent: true })
  const accounts =
    '{ A { users: [{ user: a, password: a }] }, B { jetstream: enabled, users: [{ user: b, password: b }] } }'
  const partly = await server({ settings: { accounts } })
  expect(await refusal(`nats://a:a@127.0.0.1:${partly.port}`)).toMatchObject({ code: 'jetstream-off' })
  expect(await refusal(`nats://b:b@127.0.0.1:${partly.port}`)).not.toBeInstanceOf(Error)
})

test('a NATS that allows no headers is refused', async () => {
  const nats = await server({ settings: { no_header_support: 'true' } })
  expect(await refusal(nats.url)).toMatchObject({ code: 'nats-headers', exitCode: 2 })
})

test.each(['2.11.9', '2.9.25', '1.4.1'])('a NATS of version %s is refused with the remedy', async (version) => {
  // No program of that age is at hand: this speaks the first lines of its protocol.
  const info = {
    server_id: 'x',
    version,
    headers: true,
    jetstream: true,
    max_payload: 1_048_576,
    proto: 1,
    host: 'h',
    port: 1,
  }
  const old = createServer((socket) => {
    socket.on('error', () => {})
    socket.write(`INFO ${JSON.stringify(info)}\r\n`)
    socket.on('data', (data) => {
      if (data.includes('PING')) socket.write('PONG\r\n')
    })
  })
  await new Promise<void>((done) => old.listen(0, '127.0.0.1', done))
  onTestFinished(() => void old.close())
  const error = await refusal(`nats://127.0.0.1:${(old.address() as { port: number }).port}`)
  expect(error).toMatchObject({
    code: 'nats-too-old',
    exitCode: 2,
    permanent: true,
    remedy: expect.stringContaining('upgrade'),
  })
  expect(error.message).toContain(version)
})

test('an inbox that the user may not have is named, and one of his own is used', async () => {
  const permissions = '{ publish: ">", subscribe: ["_INBOX_mine.>"] }'
  const nats = await server({
    settings: { authorization: `{ users: [{ user: u, password: p, permissions: ${permissions} }] }` },
  })
  const url = `nats://u:p@127.0.0.1:${nats.port}`
  expect(await refusal(url)).toMatchObject({ code: 'nats-denied', message: expect.stringContaining('_INBOX.') })
  expect(await refusal(`${url}?inbox=_INBOX_mine`)).not.toBeInstanceOf(Error)
})

test('a call that the user may not make is denied at once and names the subject', async () => {
  const permissions = '{ publish: { deny: ["$JS.API.STREAM.INFO.>"] } }'
  const nats = await server({
    settings: { authorization: `{ users: [{ user: u, password: p, permissions: ${permissions} }] }` },
  })
  const link = await linkTo(`nats://u:p@127.0.0.1:${nats.port}`)
  const call = callJetStream(link, { subject: 'STREAM.INFO.T', deadlineMs: 20_000 })
  await expect(call).rejects.toMatchObject({
    code: 'nats-denied',
    exitCode: 2,
    message: expect.stringContaining('$JS.API.STREAM.INFO.T'),
  })
  // Others go on.
  expect((await callJetStream(link, { subject: 'INFO', deadlineMs: 5_000 })).ok).toBe(true)
})

test('to connect asks nothing of the server: an actor of a takeover waits for no answer, and needs no right for it', async () => {
  const permissions = '{ publish: { deny: [">"] } }'
  const nats = await server({
    settings: { authorization: `{ users: [{ user: u, password: p, permissions: ${permissions} }] }` },
  })
  const errors: string[] = []
  const log = { ...silent, error: (_: object, message: string) => void errors.push(message) }
  const link = await linkTo(`nats://u:p@127.0.0.1:${nats.port}`, { log })
  await link.connection.flush()
  expect(errors).toEqual([])
})

test('a user who may not ask for the account is taken at the word of the server', async () => {
  const permissions = '{ publish: { deny: ["$JS.API.INFO"] } }'
  const nats = await server({
    settings: { authorization: `{ users: [{ user: u, password: p, permissions: ${permissions} }] }` },
  })
  expect(await refusal(`nats://u:p@127.0.0.1:${nats.port}`)).not.toBeInstanceOf(Error)
})

test('a lost connection is found again, and what waited is told that it is lost', async () => {
  const nats = await server()
  const link = await linkTo(nats.url)
  const seen: string[] = []
  link.observe({ disconnected: () => seen.push('away'), reconnected: () => seen.push('back') })
  nats.pause()
  const waiting = link.request({ subject: '$JS.API.INFO', payload: empty, deadlineMs: 20_000 })
  await nats.kill()
  expect(await waiting).toEqual({ kind: 'lost' })
  await until(() => !link.connected)
  expect(await link.request({ subject: '$JS.API.INFO', payload: empty, deadlineMs: 1_000 })).toMatchObject({
    kind: 'unsent',
  })
  await nats.restart()
  await until(() => link.connected)
  expect((await callJetStream(link, { subject: 'INFO', deadlineMs: 5_000 })).ok).toBe(true)
  expect(seen).toEqual(['away', 'back'])
})

test('a connection that is not found again within its bound is over, once', async () => {
  const nats = await server()
  const over: Error[] = []
  const link = await linkTo(nats.url, { reconnectMs: 500, onClosed: (error) => over.push(error) })
  const observed: Error[] = []
  link.observe({ closed: (error) => observed.push(error) })
  await nats.kill()
  await until(() => over.length > 0)
  expect(over[0]).toMatchObject({ code: 'nats-unreachable', message: expect.stringContaining('500 ms') })
  expect([over.length, observed.length, link.closed]).toEqual([1, 1, true])
  expect(await link.request({ subject: 'x', payload: empty, deadlineMs: 1_000 })).toMatchObject({ kind: 'unsent' })
})

test('credentials that are taken away while the connection is lost end it', async () => {
  const nats = await server({ settings: { authorization: '{ user: u, password: first-secret }' } })
  const over: Error[] = []
  await linkTo(`nats://u:first-secret@127.0.0.1:${nats.port}`, {
    reconnectMs: 2_000,
    onClosed: (error) => over.push(error),
  })
  await nats.restart({ authorization: '{ user: u, password: second-secret }' })
  await until(() => over.length > 0)
  expect(over[0]).toMatchObject({ code: 'nats-denied', exitCode: 2 })
  expect(over[0]!.message).not.toContain('secret')
})

test('what passes by itself is not taken for credentials or certificates that are wrong', () => {
  const unreachable = { code: 'nats-unreachable', permanent: false }
  const slow = Object.assign(new Error('authentication timeout'), { name: 'AuthorizationError' })
  expect(explainNats(slow, 'nats:4222')).toMatchObject(unreachable)
  const broken = new Error('Client network socket disconnected before secure TLS connection was established')
  expect(explainNats(Object.assign(broken, { code: 'ECONNRESET' }), 'nats:4222')).toMatchObject(unreachable)
  const unnamed = Object.assign(new Error('getaddrinfo EAI_AGAIN nats-tls.prod'), { code: 'EAI_AGAIN' })
  expect(explainNats(unnamed, 'nats-tls.prod:4222')).toMatchObject(unreachable)
  const refused = Object.assign(new Error('Authorization Violation'), { name: 'AuthorizationError' })
  expect(explainNats(refused, 'nats:4222')).toMatchObject({ code: 'nats-denied', permanent: true })
  const unknown = Object.assign(new Error('unable to verify'), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' })
  expect(explainNats(new Error('tls', { cause: unknown }), 'nats:4222')).toMatchObject({ code: 'nats-tls' })
})

test('closing it ourselves tells nobody', async () => {
  const nats = await server()
  const over: Error[] = []
  const link = await linkTo(nats.url, { onClosed: (error) => over.push(error) })
  const waiting = link.request({ subject: 'nobody.answers.$', payload: empty, deadlineMs: 5_000 })
  await link.close()
  expect(['lost', 'no-responders']).toContain((await waiting).kind)
  expect([over, link.closed]).toEqual([[], true])
})

test('TLS with a client certificate works, and an unknown authority is explained', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'troupe-tls-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const at = (name: string) => join(folder, name)
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'ignore' })
  writeFileSync(at('san'), 'subjectAltName=DNS:localhost,IP:127.0.0.1')
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  openssl(
    'req',
    '-x509',
    ...key,
    '-days',
    '2',
    '-subj',
    '/CN=test authority',
    '-keyout',
    at('ca.key'),
    '-out',
    at('ca.pem'),
  )
  for (const name of ['server', 'client']) {
    openssl('req', ...key, '-subj', `/CN=${name}`, '-keyout', at(`${name}.key`), '-out', at(`${name}.csr`))
    openssl(
      'x509',
      '-req',
      '-days',
      '2',
      '-in',
      at(`${name}.csr`),
      '-CA',
      at('ca.pem'),
      '-CAkey',
      at('ca.key'),
      '-CAcreateserial',
      '-extfile',
      at('san'),
      '-out',
      at(`${name}.pem`),
    )
  }
  const nats = await server({
    // Whoever starts it looks for it without TLS.
    settings: {
      allow_non_tls: 'true',
      tls: `{ cert_file: ${at('server.pem')}, key_file: ${at('server.key')}, ca_file: ${at('ca.pem')}, verify: true }`,
    },
  })
  const url = `tls://localhost:${nats.port}`
  const tls = { ca: at('ca.pem'), cert: at('client.pem'), key: at('client.key') }
  expect((await linkTo(url, { tls })).connected).toBe(true)
  expect((await linkTo(`${url}?ca=${at('ca.pem')}`, { tls: { cert: tls.cert, key: tls.key } })).connected).toBe(true)
  expect(await refusal(url)).toMatchObject({ code: 'nats-tls', exitCode: 2 })
  expect(await refusal(url, { tls: { ca: at('ca.pem') } })).toMatchObject({ exitCode: 2 })
  expect(await refusal(url, { tls: { ca: at('nothing.pem') } })).toMatchObject({ code: 'nats-tls', exitCode: 2 })
})
