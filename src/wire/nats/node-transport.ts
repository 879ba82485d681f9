/**
 * The kernel's node link over NATS core: each node listens on `troupe.<pipeline>.ctl.node.<node>`.
 *
 * Nothing is stored and nothing is acknowledged: delivery is at most once, and what was on the wire when a connection
 * went is gone. That is what the port allows; who is up and what must arrive is the kernel's affair (actor/node).
 *
 * While the connection is away, and beyond `MAX_UNDER_WAY` bytes that the server has not taken, it refuses: the client
 * would keep them in memory without a bound. The connection stays its owner's; `close` ends the subscription only.
 */
import type { Subscription } from '@nats-io/transport-node'
import type { NodeLink } from '../../actor/node/link.js'
import { isNodeName } from '../../actor/path.js'
import { TroupeError } from '../../world/error.js'
import type { NatsLink } from './connect.js'

/** Bytes that were published and not yet taken by the server. */
export const MAX_UNDER_WAY = 16 * 1_048_576

/** @throws TroupeError `bad-node-name` */
export function natsNodeLink(nats: NatsLink, names: { readonly pipeline: string; readonly node: string }): NodeLink {
  const { pipeline, node } = names
  for (const name of [pipeline, node]) if (!isNodeName(name)) throw badName(name)
  const { connection } = nats
  const subjectOf = (of: string): string => `troupe.${pipeline}.ctl.node.${of}`
  let subscription: Subscription | undefined
  let underWay = 0
  let unflushed = 0
  let flushing = false

  /** One question at a time: the server's answer tells that it took all that was published before. */
  function settle(): void {
    if (flushing) return
    flushing = true
    const asked = unflushed
    unflushed = 0
    // Refused when the connection goes: then all of it is gone too.
    const taken = (): void => {
      underWay -= asked
      flushing = false
      if (unflushed > 0 && !nats.closed) settle()
    }
    connection.flush().then(taken, taken)
  }

  return {
    node,
    maxBytes: nats.maxPayload,
    send(to, bytes) {
      if (!nats.connected) throw notConnected(nats.described)
      if (underWay + bytes.byteLength > MAX_UNDER_WAY) throw refused(`${underWay} bytes are under way already`)
      connection.publish(subjectOf(to), bytes)
      underWay += bytes.byteLength
      unflushed += bytes.byteLength
      settle()
    },
    listen(received) {
      subscription = connection.subscribe(subjectOf(node), {
        callback(error, message) {
          // A subscription that is denied is the connection's to tell; without it this node is silent, hence down.
          if (error === null) received(message.data)
        },
      })
    },
    close() {
      subscription?.unsubscribe()
      subscription = undefined
    },
  }
}

export function notConnected(to: string): TroupeError {
  return refused(`not connected to ${to}`)
}

function refused(why: string): TroupeError {
  return new TroupeError({
    code: 'link-full',
    message: `a message to another node was refused: ${why}`,
    remedy: 'it is sent again where it must arrive; for the rest, ask again',
  })
}

function badName(name: string): TroupeError {
  return new TroupeError({
    code: 'bad-node-name',
    message: `'${name.slice(0, 80)}' is no name of a pipeline or node`,
    remedy: 'use 1 to 64 of A-Z a-z 0-9 _ -',
    exitCode: 2,
    permanent: true,
  })
}
