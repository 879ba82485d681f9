/**
 * What the stream of a pipeline must be, how an existing one differs from it, and the command that makes it by hand.
 *
 * `discard: new` without age or count: the log forgets only what the checkpoints allow. Rollups and `Nats-TTL: never` are what
 * checkpoints are made of, atomic batches what commits are.
 */
import type { StreamNames } from './names.js'

export interface WantedStream {
  readonly names: Pick<StreamNames, 'stream' | 'subjects'>
  readonly maxBytes: number
  /** Null: what there is will do. */
  readonly replicas: number | null
}

/** A stream's configuration in the server's words. */
export type StreamConfig = Readonly<Record<string, unknown>>

export interface Difference {
  readonly field: string
  readonly ours: string
  readonly theirs: string
}

export function configOf({ names, maxBytes, replicas }: WantedStream): StreamConfig {
  return {
    name: names.stream,
    description: 'The log of a Troupe pipeline: frames and checkpoints. Never change or purge it by hand.',
    subjects: [...names.subjects],
    retention: 'limits',
    storage: 'file',
    discard: 'new',
    max_age: 0,
    max_msgs: -1,
    max_msgs_per_subject: -1,
    max_msg_size: -1,
    max_bytes: maxBytes,
    num_replicas: replicas ?? 3,
    allow_atomic: true,
    allow_rollup_hdrs: true,
    allow_msg_ttl: true,
    allow_direct: false,
    deny_purge: false,
    deny_delete: false,
  }
}

/** Of these the log does not care. */
const free = new Set(['name', 'description', 'allow_direct', 'deny_delete'])
/** What would change or forget messages behind our back; must not be there. */
const foreign = [
  'mirror',
  'sources',
  'subject_transform',
  'sealed',
  'no_ack',
  'discard_new_per_subject',
  'subject_delete_marker_ttl',
]

export function differencesOf(wanted: WantedStream, theirs: StreamConfig): readonly Difference[] {
  const checked = Object.entries(configOf(wanted)).filter(
    ([field]) => !free.has(field) && !(field === 'num_replicas' && wanted.replicas === null),
  )
  const different = checked.flatMap(([field, value]): Difference[] => {
    const ours = textOf(value)
    // What is off or zero may be left out.
    const other = textOf(theirs[field] ?? (value === false || value === 0 ? value : 'not set'))
    return ours === other ? [] : [{ field, ours, theirs: other }]
  })
  const added = foreign.flatMap((field): Difference[] => {
    const value = theirs[field]
    const absent = value === undefined || value === null || value === false || value === 0
    return absent ? [] : [{ field, ours: 'not set', theirs: textOf(value) }]
  })
  return [...different, ...added]
}

function textOf(value: unknown): string {
  if (Array.isArray(value)) return value.map(textOf).sort().join(' ')
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

/** For the NATS command line, to be run by somebody who may create streams. */
export function creationCommand(wanted: WantedStream): string {
  const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`
  return `nats request ${quoted(`$JS.API.STREAM.CREATE.${wanted.names.stream}`)} ${quoted(JSON.stringify(configOf(wanted)))}`
}
