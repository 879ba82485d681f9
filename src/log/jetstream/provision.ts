/**
 * The stream of a pipeline: created, or checked and never changed.
 *
 * With `provision` the stream is created where it is missing, after a look at whether another one already covers its
 * subjects. R3 where the cluster has three servers; R1 on a single one, and then it is said aloud. What exists is compared
 * field by field, and a difference is reported with both values.
 *
 * The least that a node's user must be allowed (`leastPrivileges` gives the same as a value, and a test runs with it):
 *
 * | may publish to | for |
 * |---|---|
 * | `$JS.API.STREAM.INFO.<stream>` | checks, state, where a reading resumes |
 * | `$JS.API.STREAM.MSG.GET.<stream>` | fences are read through the leader |
 * | `$JS.API.STREAM.PURGE.<stream>` | trimming |
 * | `$JS.API.CONSUMER.CREATE.<stream>.>`, `$JS.API.CONSUMER.MSG.NEXT.<stream>.>`, `$JS.API.CONSUMER.DELETE.<stream>.>` | reading |
 * | `troupe.<pipeline>.>` | frames, checkpoints, control traffic |
 * | `$JS.API.INFO` | optional: tells why JetStream is off, and the limits of the account |
 *
 * and subscribe to `troupe.<pipeline>.ctl.>` and `_INBOX.>` (or what `?inbox=` names, with `.>`). Creating the stream takes
 * `$JS.API.STREAM.CREATE.<stream>` and `$JS.API.STREAM.NAMES` on top.
 */
import type { NatsLink } from '../../wire/nats/connect.js'
import { type ApiAnswer, type ApiError, callJetStream } from '../../wire/nats/jetstream-api.js'
import { TroupeError } from '../../world/error.js'
import type { Logger } from '../../world/logger.js'
import { sleep } from '../../world/sleep.js'
import type { StreamNames } from './names.js'
import { configOf, creationCommand, differencesOf, type StreamConfig, type WantedStream } from './stream-config.js'

export interface ProvisionOptions {
  /** Null, the default: three where the cluster has as many servers, else one; what exists is taken as it is. */
  readonly replicas?: number | null
  /** Bytes that the stream may hold on each server. */
  readonly maxBytes: number
  /** Create what is missing. False: only look. */
  readonly provision: boolean
  readonly log: Logger
  readonly place?: string
  /** Bytes below which a log is refused. Default 64 MiB: four batches of the largest size. For tests of a full log. */
  readonly smallest?: number
}

export interface Provisioned {
  readonly created: boolean
  readonly replicas: number
  readonly maxBytes: number
}

type Names = Pick<StreamNames, 'stream' | 'subjects'>

const SMALLEST_LOG = 64 * 1024 * 1024
/** A frame is at most 128 KiB and must fit, with its headers. */
const SMALLEST_PAYLOAD = 256 * 1024
const CALL_MS = 15_000
/** How long a cluster is waited for whose servers may be starting. */
const PEERS_MS = 3_000
const PEERS_PAUSE_MS = 250
const STREAM_NOT_FOUND = 10059
const NAME_IN_USE = 10058
const OVERLAP = 10065
const NOT_CLUSTERED = 10074
const NO_PEERS = 10005
/** Of the account, the servers, or the stream's size. */
const LIMITS = new Set([10002, 10023, 10027, 10028, 10047, 10053, 10113, 10120, 10122])

/**
 * @throws TroupeError `stream-differs`, `stream-missing`, `stream-overlap`, `stream-too-small`, `stream-limits`,
 * `stream-peers`, `stream-refused`, `max-payload-too-small`, `nats-denied`, `nats-silent`
 */
export async function provisionStream(link: NatsLink, names: Names, options: ProvisionOptions): Promise<Provisioned> {
  const wanted: WantedStream = { names, maxBytes: options.maxBytes, replicas: options.replicas ?? null }
  checkSizes(link, options)
  const found = await infoOf(link, names, options)
  if (found !== null) return accept(wanted, found, options)
  if (!options.provision) throw missing(wanted, options)
  await refuseOverlap(link, names, options)
  return create(link, wanted, options)
}

export function leastPrivileges(
  pipeline: string,
  { stream }: Pick<StreamNames, 'stream'>,
  inboxPrefix = '_INBOX',
): { readonly publish: readonly string[]; readonly subscribe: readonly string[] } {
  return {
    publish: [
      `$JS.API.STREAM.INFO.${stream}`,
      `$JS.API.STREAM.MSG.GET.${stream}`,
      `$JS.API.STREAM.PURGE.${stream}`,
      `$JS.API.CONSUMER.CREATE.${stream}.>`,
      `$JS.API.CONSUMER.MSG.NEXT.${stream}.>`,
      `$JS.API.CONSUMER.DELETE.${stream}.>`,
      `troupe.${pipeline}.>`,
    ],
    subscribe: [`troupe.${pipeline}.ctl.>`, `${inboxPrefix}.>`],
  }
}

function checkSizes(link: NatsLink, options: ProvisionOptions): void {
  const smallest = options.smallest ?? SMALLEST_LOG
  if (!(options.maxBytes >= smallest) || !Number.isSafeInteger(options.maxBytes))
    throw wrong(options, {
      code: 'stream-too-small',
      message: `a log of ${options.maxBytes} bytes is too small: readers stop at four fifths of it, and a batch may have 16 MiB`,
      remedy: `give it at least ${smallest} bytes`,
    })
  if (link.maxPayload < SMALLEST_PAYLOAD)
    throw wrong(options, {
      code: 'max-payload-too-small',
      message: `NATS at ${link.described} takes messages of at most ${link.maxPayload} bytes; Troupe needs ${SMALLEST_PAYLOAD}`,
      remedy: 'raise `max_payload` in the configuration of all its servers (its default is 1MB)',
    })
}

async function infoOf(link: NatsLink, names: Names, options: ProvisionOptions): Promise<StreamConfig | null> {
  const answer = await call<{ readonly config: StreamConfig }>(link, `STREAM.INFO.${names.stream}`)
  if (answer.ok) return answer.value.config
  if (answer.error.errCode === STREAM_NOT_FOUND) return null
  throw refused(link, `tells nothing about the stream ${names.stream}`, answer.error, options)
}

function accept(wanted: WantedStream, theirs: StreamConfig, options: ProvisionOptions): Provisioned {
  const differences = differencesOf(wanted, theirs)
  if (differences.length > 0)
    throw wrong(options, {
      code: 'stream-differs',
      message: `the stream ${wanted.names.stream} exists and is another: ${differences
        .map(({ field, ours, theirs }) => `${field} is ${theirs}, wanted ${ours}`)
        .join('; ')}`,
      remedy:
        'correct the pipeline, or the stream with `nats stream edit`; Troupe never changes a stream. A stream of another purpose wants another name of the pipeline',
    })
  const replicas = Number(theirs.num_replicas ?? 1)
  if (replicas < 2) sayOne(wanted, options)
  return { created: false, replicas, maxBytes: Number(theirs.max_bytes) }
}

async function refuseOverlap(link: NatsLink, names: Names, options: ProvisionOptions): Promise<void> {
  for (const subject of names.subjects) {
    const answer = await call<{ readonly streams?: readonly string[] | null }>(link, 'STREAM.NAMES', { subject })
    if (!answer.ok) throw refused(link, 'does not tell which streams there are', answer.error, options)
    const others = (answer.value.streams ?? []).filter((name) => name !== names.stream)
    if (others.length > 0) throw overlap(names, `'${subject}' is covered by ${others.slice(0, 5).join(', ')}`, options)
  }
}

/** @param until when a cluster that has no room for three replicas is no longer waited for: its servers may be starting */
async function create(
  link: NatsLink,
  wanted: WantedStream,
  options: ProvisionOptions,
  until = link.world.monotonic() + PEERS_MS,
): Promise<Provisioned> {
  const replicas = wanted.replicas ?? 3
  const { stream } = wanted.names
  const answer = await call<{ readonly config: StreamConfig; readonly did_create?: boolean }>(
    link,
    `STREAM.CREATE.${stream}`,
    configOf({ ...wanted, replicas }),
  )
  if (answer.ok) {
    if (replicas < 2) sayOne(wanted, options)
    options.log.info({ stream, replicas, maxBytes: wanted.maxBytes }, 'created the log')
    return { created: answer.value.did_create !== false, replicas, maxBytes: wanted.maxBytes }
  }
  const { error } = answer
  if (wanted.replicas === null && error.errCode === NOT_CLUSTERED)
    return create(link, { ...wanted, replicas: 1 }, options)
  if (wanted.replicas === null && error.errCode === NO_PEERS) {
    if (link.world.monotonic() < until) {
      await sleep(link.world, PEERS_PAUSE_MS)
      return create(link, wanted, options, until)
    }
    if (isSmall(link, error)) return create(link, { ...wanted, replicas: 1 }, options)
  }
  // Another node was quicker; or it is not the stream that we would have made.
  if (error.errCode === NAME_IN_USE) return accept(wanted, (await infoOf(link, wanted.names, options)) ?? {}, options)
  throw refusalOf(link, wanted, replicas, error, options)
}

/**
 * A cluster of two has no third peer; but one of three whose third is away, or has never been there yet, must not get a log of
 * one replica for it. How many there shall be is known from those that are there, and from those that the URL names.
 */
function isSmall(link: NatsLink, error: ApiError): boolean {
  const known = Math.max(link.connection.info?.connect_urls?.length ?? 0, link.servers.length)
  return !/offline/i.test(error.description) && known < 3
}

function refusalOf(
  link: NatsLink,
  wanted: WantedStream,
  replicas: number,
  error: ApiError,
  options: ProvisionOptions,
): TroupeError {
  const { stream } = wanted.names
  if (error.errCode === OVERLAP) return overlap(wanted.names, textOf(error), options)
  if (error.errCode === NOT_CLUSTERED || error.errCode === NO_PEERS)
    return wrong(options, {
      code: 'stream-peers',
      message: `NATS at ${link.described} cannot keep ${replicas} replicas of the stream ${stream}: ${textOf(error)}`,
      remedy: 'start all servers of the cluster, or say how many replicas there shall be',
    })
  if (LIMITS.has(error.errCode))
    return wrong(options, {
      code: 'stream-limits',
      message: `a log of ${wanted.maxBytes} bytes is more than the account or the servers allow: ${textOf(error)}`,
      remedy: 'raise max_file_store of the servers or the limits of the account, or make the log smaller',
    })
  return refused(link, `does not create the stream ${stream}`, error, options)
}

function refused(link: NatsLink, what: string, error: ApiError, options: ProvisionOptions): TroupeError {
  return wrong(options, {
    code: 'stream-refused',
    message: `NATS at ${link.described} ${what}: ${textOf(error)}`,
    remedy: 'see the log of its servers',
  })
}

function missing(wanted: WantedStream, options: ProvisionOptions): TroupeError {
  return wrong(options, {
    code: 'stream-missing',
    message: `the stream ${wanted.names.stream} is not there, and Troupe shall not create it`,
    remedy: `create it: ${creationCommand(wanted)}`,
  })
}

function overlap(names: Names, why: string, options: ProvisionOptions): TroupeError {
  return wrong(options, {
    code: 'stream-overlap',
    message: `the stream ${names.stream} cannot be created: ${why}`,
    remedy: 'take these subjects out of the other stream, or use an account of its own for Troupe',
  })
}

function sayOne({ names }: WantedStream, { log }: ProvisionOptions): void {
  log.warn(
    { stream: names.stream, replicas: 1 },
    'the log has one replica: what it holds is lost with the disk of its server, and no pipeline runs while it is away',
  )
}

function wrong(
  { place }: ProvisionOptions,
  init: { readonly code: string; readonly message: string; readonly remedy: string },
): TroupeError {
  return new TroupeError({ ...init, ...(place === undefined ? {} : { place }), exitCode: 2, permanent: true })
}

function call<T>(link: NatsLink, subject: string, body?: object): Promise<ApiAnswer<T>> {
  return callJetStream<T>(link, {
    subject,
    ...(body === undefined ? {} : { body }),
    deadlineMs: CALL_MS,
    againMs: 5_000,
  })
}

function textOf(error: ApiError): string {
  return `${error.description} (${error.errCode})`
}
