/**
 * The watch of a KV bucket: an ordered push consumer of ours with a heartbeat. What it misses (a gap, a silence, a consumer
 * that died with its server, a reconnect) makes it begin anew with the last value of every key, and tell keys that are
 * gone. So changes in between may be folded into the last of them, but none is missed; an entry may be told twice
 * with one revision.
 *
 * The client library's own watch would be told of a dead consumer after ten seconds; a lease has three.
 */

import { AckPolicy, DeliverPolicy, type JetStreamManager } from '@nats-io/jetstream'
import type { Msg, NatsConnection, Subscription } from '@nats-io/transport-node'
import { deliveryOf } from '../wire/nats/delivery.js'
import { toError } from '../world/error.js'
import type { Timer, World } from '../world/world.js'
import { within } from './deadline.js'
import type { KvEntry, KvPort } from './port.js'

const NANOS = 1_000_000

interface WatchInit {
  readonly connection: NatsConnection
  readonly manager: JetStreamManager
  readonly world: World
  readonly bucket: string
  readonly stream: string
  readonly deadline: number
  readonly silence: number
  readonly inbox: () => string
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

export function watchBucket(init: WatchInit, options: WatchOptions): { stop(): void } {
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
    const inbox = init.inbox()
    const mine: Round = {
      // An inbox of its own is as good as a random name.
      name: `troupe_${inbox.split('.').slice(-2).join('_')}`,
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
    options.failed(toError(error))
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
    const delivery = deliveryOf(message.reply)
    if (delivery === null || delivery.consumerSequence !== mine.delivered + 1) {
      again()
      return
    }
    mine.delivered++
    const key = message.subject.slice(prefix.length)
    const operation = message.headers?.get('KV-Operation') ?? ''
    const value = operation === 'DEL' || operation === 'PURGE' ? null : message.data
    if (!mine.complete) mine.seen.add(key)
    tell({ key, value, revision: delivery.streamSequence })
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
