/**
 * The node link of a process that lives longer than any of its connections: one that ends for good (a user whose credentials
 * ran out, servers that were away for long) is followed by another one. Meanwhile nothing can be sent, and this node is
 * silent to the others.
 */
import type { NodeLink } from '../../actor/node/link.js'
import { messageOf } from '../../world/error.js'
import type { Logger } from '../../world/logger.js'
import type { Timer, World } from '../../world/world.js'
import type { NatsLink } from './connect.js'
import { natsNodeLink, notConnected } from './node-transport.js'

export interface LastingNodeLinkInit {
  readonly world: World
  readonly log: Logger
  readonly pipeline: string
  readonly node: string
  /** Opens a connection of our own; `closed` is told, once, when it has ended, and not by `close`. */
  readonly connect: (closed: (error: Error) => void) => Promise<NatsLink>
}

/** ms from the end of a connection to the next one. */
const AGAIN_MS = 2_000

/** @throws what the first `connect` throws */
export async function lastingNodeLink(init: LastingNodeLinkInit): Promise<NodeLink> {
  const { world, log, node } = init
  let nats: NatsLink | undefined
  let current: NodeLink | undefined
  let receive: ((bytes: Uint8Array) => void) | undefined
  let again: Timer | undefined
  let closed = false
  /** Said already. */
  let failing = ''

  async function open(): Promise<NodeLink> {
    const opened = await init.connect((error) => {
      log.warn({ node, cause: messageOf(error) }, 'the connection between nodes has ended; another one follows')
      current = undefined
      reopen()
    })
    const link = natsNodeLink(opened, init)
    if (closed) {
      void opened.close()
      return link
    }
    nats = opened
    current = link
    failing = ''
    if (receive !== undefined) link.listen(receive)
    return link
  }

  function reopen(): void {
    if (closed) return
    again = world.setTimer(AGAIN_MS, () =>
      open().catch((error) => {
        const cause = messageOf(error)
        if (cause !== failing) log.warn({ node, cause }, 'nothing reaches this node from others; tried again')
        failing = cause
        reopen()
      }),
    )
  }

  const first = await open()
  return {
    node,
    ...(first.maxBytes === undefined ? {} : { maxBytes: first.maxBytes }),
    send(to, bytes) {
      if (current === undefined) throw notConnected('the servers')
      current.send(to, bytes)
    },
    listen(received) {
      receive = received
      current?.listen(received)
    },
    close() {
      closed = true
      again?.cancel()
      current?.close()
      current = undefined
      if (nats !== undefined) void leave(nats)
    },
  }
}

/** What was said last should arrive: that this node leaves. */
async function leave(nats: NatsLink): Promise<void> {
  if (nats.connected) await nats.connection.flush().catch(() => {})
  await nats.close()
}
