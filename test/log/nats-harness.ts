/** A NATS server, a link to it and a stream for one test; what is started is ended with the test. */
import { onTestFinished } from 'vitest'
import { createNatsStream } from '../../src/log/jetstream/nats-stream.js'
import type { StreamMessage, StreamPort } from '../../src/log/jetstream/port.js'
import { type NatsOptions, type NatsServer, startNats } from '../../src/servers/nats.js'
import { connectNats, type NatsConnectOptions, type NatsLink } from '../../src/wire/nats/connect.js'
import { callJetStream } from '../../src/wire/nats/jetstream-api.js'
import type { Logger } from '../../src/world/logger.js'
import { realWorld } from '../../src/world/real.js'

export const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} }

export async function server(options: NatsOptions = {}): Promise<NatsServer> {
  const started = await startNats(options)
  onTestFinished(() => started.stop())
  return started
}

export async function linkTo(url: string, options: Partial<NatsConnectOptions> = {}): Promise<NatsLink> {
  const link = await connectNats({ servers: url, name: 'troupe.test', world: realWorld, log: silent, ...options })
  onTestFinished(() => link.close())
  return link
}

/** Sequence of the last message that a stream has taken. */
export async function endOf(link: NatsLink, stream: string): Promise<number> {
  const answer = await callJetStream<{ state: { last_seq: number } }>(link, {
    subject: `STREAM.INFO.${stream}`,
    deadlineMs: 5_000,
  })
  if (!answer.ok) throw new Error(answer.error.description)
  return answer.value.state.last_seq
}

/** Makes a stream with what the protocol needs; `over` is in the server's words. */
export async function makeStream(
  link: NatsLink,
  over: Readonly<Record<string, unknown>> = {},
  log = silent,
): Promise<StreamPort> {
  const config = {
    name: 'T',
    subjects: ['t.>'],
    storage: 'file',
    discard: 'new',
    allow_atomic: true,
    allow_rollup_hdrs: true,
    allow_msg_ttl: true,
    ...over,
  }
  const answer = await api(link, `STREAM.CREATE.${config.name}`, config)
  if (!answer.ok) throw new Error(answer.error.description)
  return createNatsStream(link, { stream: config.name }, { log })
}

export function api(link: NatsLink, subject: string, body?: object) {
  return callJetStream<Record<string, unknown>>(link, {
    subject,
    ...(body === undefined ? {} : { body }),
    deadlineMs: 10_000,
  })
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export function message(subject: string, text = 'x', over: Partial<StreamMessage> = {}): StreamMessage {
  return { subject, payload: encoder.encode(text), ...over }
}

export const textOf = (payload: Uint8Array) => decoder.decode(payload)
