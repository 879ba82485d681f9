/** How an actor of the cluster's log comes to its stream: a connection of its own, from cloneable arguments. */
import { connectNats, type NatsLink } from '../../wire/nats/connect.js'
import type { TroupeError } from '../../world/error.js'
import type { Logger } from '../../world/logger.js'
import type { World } from '../../world/world.js'
import { type StreamNames, streamNames } from './names.js'
import { createNatsStream } from './nats-stream.js'
import type { StreamPort } from './port.js'

/** What every part of a cluster needs to reach it. Cloneable; holds secrets. */
export interface ClusterAddress {
  readonly pipeline: string
  readonly node: string
  /** As `connectNats` takes them. */
  readonly servers: string
  /** ms: how long acknowledged writes may be unsynced. */
  readonly holdback: number
}

export interface OpenedStream {
  readonly link: NatsLink
  readonly stream: StreamPort
  readonly names: StreamNames
  /** Bytes of payload that leave room for the headers. */
  readonly maxMessage: number
}

/** What headers and the protocol take of a message. */
const headerRoom = 16 * 1024

export async function openStream(
  address: ClusterAddress,
  part: string,
  context: { readonly world: World; readonly log: Logger },
  onClosed: (error: TroupeError) => void,
): Promise<OpenedStream> {
  const { world, log } = context
  const link = await connectNats({
    servers: address.servers,
    name: `troupe.${address.pipeline}.${address.node}.${part}`,
    world,
    log,
    place: `the cluster of pipeline ${address.pipeline}`,
    onClosed,
  })
  const names = streamNames(address.pipeline)
  return { link, names, stream: createNatsStream(link, names, { log }), maxMessage: link.maxPayload - headerRoom }
}

/** Tells one incarnation of a writer or owner from every other. */
export function ownerName(address: ClusterAddress, world: World): string {
  return `${address.node}.${Buffer.from(world.randomBytes(9)).toString('base64url')}`
}
