/**
 * An ordered reading of one subject by pull requests: everything once, in order, across lost consumers, servers and
 * connections.
 *
 * The consumer is ephemeral, in memory, of one replica, without acks: it holds nothing that we could not ask for again, so
 * whatever seems wrong (its sequence has a gap, it is gone, its heartbeat is missing, the connection was lost) has
 * one cure: another consumer behind the last message that was delivered, and `resumed`, which says where
 * the stream ends now. Sequences never fall within a reading: if the stream has lost its tail, what has taken the place of
 * the lost messages is not delivered by this reading, and who reads must begin another one.
 *
 * What is asked for is decided by pull-window.ts: the server always has something open where there is room, and delivers at
 * once. Who holds messages back until another one comes needs a window that is larger than what it holds.
 */
import type { Msg, MsgHdrs, Subscription } from '@nats-io/transport-node'
import type { NatsLink } from '../../wire/nats/connect.js'
import { type Delivery, deliveryOf } from '../../wire/nats/delivery.js'
import { type ApiError, callJetStream } from '../../wire/nats/jetstream-api.js'
import { TroupeError, toError } from '../../world/error.js'
import type { Logger } from '../../world/logger.js'
import type { Timer } from '../../world/world.js'
import type { ReadOptions, StoredMessage, StreamReading } from './port.js'
import { createPullWindow } from './pull-window.js'

const MS = 1_000_000
const PULL_MS = 30_000
const HEARTBEAT_MS = 1_000
/** Without anything from the server for as long, while it owes us at least heartbeats, the consumer counts as lost. */
const SILENCE_MS = 3 * HEARTBEAT_MS
/** A consumer that nobody pulls from is removed by the server: those of dead nodes go by themselves. */
const INACTIVE_MS = 60_000
const CALL_MS = 5_000
/** How long a reading is sought to be made anew without a sign of life before it fails; what is not there at all fails sooner. */
const PATIENCE_MS = 60_000
const MISSING_MS = 5_000
const BACKOFF_MS = { first: 50, most: 2_000 } as const
/** Messages in one pull; bytes are what limits it. */
const BATCH = 1_000_000
const STREAM_NOT_FOUND = 10059

interface StreamInfo {
  readonly state: { readonly last_seq: number }
}

interface ConsumerInfo {
  /** Messages from where it was asked to begin. */
  readonly num_pending?: number
}

const encoder = new TextEncoder()

export function startReading(
  init: { readonly link: NatsLink; readonly log: Logger; readonly stream: string },
  options: ReadOptions,
): StreamReading {
  const { link, log, stream } = init
  const { world } = link
  const { subject } = options
  const window = createPullWindow(options.window)

  let delivered = Math.max(1, options.from) - 1
  let stopped = false
  /** Raised with each consumer: what belongs to an earlier one is recognised by it. */
  let incarnation = 0
  let consumer = ''
  let inbox = ''
  let subscription: Subscription | null = null
  let consumed = 0
  let pulls = 0
  let ready = false
  let heard = world.monotonic()
  let ailingSince: number | null = null
  let backoff: number = BACKOFF_MS.first
  let watch: Timer | null = null

  const fail = (error: Error) => {
    if (stopped) return
    stop()
    options.failed(error)
  }

  const stop = () => {
    if (stopped) return
    stopped = true
    incarnation++
    watch?.cancel()
    unobserve()
    dropConsumer()
  }

  const dropConsumer = () => {
    ready = false
    subscription?.unsubscribe()
    subscription = null
    if (consumer !== '' && link.connected && !link.closed)
      void link.request({
        subject: `$JS.API.CONSUMER.DELETE.${stream}.${consumer}`,
        payload: new Uint8Array(0),
        deadlineMs: CALL_MS,
      })
    consumer = ''
  }

  const anew = (why: string) => {
    if (stopped) return
    dropConsumer()
    const mine = ++incarnation
    const now = world.monotonic()
    ailingSince ??= now
    log.debug({ stream, subject, delivered, why }, 'the reading of the log begins anew')
    if (!link.connected) return // `reconnected` comes here again, or `closed` ends it.
    if (now - ailingSince > PATIENCE_MS)
      return fail(
        readingLost(`nothing could be read from '${subject}' for ${Math.round(PATIENCE_MS / 1000)} s (${why})`),
      )
    const pause = backoff
    backoff = Math.min(backoff * 2, BACKOFF_MS.most)
    world.setTimer(pause, () => {
      if (mine === incarnation) void begin(mine, true)
    })
  }

  const begin = async (mine: number, again: boolean) => {
    try {
      const name = `troupe-${Buffer.from(world.randomBytes(9)).toString('hex')}`
      const answer = await callJetStream<ConsumerInfo>(link, {
        subject: `CONSUMER.CREATE.${stream}.${name}.${subject}`,
        body: { stream_name: stream, action: 'create', config: configOf(name, subject, delivered + 1) },
        deadlineMs: CALL_MS,
      })
      if (mine !== incarnation) return
      if (!answer.ok) return refused(answer.error)
      consumer = name
      // Who is given something does not begin behind the end; where nothing waits, a look at it holds nobody up.
      const reaches = delivered === 0 || (answer.value.num_pending ?? 0) > 0
      const last = again || !reaches ? await endOfStream() : delivered
      if (mine !== incarnation || last === null) return
      inbox = link.inbox()
      consumed = 0
      window.reset()
      heard = world.monotonic()
      subscription = link.connection.subscribe(`${inbox}.*`, {
        callback: (error, message) => {
          if (mine !== incarnation) return
          if (error !== null) return fail(error)
          receive(message)
        },
      })
      // A server begins behind the end, or at it, without a word.
      if (again || last < delivered) options.resumed({ last, delivered })
      if (mine !== incarnation) return
      ready = true
      pull()
    } catch (error) {
      if (mine !== incarnation) return
      if (error instanceof TroupeError && error.permanent) return fail(error)
      if (error instanceof TroupeError) return anew(error.message)
      fail(error as Error)
    }
  }

  /** Null: refused. */
  const endOfStream = async (): Promise<number | null> => {
    const mine = incarnation
    const info = await callJetStream<StreamInfo>(link, { subject: `STREAM.INFO.${stream}`, deadlineMs: CALL_MS })
    if (info.ok) return info.value.state.last_seq
    if (mine === incarnation) refused(info.error)
    return null
  }

  const refused = ({ errCode, description }: ApiError) => {
    const since = world.monotonic() - (ailingSince ?? world.monotonic())
    if (errCode === STREAM_NOT_FOUND && since > MISSING_MS)
      return fail(readingLost(`the stream ${stream} is not there`))
    anew(`${description} (${errCode})`)
  }

  const receive = (message: Msg) => {
    heard = world.monotonic()
    const delivery = deliveryOf(message.reply)
    if (delivery === null) return status(message.headers)
    consumed++
    if (delivery.consumerSequence !== consumed)
      return anew(`message ${consumed} of the consumer is missing: ${delivery.consumerSequence} came`)
    well()
    const passed = delivery.streamSequence > delivered
    window.delivered(passed ? message.data.length : 0, (message as Msg & { size(): number }).size())
    if (passed) {
      delivered = delivery.streamSequence
      try {
        options.message(storedMessage(message, delivery))
      } catch (error) {
        // The client would end its own reading of the socket without a word.
        return fail(toError(error))
      }
    }
    pull()
  }

  const status = (headers: MsgHdrs | undefined) => {
    const code = headers?.code ?? 0
    const description = headers?.description ?? ''
    if (code === 100) return well()
    const tooLarge = code === 409 && /message size exceeds/i.test(description)
    if (code !== 408 && !tooLarge && !(code === 409 && /batch completed/i.test(description)))
      return anew(`${code} ${description}`)
    well()
    window.ended(Number(headers?.get('Nats-Pending-Bytes') ?? '') || 0, tooLarge)
    pull()
  }

  const pull = () => {
    // While the connection is away nothing is sent: all of it is made anew when it is back.
    if (!ready || !link.connected) return
    const idle = !window.asked
    const next = window.next()
    if (next === null) return
    // What is not asked for is not waited for: silence is counted from the first pull on.
    if (idle) heard = world.monotonic()
    const limits = next.kind === 'one' ? { batch: 1 } : { batch: BATCH, max_bytes: next.bytes }
    const body = { ...limits, expires: PULL_MS * MS, idle_heartbeat: HEARTBEAT_MS * MS }
    link.connection.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, encoder.encode(JSON.stringify(body)), {
      reply: `${inbox}.${(++pulls).toString(36)}`,
    })
  }

  const well = () => {
    ailingSince = null
    backoff = BACKOFF_MS.first
  }

  const look = (due: number) => {
    if (stopped) return
    const now = world.monotonic()
    // Who was late himself has not listened either.
    if (now - due > HEARTBEAT_MS) heard = now
    if (ready && window.asked && link.connected && now - heard > SILENCE_MS) anew(`no heartbeat for ${SILENCE_MS} ms`)
    if (!stopped) watch = world.setTimer(HEARTBEAT_MS, () => look(now + HEARTBEAT_MS), { background: true })
  }

  const unobserve = link.observe({
    disconnected: () => {
      ready = false
    },
    reconnected: () => anew('the connection was lost'),
    closed: (error) => fail(error),
    denied: (operation, denied) => {
      if (operation === 'publish' && consumer !== '' && denied === `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`)
        fail(readingDenied(denied))
    },
  })
  if (link.closed) world.defer(() => fail(readingLost('the connection to NATS is closed')))
  else if (link.connected) void begin(incarnation, false)
  look(world.monotonic())

  return {
    credit(bytes) {
      window.credit(bytes)
      pull()
    },
    stop,
  }

  function readingLost(why: string): TroupeError {
    return new TroupeError({
      code: 'log-unreadable',
      message: `the log cannot be read: ${why}`,
      place: `stream ${stream}`,
      remedy: 'see whether its servers run and have a leader (`nats stream info`)',
    })
  }

  function readingDenied(what: string): TroupeError {
    return new TroupeError({
      code: 'nats-denied',
      message: `NATS at ${link.described} does not allow this user to publish to '${what}'`,
      place: `stream ${stream}`,
      remedy: `allow it in the permissions of the user: publish to $JS.API.CONSUMER.MSG.NEXT.${stream}.>`,
      exitCode: 2,
      permanent: true,
    })
  }
}

function configOf(name: string, subject: string, from: number): object {
  return {
    name,
    deliver_policy: 'by_start_sequence',
    opt_start_seq: from,
    ack_policy: 'none',
    replay_policy: 'instant',
    filter_subject: subject,
    mem_storage: true,
    num_replicas: 1,
    inactive_threshold: INACTIVE_MS * MS,
  }
}

const none: Readonly<Record<string, string>> = Object.freeze({})

/** Headers are decoded when somebody reads them: frames have none that a reader needs. */
function storedMessage(message: Msg, delivery: Delivery): StoredMessage {
  let headers: Readonly<Record<string, string>> | null = null
  return {
    subject: message.subject,
    sequence: delivery.streamSequence,
    payload: message.data,
    storedAt: delivery.storedAt,
    get headers() {
      headers ??= recordOf(message.headers)
      return headers
    },
  }
}

export function recordOf(headers: MsgHdrs | undefined): Readonly<Record<string, string>> {
  if (headers === undefined) return none
  return Object.fromEntries(headers.keys().map((key) => [key, headers.get(key)]))
}
