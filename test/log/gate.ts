/** Stands before a server and lets everything through, until it has seen a text of the client: from there on it holds back. */
import { connect, createServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

export interface Gate {
  readonly port: number
  /** Has seen the text. */
  readonly holding: boolean
  /** Connections that the client has open. */
  readonly connections: number
  /** Lets everything through again, what it held back first. */
  open(): void
}

export async function gateBefore(port: number, text: string): Promise<Gate> {
  const held: (() => void)[] = []
  const clients = new Set<Socket>()
  let state: 'watching' | 'holding' | 'open' = 'watching'
  const server = createServer((client) => {
    const behind = connect(port, '127.0.0.1')
    clients.add(client)
    client.on('data', (bytes) => {
      if (state === 'watching' && bytes.includes(text)) state = 'holding'
      if (state === 'holding') held.push(() => behind.write(bytes))
      else behind.write(bytes)
    })
    behind.on('data', (bytes) => client.write(bytes))
    client.on('close', () => {
      clients.delete(client)
      behind.destroy()
    })
    behind.on('close', () => client.destroy())
    client.on('error', () => {})
    behind.on('error', () => {})
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  onTestFinished(() => {
    for (const client of clients) client.destroy()
    server.close()
  })
  return {
    port: (server.address() as { port: number }).port,
    get holding() {
      return state === 'holding'
    },
    get connections() {
      return clients.size
    },
    open() {
      state = 'open'
      for (const send of held.splice(0)) send()
    },
  }
}
