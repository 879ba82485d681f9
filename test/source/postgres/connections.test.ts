// What a reader asks of its server before it reads: each connection costs a standstill of some ten round trips.
import { connect, createServer } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { harness } from './harness.js'
import { until } from './recording.js'

const here = harness()

/** Passes everything on to the server, and counts who came. */
async function counting(): Promise<{ readonly url: string; came(): number; open(): number }> {
  const target = new URL(here.server.url)
  let came = 0
  let open = 0
  const proxy = createServer((socket) => {
    came++
    open++
    const through = connect(Number(target.port), target.hostname)
    socket.on('close', () => {
      open--
      through.destroy()
    })
    through.on('close', () => socket.destroy())
    socket.on('error', () => {})
    through.on('error', () => {})
    socket.pipe(through).pipe(socket)
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void proxy.close())
  const address = proxy.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const url = new URL(target)
  url.port = String(address.port)
  url.hostname = '127.0.0.1'
  return { url: url.href, came: () => came, open: () => open }
}

it('a reader asks everything on one catalog connection, and closes it when it reads', async () => {
  const first = await here.start('CREATE TABLE n1 (id int PRIMARY KEY)', ['public.n1'])
  await until(() => first.recording.states.length > 0, 'a first state', first.recording)
  await first.reader.stop()
  const { url, came, open } = await counting()
  const again = await here.reopen({ ...first.config, url }, { state: first.recording.states.at(-1)! })
  expect(came()).toBe(2)
  await here.db.query('INSERT INTO n1 VALUES (1)')
  await until(() => again.recording.events.length === 1, 'the row', again.recording)
  await until(() => open() === 1, 'the catalog connection to close', again.recording)
  expect(came()).toBe(2)
})
