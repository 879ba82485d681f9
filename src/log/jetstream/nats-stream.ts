/**
 * The StreamPort on a real server: our own writer of atomic batches (ADR-50 of NATS), reads through the stream's leader, and
 * ordered readings by pull.
 *
 * Why not the client's batches and consumers: its batch hides which refusal came, and 10071 is the fence; awaited single
 * publishes are an order of magnitude slower; its ordered consumer asks in messages, and credits are bytes.
 *
 * `expect` is honoured by the server for every message of a batch on its own, whatever its place, and all of
 * them before anything is stored (tested on 2.15): one batch may hold the checkpoints of several processors, each with
 * its own fence. Only the first message of a subject in a batch may have one: the server refuses a later one for ever
 * (10164), so it is refused here. Only one batch may be under way for a fenced subject, and 50 for a stream (the
 * server's default); what is above is `retry` (10210).
 *
 * The subjects that a user must be allowed are listed in provision.ts.
 */
import { headers as newHeaders } from '@nats-io/transport-node'
import type { NatsLink } from '../../wire/nats/connect.js'
import { type ApiError, callJetStream } from '../../wire/nats/jetstream-api.js'
import type { OutgoingMessage } from '../../wire/nats/requests.js'
import { TroupeError } from '../../world/error.js'
import type { Logger } from '../../world/logger.js'
import type { StreamNames } from './names.js'
import { startReading } from './nats-reading.js'
import { outcomeOf } from './outcome.js'
import { batchLimits, type Outcome, type StoredMessage, type StreamMessage, type StreamPort } from './port.js'

const NO_MESSAGE = 10037
/** Headers are looked at only where a payload comes this close to max_payload, bytes. */
const HEADERS = 16 * 1024
const MAX_SUBJECTS = 100_000
/** A purge and a list of subjects may take the server a while; asked again it would do it twice. */
const SLOW_MS = 30_000

interface StreamInfo {
  readonly config: { readonly max_bytes?: number }
  readonly state: {
    readonly messages: number
    readonly bytes: number
    readonly subjects?: Readonly<Record<string, number>>
  }
}

interface StoredJson {
  readonly message: {
    readonly subject: string
    readonly seq: number
    readonly hdrs?: string
    readonly data?: string
    readonly time: string
  }
}

export function createNatsStream(
  link: NatsLink,
  names: Pick<StreamNames, 'stream'>,
  { log }: { readonly log: Logger },
): StreamPort {
  const { stream } = names
  const batchPrefix = Buffer.from(link.world.randomBytes(9)).toString('hex')
  let batches = 0

  const call = async <T>(subject: string, body: object | undefined, deadlineMs: number, againMs?: number) =>
    callJetStream<T>(link, {
      subject,
      ...(body === undefined ? {} : { body }),
      deadlineMs,
      ...(againMs === undefined ? {} : { againMs }),
    })

  const info = async (body: object | undefined, deadlineMs: number, againMs?: number): Promise<StreamInfo> => {
    const answer = await call<StreamInfo>(`STREAM.INFO.${stream}`, body, deadlineMs, againMs)
    if (!answer.ok) throw refusal(stream, answer.error)
    return answer.value
  }

  return {
    async commit(messages, deadlineMs) {
      const wrong = wrongIn(messages, link.maxPayload)
      if (wrong !== null) return wrong
      const id = messages.length === 1 ? null : `${batchPrefix}-${(++batches).toString(36)}`
      const outgoing = messages.map((message, index) => outgoingOf(message, id, index + 1, messages.length))
      const tooLarge = outgoing.find(
        (one) => one.payload.length + HEADERS > link.maxPayload && sizeOf(one) > link.maxPayload,
      )
      if (tooLarge !== undefined)
        return misconfigured(
          `a message of ${sizeOf(tooLarge)} bytes is larger than the server takes (${link.maxPayload})`,
        )
      const last = outgoing.pop()!
      return outcomeOf(await link.request({ ...last, before: outgoing, deadlineMs }), messages.length)
    },

    async last(subject, deadlineMs) {
      const answer = await call<StoredJson>(`STREAM.MSG.GET.${stream}`, { last_by_subj: subject }, deadlineMs)
      if (answer.ok) return storedOf(answer.value)
      if (answer.error.errCode === NO_MESSAGE) return null
      throw refusal(stream, answer.error)
    },

    async first(subject, deadlineMs) {
      const body = { seq: 1, next_by_subj: subject }
      const answer = await call<StoredJson>(`STREAM.MSG.GET.${stream}`, body, deadlineMs)
      if (answer.ok) return storedOf(answer.value)
      if (answer.error.errCode === NO_MESSAGE) return null
      throw refusal(stream, answer.error)
    },

    async at(sequence, deadlineMs) {
      const answer = await call<StoredJson>(`STREAM.MSG.GET.${stream}`, { seq: sequence }, deadlineMs)
      if (answer.ok) return storedOf(answer.value)
      if (answer.error.errCode === NO_MESSAGE) return null
      throw refusal(stream, answer.error)
    },

    async subjects(filter, deadlineMs) {
      const { state } = await info({ subjects_filter: filter }, deadlineMs, SLOW_MS)
      return Object.keys(state.subjects ?? {}).slice(0, MAX_SUBJECTS)
    },

    async state(deadlineMs) {
      const { config, state } = await info(undefined, deadlineMs)
      const { max_bytes: maxBytes = -1 } = config
      return {
        bytes: state.bytes,
        maxBytes: maxBytes > 0 ? maxBytes : Number.POSITIVE_INFINITY,
        messages: state.messages,
      }
    },

    read: (options) => startReading({ link, log, stream }, options),

    async purge(subject, keep, deadlineMs) {
      // Without a filter every checkpoint would go, and a sequence of 0 means all of it to the server.
      if (subject === '' || /[*>\s]/.test(subject))
        throw new TroupeError({
          code: 'purge-refused',
          message: 'only one whole subject is ever purged, and none is named',
        })
      if (!(keep > 1)) return
      const answer = await call<object>(`STREAM.PURGE.${stream}`, { filter: subject, seq: keep }, deadlineMs, SLOW_MS)
      if (!answer.ok) throw refusal(stream, answer.error)
    },
  }
}

function refusal(stream: string, error: ApiError): TroupeError {
  const why = `${error.description} (${error.errCode})`
  if (error.errCode === 10059)
    return new TroupeError({
      code: 'stream-missing',
      message: `the stream ${stream} is not there`,
      remedy: 'let Troupe create it, or create it with the command that `--no-provision` prints',
      exitCode: 2,
    })
  return new TroupeError({
    code: 'stream-refused',
    message: `JetStream refuses a request about the stream ${stream}: ${why}`,
    remedy: 'see the log of the NATS servers',
  })
}

function misconfigured(why: string): Outcome {
  return { kind: 'misconfigured', code: 0, why }
}

function wrongIn(messages: readonly StreamMessage[], maxPayload: number): Outcome | null {
  if (messages.length === 0) return misconfigured('a commit of no messages')
  if (messages.length > batchLimits.messages)
    return misconfigured(`a commit of ${messages.length} messages; ${batchLimits.messages} are allowed`)
  const bytes = messages.reduce((sum, message) => sum + message.payload.length, 0)
  if (bytes > batchLimits.alone) return misconfigured(`a commit of ${bytes} bytes; ${batchLimits.alone} are allowed`)
  if (messages.some((message) => message.payload.length > maxPayload))
    return misconfigured(`a message is larger than the server takes (${maxPayload})`)
  const seen = new Set<string>()
  for (const { subject, expect } of messages) {
    if (expect !== undefined && seen.has(subject))
      return misconfigured(`'${subject}' has its fence behind an earlier message of the same commit`)
    seen.add(subject)
  }
  return null
}

function outgoingOf(message: StreamMessage, batch: string | null, index: number, count: number): OutgoingMessage {
  const { subject, payload, headers, expect, rollup } = message
  if (batch === null && headers === undefined && expect === undefined && rollup !== true) return { subject, payload }
  const all = newHeaders()
  if (batch !== null) {
    all.append('Nats-Batch-Id', batch)
    all.append('Nats-Batch-Sequence', String(index))
    if (index === count) all.append('Nats-Batch-Commit', '1')
  }
  if (expect !== undefined) all.append('Nats-Expected-Last-Subject-Sequence', String(expect))
  if (rollup === true) {
    all.append('Nats-Rollup', 'sub')
    all.append('Nats-TTL', 'never')
  }
  for (const [name, value] of Object.entries(headers ?? {})) all.append(name, value)
  return { subject, payload, headers: all }
}

/** As the server counts against max_payload: names and values of headers are ASCII. */
function sizeOf({ payload, headers }: OutgoingMessage): number {
  return payload.length + (headers === undefined ? 0 : String(headers).length)
}

function storedOf({ message }: StoredJson): StoredMessage {
  return {
    subject: message.subject,
    sequence: message.seq,
    payload: message.data === undefined ? new Uint8Array(0) : Buffer.from(message.data, 'base64'),
    headers: headersOf(message.hdrs),
    storedAt: Date.parse(message.time),
  }
}

/** `NATS/1.0`, then `name: value` lines. */
function headersOf(text: string | undefined): Readonly<Record<string, string>> {
  if (text === undefined) return {}
  const lines = Buffer.from(text, 'base64').toString('utf8').split('\r\n').slice(1)
  return Object.fromEntries(
    lines.flatMap((line) => {
      const colon = line.indexOf(':')
      return colon < 1 ? [] : [[line.slice(0, colon), line.slice(colon + 1).trim()] as const]
    }),
  )
}
