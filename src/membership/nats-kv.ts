/**
 * The key-value port on NATS KV (server >= 2.12): the bucket `troupe_<pipeline>`, one value a key.
 *
 * Every call ends within its deadline; after a deadline the write may still be stored. The watch is an ordered push
 * consumer of ours with a heartbeat: what it misses (a gap, a silence, a consumer that died with its server, a reconnect) makes
 * it begin anew with the last value of every key, and tell keys that are gone. So changes in between may be folded
 * into the last of them, but none is missed; an entry may be told twice with one revision.
 */
import {
  AckPolicy,
  DeliverPolicy,
  JetStreamApiError,
  type JetStreamManager,
  jetstreamManager,
} from '@nats-io/jetstream'
import { type KV, Kvm } from '@nats-io/kv'
import { createInbox, type Msg, type NatsConnection, type Subscription } from '@nats-io/transport-node'
import { TroupeError } from '../world/error.js'
import type { Timer, World } from '../world/world.js'
import { within } from './deadline.js'
import type { KvEntry, KvPort } from './port.js'

export interface NatsKvInit {
  readonly connection: NatsConnection
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
  /** The connection's own, where it has one. */
  readonly inboxPrefix?: string
}

const WRONG_LAST_SEQUENCE = 10_071
const STREAM_NOT_FOUND = 10_059
const NANOS = 1_000_000

export function bucketOf(pipeline: string): string {
  return `troupe_${pipeline}`
}

/** @throws TroupeError `bucket-missing`, `bucket-unreachable` (exit code 2) */
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
      throw bucketUnreachable(bucket, stream, error)
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
    put: (key, value) => bounded(`put ${key}`, kv.put(key, value)),
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
      const { inboxPrefix } = init
      return watchBucket({ connection, manager, world, bucket, stream, deadline, silence, inboxPrefix }, options)
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

// The watch ------------------------------------------------------------------------------------------------------------

interface WatchInit {
  readonly connection: NatsConnection
  readonly manager: JetStreamManager
  readonly world: World
  readonly bucket: string
  readonly stream: string
  readonly deadline: number
  readonly silence: number
  readonly inboxPrefix: string | undefined
}

type WatchOptions = Parameters<KvPort['watch']>[0]

/** One life of the consumer. */
interface Round {
  readonly subscription: Subscription
  readonly name: string
  /** Deliveries so far. */
  delivered: number
  complete: boolean
  readonly seen: Set<string>
}

function watchBucket(init: WatchInit, options: WatchOptions): { stop(): void } {
  const { connection, manager, world, bucket, stream, silence } = init
  const prefix = `$KV.${bucket}.`
  /** Keys that were told with a value. */
  const known = new Set<string>()
  let round: Round | undefined
  let ready = false
  let stopped = false
  let alarm: Timer | undefined

  function begin(): void {
    if (stopped) return
    try {
      attempt()
    } catch (error) {
      // The connection is closed for good.
      fail(error)
    }
  }

  function attempt(): void {
    const inbox = createInbox(init.inboxPrefix)
    const mine: Round = {
      name: `troupe_${inbox.slice(inbox.lastIndexOf('.') + 1)}`,
      delivered: 0,
      complete: false,
      seen: new Set(),
      subscription: connection.subscribe(inbox, {
        callback: (error, message) => {
          if (round !== mine || stopped) return
          if (error !== null) again()
          else heard(mine, message)
        },
      }),
    }
    round = mine
    arm()
    within(world, init.deadline, 'watch', create(mine.name, inbox)).then(
      (pending) => {
        if (stopped || round !== mine) return
        if (pending === 0 && mine.delivered === 0) complete(mine)
      },
      (error) => {
        if (stopped || round !== mine) return
        // Later on we go on by ourselves, for we know which keys there were.
        if (ready) again()
        else fail(error)
      },
    )
  }

  function fail(error: unknown): void {
    over()
    options.failed(error instanceof Error ? error : new Error(String(error)))
  }

  async function create(name: string, inbox: string): Promise<number> {
    const consumer = await manager.consumers.add(stream, {
      name,
      deliver_subject: inbox,
      deliver_policy: DeliverPolicy.LastPerSubject,
      ack_policy: AckPolicy.None,
      filter_subject: `${prefix}>`,
      idle_heartbeat: Math.max(100, silence / 4) * NANOS,
      flow_control: true,
      inactive_threshold: 30_000 * NANOS,
      max_deliver: 1,
      mem_storage: true,
      num_replicas: 1,
    })
    return consumer.num_pending
  }

  function heard(mine: Round, message: Msg): void {
    arm()
    const status = message.headers?.code ?? 0
    if (status === 100) {
      if (message.reply !== undefined && message.reply !== '') message.respond()
      // A heartbeat names the last delivery: one that we have not had was lost on its way.
      const last = message.headers?.get('Nats-Last-Consumer') ?? ''
      if (last !== '' && Number(last) > mine.delivered) again()
      return
    }
    if (status !== 0) {
      again()
      return
    }
    const delivery = deliveryOf(message)
    if (delivery === undefined || delivery.consumer !== mine.delivered + 1) {
      again()
      return
    }
    mine.delivered++
    const key = message.subject.slice(prefix.length)
    const operation = message.headers?.get('KV-Operation') ?? ''
    const value = operation === 'DEL' || operation === 'PURGE' ? null : message.data
    if (!mine.complete) mine.seen.add(key)
    tell({ key, value, revision: delivery.stream })
    if (!mine.complete && delivery.pending === 0) complete(mine)
  }

  function tell(entry: KvEntry): void {
    if (entry.value === null) known.delete(entry.key)
    else known.add(entry.key)
    options.entry(entry)
  }

  /** Everything that there is has been told. What is known and was not among it is gone without a mark. */
  function complete(mine: Round): void {
    mine.complete = true
    for (const key of [...known]) if (!mine.seen.has(key)) tell({ key, value: null, revision: 0 })
    mine.seen.clear()
    if (ready) return
    ready = true
    options.ready()
  }

  function arm(): void {
    alarm?.cancel()
    alarm = world.setTimer(silence, again)
  }

  function again(): void {
    close()
    // A turn later: what caused it is not repeated without end within one turn.
    alarm = world.setTimer(silence / 20, begin)
  }

  function close(): void {
    alarm?.cancel()
    if (round === undefined) return
    const { subscription, name } = round
    round = undefined
    subscription.unsubscribe()
    // Best effort: the server ends it by itself once nobody listens.
    manager.consumers.delete(stream, name).catch(() => {})
  }

  function over(): void {
    stopped = true
    close()
  }

  begin()
  return { stop: over }
}

/** Of `$JS.ACK.<domain>.<account>.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>` (or without the first two). */
function deliveryOf(message: Msg): { stream: number; consumer: number; pending: number } | undefined {
  const parts = (message.reply ?? '').split('.')
  if (parts[0] !== '$JS' || parts[1] !== 'ACK' || parts.length < 9) return undefined
  const at = parts.length >= 11 ? 7 : 5
  return { stream: Number(parts[at]), consumer: Number(parts[at + 1]), pending: Number(parts[at + 3]) }
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
