/**
 * The NATS sink: messages and checkpoint in one atomic batch of one JetStream stream (server >= 2.12), which is stored as a
 * whole and only for the newest writer of a partition.
 *
 * Exactly-once effect, as long as the stream keeps what it acknowledged: the checkpoint lies beside the output and is its
 * own fence (log/jetstream/fence.ts, the same that the cluster's log stands on). What a dead writer had under way either was
 * stored before the seal, and then the checkpoint that the seal found says so, or never will be.
 */
import type { LaneVector } from '../checkpoint/checkpoint.js'
import { loadVector, type StoredVector, storeVector } from '../checkpoint/vector.js'
import { createFence } from '../log/jetstream/fence.js'
import { createNatsStream } from '../log/jetstream/nats-stream.js'
import { batchLimits, type StoredMessage, type StreamMessage } from '../log/jetstream/port.js'
import { connectNats, type NatsLink } from '../wire/nats/connect.js'
import { describeNats, parseNatsEndpoint } from '../wire/nats/endpoint.js'
import { checkJetStream } from '../wire/nats/server-check.js'
import { TroupeError } from '../world/error.js'
import type { NatsSinkDefinition } from './definition.js'
import { nameTemplate } from './name-template.js'
import { checkOutputStream, checkpointSubject } from './nats-stream-check.js'
import { isSubject, subjectOf } from './nats-subject.js'
import {
  type FencedWriter,
  type RefusedItem,
  type SinkContext,
  type SinkDriver,
  type SinkItem,
  SinkRefusal,
  sinkFenced,
} from './sink.js'
import { itemJson } from './value-text.js'

/** Room for the headers of a message of a batch. */
const HEADERS = 1024

export const natsSink = {
  kind: 'nats',
  guarantee: () => 'exactly-once',

  async preflight(definition, context) {
    const place = `sink of processor ${context.processor}`
    nameTemplate(definition.subject, 0, place)
    const link = await connectNats({
      servers: definition.url,
      name: `troupe.${context.pipeline}.${context.processor}.preflight`,
      world: context.world,
      log: context.log,
      place,
    })
    try {
      await checkJetStream(link, place)
      await checkOutputStream(link, definition, context, place)
    } finally {
      await link.close()
    }
  },

  async openFenced(definition, context) {
    const place = `sink of processor ${context.processor}`
    let running = false
    const link = await connectNats({
      servers: definition.url,
      name: `troupe.${context.pipeline}.${context.processor}.${context.set}.${context.partition}`,
      world: context.world,
      log: context.log,
      place,
      onClosed: (error) => {
        if (running) context.fail(error)
      },
    })
    try {
      const writer = await openWriter(definition, context, link, place)
      running = true
      return writer
    } catch (error) {
      await link.close()
      throw error
    }
  },

  connections(definition) {
    const endpoint = parseNatsEndpoint(definition.url, 'sink')
    return [{ server: `nats ${describeNats(endpoint)}`, count: 1, purpose: 'commits, one per partition' }]
  },
} satisfies SinkDriver<NatsSinkDefinition>

async function openWriter(
  definition: NatsSinkDefinition,
  context: SinkContext,
  link: NatsLink,
  place: string,
): Promise<FencedWriter> {
  const { world, partitions } = context
  const template = nameTemplate(definition.subject, context.partition, place)
  const subject = checkpointSubject(context)
  const owner = `${context.pipeline}.${Buffer.from(world.randomBytes(9)).toString('base64url')}`
  const stream = createNatsStream(link, definition, context)
  const fence = createFence({ world, stream, owner, place })
  const largest = link.maxPayload - HEADERS
  let lanes: LaneVector | null = null
  let number = 0
  let closing = false
  let underWay: Promise<unknown> = Promise.resolve()

  const checkpoint = (to: LaneVector | null, term: number, commit: number) => ({
    subject,
    payload: Buffer.from(
      JSON.stringify({ version: 1, term, owner, commit, partitions, lanes: to === null ? null : storeVector(to) }),
    ),
  })
  await sealed()

  async function sealed(): Promise<void> {
    try {
      await fence.seal([subject], ([found], term) => {
        lanes = found == null ? null : lanesOf(found, partitions, context, place)
        return [checkpoint(lanes, term, 0)]
      })
    } catch (error) {
      throw ofSink(error, definition, subject, place)
    }
  }

  function messagesOf(items: readonly SinkItem[]): StreamMessage[] {
    const refused: RefusedItem[] = []
    const messages = items.map((item, index): StreamMessage => {
      const made = { subject: subjectOf(template, item), payload: Buffer.from(itemJson(item)) }
      if (made.payload.length > largest)
        refused.push({
          index,
          message: `a message of ${made.payload.length} bytes is larger than NATS takes (${largest})`,
        })
      else if (!isSubject(made.subject))
        refused.push({ index, message: `'${made.subject.slice(0, 80)}' is no subject of at most 200 characters` })
      return made
    })
    if (refused.length > 0) throw new SinkRefusal(refused[0]!.index, refused[0]!.message, { refused })
    return messages
  }

  async function store(messages: readonly StreamMessage[], to: LaneVector): Promise<readonly RefusedItem[]> {
    try {
      number++
      await fence.commit(number, messages, [checkpoint(to, fence.term, number)])
      return []
    } catch (error) {
      throw ofSink(error, definition, subject, place)
    }
  }

  return {
    lanes,
    term: fence.term,
    batchSize: definition.batch,
    mostItems: batchLimits.messages - 1,
    commit(items, to) {
      if (closing) return Promise.reject(new Error('the sink is closed'))
      let messages: StreamMessage[]
      try {
        messages = messagesOf(items)
        checkBytes(messages, place)
      } catch (error) {
        return Promise.reject(error)
      }
      const outcome = store(messages, to)
      underWay = outcome.catch(() => {})
      return outcome
    },
    async close() {
      closing = true
      fence.close()
      await underWay
      await link.close()
    },
  }
}

function lanesOf(
  found: StoredMessage,
  partitions: number,
  { log, processor }: Pick<SinkContext, 'log' | 'processor'>,
  place: string,
): LaneVector | null {
  try {
    const stored = JSON.parse(Buffer.from(found.payload).toString()) as {
      readonly partitions: number
      readonly lanes: StoredVector | null
    }
    if (stored.partitions === partitions) return stored.lanes === null ? null : loadVector(stored.lanes)
    log.warn(
      { processor, subject: found.subject, before: stored.partitions, now: partitions },
      'the partitions have changed and the checkpoint in the sink with them: what was not confirmed will be written again',
    )
    return null
  } catch (cause) {
    throw corrupt(`the checkpoint at ${found.subject}, sequence ${found.sequence}, cannot be read`, place, cause)
  }
}

function corrupt(message: string, place: string, cause: unknown): TroupeError {
  return new TroupeError({
    code: 'sink-checkpoint-corrupt',
    message,
    place,
    remedy: `purge that subject to go on from the pipeline's own checkpoint: what is newer than that will be written again`,
    permanent: true,
    cause,
  })
}

/** The fence speaks of the log; here it is the output's. */
function ofSink(error: unknown, definition: NatsSinkDefinition, subject: string, place: string): unknown {
  if (!(error instanceof TroupeError)) return error
  switch (error.code) {
    case 'fenced':
      return sinkFenced(place, `${subject}: ${error.message}`)
    case 'log-rewind':
      return new TroupeError({
        code: 'sink-rewind',
        message: `stream ${definition.stream} has lost its tail, or the checkpoint ${subject} was removed from it`,
        place,
        remedy:
          'nothing: the writer begins anew with what the stream holds; set sync_interval: always on the NATS servers',
      })
    case 'checkpoint-unreadable':
      return corrupt(`the checkpoint at ${subject} cannot be read`, place, error)
    case 'log-misconfigured':
      return new TroupeError({
        code: 'sink-stream',
        message: error.message.replace('the stream', `stream ${definition.stream}`),
        place,
        remedy: 'compare the stream and the rights with docs/sinks.md#nats',
        permanent: true,
      })
    default:
      return error
  }
}

function checkBytes(messages: readonly StreamMessage[], place: string): void {
  const bytes = messages.reduce((sum, { payload }) => sum + payload.length, 0)
  if (bytes <= batchLimits.bytes) return
  throw new TroupeError({
    code: 'output-too-large',
    message: `${messages.length} messages of ${bytes} bytes are to be stored in one step; it holds ${batchLimits.bytes}`,
    place,
    remedy: 'lower `batch`, or let the handler make smaller records',
    permanent: true,
  })
}
