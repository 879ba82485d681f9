/**
 * The key-value port on NATS KV (server >= 2.12): the bucket `troupe_<pipeline>`, one value a key.
 *
 * Every call ends within its deadline; after a deadline the write may still be stored. The watch is nats-watch.ts.
 */
import { JetStreamApiError, type JetStreamManager, jetstreamManager } from '@nats-io/jetstream'
import { type KV, Kvm } from '@nats-io/kv'
import { type NatsConnection, PermissionViolationError } from '@nats-io/transport-node'
import { deniedNats } from '../wire/nats/errors.js'
import { TroupeError } from '../world/error.js'
import type { World } from '../world/world.js'
import { within } from './deadline.js'
import { watchBucket } from './nats-watch.js'
import type { KvPort } from './port.js'

export interface NatsKvInit {
  readonly connection: NatsConnection
  /** A subject below which nobody else receives, another at each call; `inbox` of the link. */
  readonly inbox: () => string
  readonly world: World
  readonly pipeline: string
  /** Of a bucket that has to be created; 3 in a cluster of three servers. */
  readonly replicas: number
  /** False: a missing bucket is an error. */
  readonly provision: boolean
  /** ms that one call may take. Default 2,000. */
  readonly deadline?: number
  /** ms of silence of the watch after which it begins anew; the server breaks the silence four times as often. Default 2,000. */
  readonly silence?: number
}

const WRONG_LAST_SEQUENCE = 10_071
const STREAM_NOT_FOUND = 10_059

export function bucketOf(pipeline: string): string {
  return `troupe_${pipeline}`
}

/** @throws TroupeError `bucket-missing`, `bucket-unreachable`, `nats-denied` (exit code 2) */
export async function openNatsKv(init: NatsKvInit): Promise<KvPort> {
  const { connection, world } = init
  const deadline = init.deadline ?? 2_000
  const bucket = bucketOf(init.pipeline)
  const stream = `KV_${bucket}`
  const bounded = <T>(what: string, promise: Promise<T>): Promise<T> => within(world, deadline, what, promise)
  const { kv, manager } = await open()

  async function open(): Promise<{ kv: KV; manager: JetStreamManager }> {
    const opening = async (): Promise<{ kv: KV; manager: JetStreamManager }> => {
      // No look at the account: a user of few rights may not ask for it, and the stream's own answer says enough.
      const manager = await jetstreamManager(connection, { timeout: deadline, checkAPI: false })
      const kvm = new Kvm(manager.jetstream())
      const missing = await isMissing(manager, stream)
      if (missing && !init.provision) throw bucketMissing(bucket, stream)
      // An existing bucket is taken as it is.
      const kv = missing
        ? await kvm.create(bucket, { history: 1, replicas: init.replicas })
        : await kvm.open(bucket, { allow_direct: true })
      return { kv, manager }
    }
    try {
      return await within(world, 5 * deadline, `opening the bucket ${bucket}`, opening())
    } catch (error) {
      if (error instanceof TroupeError && error.code === 'bucket-missing') throw error
      throw deniedOf(error, connection.getServer()) ?? bucketUnreachable(bucket, stream, error)
    }
  }

  /** Null where the server says that the revision is not the last one. */
  async function cas<T>(write: () => Promise<T>): Promise<T | null> {
    try {
      return await write()
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === WRONG_LAST_SEQUENCE) return null
      throw error
    }
  }

  return {
    create: (key, value) =>
      bounded(
        `create ${key}`,
        cas(() => kv.create(key, value)),
      ),
    async update(key, value, revision) {
      // The client refuses 0, which no key has.
      if (revision <= 0) return null
      return bounded(
        `update ${key}`,
        cas(() => kv.update(key, value, revision, deadline)),
      )
    },
    async remove(key, revision) {
      const removed = await bounded(
        `remove ${key}`,
        cas(async () => {
          await kv.delete(key, { previousSeq: revision })
          return true
        }),
      )
      return removed ?? false
    },
    async get(key) {
      const entry = await bounded(`get ${key}`, kv.get(key))
      if (entry === null) return null
      return { key, value: entry.operation === 'PUT' ? entry.value : null, revision: entry.revision }
    },
    watch(options) {
      const silence = init.silence ?? 2_000
      const { inbox } = init
      return watchBucket({ connection, manager, world, bucket, stream, deadline, silence, inbox }, options)
    },
  }
}

async function isMissing(manager: JetStreamManager, stream: string): Promise<boolean> {
  try {
    await manager.streams.info(stream)
    return false
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND) return true
    throw error
  }
}

/** A right that is missing does not come by trying again; the client wraps what the server says of it. */
function deniedOf(thrown: unknown, at: string): TroupeError | null {
  for (let error = thrown, depth = 0; error instanceof Error && depth < 5; error = error.cause, depth++)
    if (error instanceof PermissionViolationError) return deniedNats(error.operation, error.subject, at)
  return null
}

function bucketMissing(bucket: string, stream: string): TroupeError {
  return new TroupeError({
    code: 'bucket-missing',
    message: `there is no key-value bucket '${bucket}' (stream ${stream})`,
    remedy: `create it: nats kv add ${bucket} --history 1 --replicas 3; or run without --no-provision`,
    exitCode: 2,
    permanent: true,
  })
}

function bucketUnreachable(bucket: string, stream: string, cause: unknown): TroupeError {
  return new TroupeError({
    code: 'bucket-unreachable',
    message: `the key-value bucket '${bucket}' (stream ${stream}) could not be opened: ${cause instanceof Error ? cause.message : String(cause)}`,
    remedy: 'check that JetStream is on, that the servers have a leader, and what this user may do',
    exitCode: 2,
    cause,
  })
}
