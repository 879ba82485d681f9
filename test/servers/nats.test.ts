import { connect } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { startNats } from '../../src/servers/index.js'

/** One JetStream API request over a bare socket. */
function request(port: number, subject: string, body: object): Promise<Record<string, unknown>> {
  return new Promise((done, refused) => {
    const payload = JSON.stringify(body)
    const socket = connect(port, '127.0.0.1')
    let reply = ''
    socket.setTimeout(1_000, () => socket.destroy(new Error('no answer in time')))
    socket.on('error', refused)
    socket.on('data', (chunk) => {
      reply += chunk.toString()
      const answer = /MSG reply 1 \d+\r\n(.*)\r\n/.exec(reply)?.[1]
      if (answer === undefined) return
      socket.destroy()
      done(JSON.parse(answer))
    })
    socket.write(`CONNECT {"verbose":false}\r\nSUB reply 1\r\nPUB ${subject} reply ${payload.length}\r\n${payload}\r\n`)
  })
}

test('a NATS killed and started again has its port and its stream', async () => {
  const server = await startNats({ syncInterval: 'always' })
  onTestFinished(() => server.stop())
  const { port, pid } = server
  const stream = { name: 'ORDERS', subjects: ['orders.>'], storage: 'file', allow_atomic: true, allow_msg_ttl: true }
  const made = await request(port, '$JS.API.STREAM.CREATE.ORDERS', stream)
  // Batches and per-message TTL are what an older server would silently leave out.
  expect(made.config).toMatchObject({ allow_atomic: true, allow_msg_ttl: true })
  await request(port, 'orders.1', { n: 1 })
  await server.kill()
  await expect(request(port, '$JS.API.INFO', {})).rejects.toThrow()
  await server.restart()
  expect([server.port, server.pid === pid]).toEqual([port, false])
  const found = await request(port, '$JS.API.STREAM.INFO.ORDERS', {})
  expect(found.state).toMatchObject({ messages: 1 })
})

test('a paused NATS answers nobody until it is resumed', async () => {
  const server = await startNats()
  onTestFinished(() => server.stop())
  server.pause()
  await expect(request(server.port, '$JS.API.INFO', {})).rejects.toThrow(/no answer/)
  server.resume()
  expect(await request(server.port, '$JS.API.INFO', {})).toMatchObject({ streams: 0 })
})
