/**
 * Whether a stream can take output and checkpoints in one atomic batch. It is the user's: it is looked at before the start and
 * never made or changed; what is missing is said as the command that mends it.
 */
import type { NatsLink } from '../wire/nats/connect.js'
import { callJetStream } from '../wire/nats/jetstream-api.js'
import { TroupeError } from '../world/error.js'
import type { NatsSinkDefinition } from './definition.js'
import { covers, patternOf } from './nats-subject.js'
import type { SinkContext } from './sink.js'

const STREAM_NOT_FOUND = 10059
const DEADLINE_MS = 10_000

interface StreamInfo {
  readonly config: Readonly<Record<string, unknown>> & { readonly subjects?: readonly string[] }
}

type Place = Pick<SinkContext, 'pipeline' | 'processor'>

/** Where the checkpoint of one partition lies; docs/sinks.md names it for those who must look. */
export function checkpointSubject(context: Place & Pick<SinkContext, 'set' | 'partition'>): string {
  return `${checkpointRoot(context)}.${context.set}.${context.partition}`
}

function checkpointRoot({ pipeline, processor }: Place): string {
  return `troupe-ck.${pipeline}.${processor}`
}

/** @throws TroupeError `sink-stream` (exit code 2), `nats-denied`, `nats-silent` */
export async function checkOutputStream(
  link: NatsLink,
  definition: NatsSinkDefinition,
  context: Place,
  place: string,
): Promise<void> {
  const { stream, subject } = definition
  const wanted = [patternOf(subject), `${checkpointRoot(context)}.>`]
  const answer = await callJetStream<StreamInfo>(link, { subject: `STREAM.INFO.${stream}`, deadlineMs: DEADLINE_MS })
  if (!answer.ok) {
    const { errCode, description } = answer.error
    if (errCode !== STREAM_NOT_FOUND)
      throw wrong(place, `stream ${stream} cannot be read: ${description} (${errCode})`, 'mend what the server says')
    throw wrong(
      place,
      `there is no stream ${stream}`,
      `create it: nats stream add ${stream} --subjects '${wanted.join(',')}' --storage file --replicas 3 --allow-batch --allow-rollup --allow-msg-ttl --defaults`,
    )
  }
  const { config } = answer.value
  const subjects = config.subjects ?? []
  const missing = wanted.filter((pattern) => !subjects.some((filter) => covers(filter, pattern)))
  if (missing.length > 0)
    throw wrong(
      place,
      `stream ${stream} does not take ${missing.map((one) => `'${one}'`).join(' and ')}`,
      `nats stream edit ${stream} --subjects '${[...subjects, ...missing].join(',')}'`,
    )
  if (config.allow_atomic !== true)
    throw wrong(place, `stream ${stream} takes no atomic batches`, `nats stream edit ${stream} --allow-batch`)
  if (config.allow_rollup_hdrs !== true || config.deny_purge === true)
    throw wrong(
      place,
      `stream ${stream} lets no checkpoint replace the one before it (allow_rollup_hdrs is off)`,
      `create it with --allow-rollup and without --deny-purge`,
    )
  if (config.allow_msg_ttl !== true)
    throw wrong(
      place,
      `stream ${stream} would forget checkpoints with its old messages (allow_msg_ttl is off)`,
      `nats stream edit ${stream} --allow-msg-ttl`,
    )
  for (const field of ['sealed', 'no_ack', 'mirror'])
    if (config[field])
      throw wrong(place, `stream ${stream} takes no acknowledged messages (${field})`, 'name another stream')
}

function wrong(place: string, message: string, remedy: string): TroupeError {
  return new TroupeError({ code: 'sink-stream', message, place, remedy, exitCode: 2, permanent: true })
}
