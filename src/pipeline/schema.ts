/**
 * The one schema of a pipeline. It checks the YAML file and the TypeScript form alike, fills in the defaults, and its
 * descriptions are the JSON Schema that editors read (`troupe validate --schema`).
 *
 * What concerns two keys at once (a name in `from` that is no source) is checked in resolve.ts.
 */
import { z } from 'zod'
import type { Operation } from '../event/event.js'
import { operations } from '../event/layout.js'
import type { ProcessorHandler } from '../processor/processor.js'
import { isHandler } from './define.js'
import {
  address,
  duration,
  flag,
  integer,
  namePattern,
  natsServers,
  share,
  size,
  strings,
  template,
  text,
} from './scalar.js'

const policy = z.enum(['if-missing', 'never'])
const placement = z
  .enum(['inline', 'thread'])
  .meta({ description: 'Where the reader runs: `inline` on the main thread (default), or on a worker `thread`.' })
  .prefault('inline')

const postgresSource = z
  .strictObject({
    kind: z.literal('postgres'),
    url: address(['postgres', 'postgresql'], {
      description:
        'Server, user and database: postgres://user:password@host:port/database?sslmode=… The user needs REPLICATION.',
    }),
    publication: text({
      what: 'the name of a publication',
      pattern: /^[^\0]{1,63}$/,
      description: 'The publication to read; default `troupe_<pipeline>_<source>`.',
    }).optional(),
    createPublication: policy
      .meta({
        description:
          '`if-missing` creates the publication for `tables`; `never` refuses a missing one. Default `if-missing` when `tables` is given, else `never`.',
      })
      .optional(),
    tables: strings({
      what: 'a table as schema.table',
      pattern: /^[^.\0]+\.[^\0]+$/,
      max: 10_000,
      description: 'Tables as schema.table: for a publication that Troupe creates, and checked before the start.',
    }).prefault([]),
    slot: text({
      what: 'the name of a replication slot: 1 to 63 of a-z, 0-9 and _',
      pattern: /^[a-z0-9_]{1,63}$/,
      description: 'The replication slot; default `troupe_<pipeline>_<source>`.',
    }).optional(),
    createSlot: policy
      .meta({ description: '`if-missing` (default) creates the slot; `never` refuses a missing one.' })
      .prefault('if-missing'),
    onGap: z
      .enum(['stop', 'report'])
      .meta({
        description:
          'When the slot is ahead of our checkpoint, so that events are gone which we never saw: `stop` (default), or `report` a loss window and go on.',
      })
      .prefault('stop'),
    placement,
  })
  .meta({ title: 'PostgreSQL source', description: 'Reads the WAL of one replication slot.' })

const redisStreamsSource = z
  .strictObject({
    kind: z.literal('redis-streams'),
    url: address(['redis', 'rediss'], { description: 'redis://user:password@host:port/db or rediss://…' }),
    streams: strings({
      what: 'the name of a stream',
      min: 1,
      max: 1_000,
      description: 'Streams to read, one lane each.',
    }),
    mode: z
      .enum(['read', 'group'])
      .meta({
        description:
          '`read` (default): XREAD from our own checkpoint, total order per stream. `group`: XREADGROUP, the pending list of the group is the truth.',
      })
      .prefault('read'),
    group: text({
      what: 'the name of a consumer group',
      description:
        'Consumer group. Mode `group`: default `troupe-<pipeline>`. Mode `read`: if named, it follows the confirmed position.',
    })
      .nullable()
      .optional(),
    keyField: text({
      what: 'the name of a field',
      description: 'Field whose value is the ordering key; without it the stream is the key.',
    })
      .nullable()
      .prefault(null),
    start: z
      .enum(['earliest', 'latest'])
      .meta({ description: 'Where a stream without a checkpoint begins; default `earliest`.' })
      .prefault('earliest'),
    count: integer({ min: 1, max: 10_000, default: 1_000 }, { description: 'COUNT of one read.' }).prefault(1_000),
    placement,
  })
  .meta({ title: 'Redis Streams source', description: 'Reads one or more streams of one server.' })

const jsonlSink = z
  .strictObject({
    kind: z.literal('jsonl'),
    path: template(['partition'], {
      description: 'File that is appended to, relative to this file, or `-` for standard output.',
    }),
    sync: flag(true, { description: 'fsync after each batch (default true; never for `-`).' }).prefault(true),
  })
  .meta({ title: 'JSON lines sink', description: 'One event a line, to a file or standard output.' })

const redisSink = z
  .strictObject({
    kind: z.literal('redis'),
    url: address(['redis', 'rediss'], { description: 'redis://user:password@host:port/db or rediss://…' }),
    write: z
      .enum(['stream', 'hash', 'string'])
      .meta({
        description:
          '`stream` (default): XADD to the stream `name`; `hash`: HSET/DEL of the row at the key `name`; `string`: SET/DEL of the row as JSON.',
      })
      .prefault('stream'),
    name: template(['source', 'namespace', 'entity', 'key', 'operation', 'partition'], {
      description: 'Name of the stream or key; default `{source}:{entity}` for streams, `{entity}:{key}` for rows.',
    }).optional(),
    format: z
      .enum(['columns', 'json'])
      .meta({
        description:
          'Fields of a stream entry: `columns` (default): id, operation and each column; `json`: one field `event`.',
      })
      .prefault('columns'),
    maxLength: integer(
      { min: 1, max: Number.MAX_SAFE_INTEGER },
      { description: 'Approximate MAXLEN of a stream; none without it.' },
    )
      .nullable()
      .prefault(null),
    batch: integer(
      { min: 1, max: 10_000, default: 512 },
      { description: 'Items in one pipelined batch, or in one commit.' },
    ).prefault(512),
    exactlyOnce: flag(false, {
      description:
        'Stores the checkpoint with the work, in one atomic step: exactly-once effect, one commit at a time in each partition. Default false.',
    }).prefault(false),
  })
  .meta({ title: 'Redis sink', description: 'Writes to streams, hashes or strings in pipelined batches.' })

export const sourceSchema = z.discriminatedUnion('kind', [postgresSource, redisStreamsSource])
const natsSink = z
  .strictObject({
    kind: z.literal('nats'),
    url: natsServers({ description: 'NATS servers: nats://user:password@host:port, several separated by commas.' }),
    stream: text({
      what: 'the name of a stream: 1 to 64 of A-Z a-z 0-9 _ -, not TROUPE_…, which are logs of pipelines',
      pattern: /^(?!TROUPE_)[A-Za-z0-9_-]{1,64}$/,
      description: 'The JetStream stream that takes the messages and their checkpoints.',
    }),
    subject: template(['source', 'namespace', 'entity', 'key', 'operation', 'partition'], {
      description: 'Subject of each message; a placeholder fills one token.',
    }),
    batch: integer(
      { min: 1, max: 899, default: 256 },
      { description: 'Messages from which on a commit is full.' },
    ).prefault(256),
  })
  .meta({
    title: 'NATS sink',
    description: 'Writes to a JetStream stream, checkpoint and messages in one atomic batch: exactly-once effect.',
  })

export const sinkSchema = z.discriminatedUnion('kind', [jsonlSink, redisSink, natsSink])

const filter = z
  .strictObject({
    namespaces: strings({
      what: 'a name or a glob with *',
      max: 1_000,
      description: 'Schemas (PostgreSQL) or database numbers (Redis); names or globs with `*`; all without it.',
    }).prefault([]),
    entities: strings({
      what: 'a name or a glob with *',
      max: 10_000,
      description: 'Tables or streams; names or globs with `*`; all without it.',
    }).prefault([]),
    operations: z
      .array(z.enum(operations as readonly [Operation, ...Operation[]]))
      .max(operations.length)
      .meta({ description: 'Operations that pass; all without it.' })
      .prefault([]),
  })
  .meta({ description: 'Events that the processor gets. All three must pass.' })

const retry = z
  .strictObject({
    initial: duration({ min: 1, max: 600_000, default: 100 }, { description: 'First delay.' }).prefault(100),
    max: duration({ min: 1, max: 3_600_000, default: 10_000 }, { description: 'Largest delay.' }).prefault(10_000),
    maxElapsed: duration(
      { min: 0, max: 86_400_000, default: 60_000 },
      { description: 'Time after which the event counts as failed. Its key waits meanwhile.' },
    ).prefault(60_000),
    jitter: share({ min: 0, max: 1, default: 0.2 }, { description: 'Share of a delay that is random.' }).prefault(0.2),
  })
  .meta({ description: 'How often, and how long, a failing event is tried again.' })

/** What `handler` may be: in a file a module's path; in TypeScript also its URL, or the handler itself. */
// biome-ignore lint/suspicious/noExplicitAny: a handler's resources are its own affair
export type HandlerInput = string | URL | ProcessorHandler<any>

const handler = z
  .custom<HandlerInput>()
  .transform((value, context) => {
    if (typeof value === 'string' && value !== '') return value
    if (value instanceof URL) return value
    if (isHandler(value)) return value
    context.addIssue({
      code: 'custom',
      message:
        'must be the path of a module whose default export was made with defineProcessor (in TypeScript also the handler itself)',
      params: { code: 'wrong-type' },
    })
    return z.NEVER
  })
  .meta({
    type: 'string',
    minLength: 1,
    description: 'Module whose default export is a processor made with `defineProcessor`; relative to this file.',
  })

const processor = z
  .strictObject({
    from: strings({
      what: 'the name of a source',
      min: 1,
      max: 256,
      description: 'Names of the sources that it reads; all without it.',
    }).optional(),
    order: z
      .enum(['key', 'none', 'global'])
      .meta({
        description:
          '`key` (default): events of one key in order of execution. `none`: no order. `global`: one partition, everything in order, one at a time.',
      })
      .prefault('key'),
    concurrency: integer(
      { min: 1, max: 10_000, default: 16 },
      { description: 'Handlers of different keys that may run at once in one partition; 1 with order `global`.' },
    ).optional(),
    filter: filter.prefault({}),
    handler: handler.nullable().optional(),
    sink: sinkSchema.meta({ description: 'Where its output goes; nowhere without it.' }).nullable().optional(),
    start: z
      .enum(['earliest', 'latest'])
      .meta({
        description:
          'In a cluster, where a processor of a new name begins: with the `earliest` event that the log retains (default), or with what comes from now on.',
      })
      .prefault('earliest'),
    retry: retry.prefault({}),
    guarantee: z
      .enum(['at-least-once', 'exactly-once'])
      .meta({
        description:
          'The least that each of its paths must promise, else the pipeline does not start; nothing is demanded without it.',
      })
      .optional(),
    onFailure: z
      .enum(['dead-letter', 'stop'])
      .meta({
        description:
          'After the last retry: the event becomes a `dead-letter` (default) and its key goes on, or the partition stops.',
      })
      .prefault('dead-letter'),
  })
  .meta({
    description: 'Takes events from sources, runs a handler, writes to a sink. Needs a handler, a sink or both.',
  })

const cluster = z
  .strictObject({
    replicas: integer(
      { min: 1, max: 5 },
      { description: 'Replicas of the log; default 3 where there are three servers, else 1.' },
    ).optional(),
    maxBytes: size(
      { min: 64 * 1024 ** 2, max: 64 * 1024 ** 4, default: 8 * 1024 ** 3 },
      { description: 'Bound of the log. Readers stop at 80 % of it.' },
    ).prefault(8 * 1024 ** 3),
    durability: z
      .enum(['lazy', 'synced'])
      .meta({
        description:
          '`lazy` (default): a source is told of an event only when the log has had it for `holdback`. `synced`: at once; you vouch for `sync_interval: always` on every server.',
      })
      .prefault('lazy'),
    holdback: duration(
      { min: 1_000, max: 3_600_000, default: 240_000 },
      {
        description:
          'With `lazy`: longer than the servers may leave what they acknowledged unsynced (their default is two minutes).',
      },
    ).prefault(240_000),
    retain: duration(
      { min: 0, max: 31 * 86_400_000, default: 0 },
      { description: 'How long processed events stay in the log, for `troupe seek`.' },
    ).prefault(0),
    lease: duration(
      { min: 300, max: 300_000, default: 3_000 },
      { description: 'Silence after which a node counts as dead and others take over its work.' },
    ).prefault(3_000),
  })
  .meta({ description: 'How it runs with `--cluster`. Without that, nothing here has an effect.' })

const name = z.string().regex(namePattern)

export const pipelineSchema = z
  .strictObject({
    name: text({
      what: 'a name: 1 to 64 of A-Z, a-z, 0-9, _ and -',
      pattern: namePattern,
      description:
        'Name of the pipeline, 1 to 64 of A-Z, a-z, 0-9, _ and -. It is its identity: slots, groups and data bear it.',
    }),
    data: text({
      what: 'the path of a directory',
      description:
        'Data directory (checkpoints, dead letters, socket), relative to this file; default `.troupe/<name>`.',
    }).optional(),
    partitions: integer(
      { min: 1, max: 1_024, default: 16 },
      { description: 'Partitions by key. Changing it needs a drained pipeline.' },
    ).prefault(16),
    threads: integer(
      { min: 0, max: 256 },
      {
        description:
          'Threads that own partitions; 0 runs them on the main thread. Default: one for every 4 partitions, at most the cores.',
      },
    ).optional(),
    stopDeadline: duration(
      { min: 0, max: 3_600_000, default: 30_000 },
      { description: 'Time between SIGTERM and a forced end.' },
    ).prefault(30_000),
    checkpointInterval: duration(
      { min: 10, max: 60_000, default: 1_000 },
      { description: 'Time between checkpoints: what a crash makes happen again.' },
    ).prefault(1_000),
    cluster: cluster.prefault({}),
    sources: z.record(name, sourceSchema).meta({ description: 'Where events come from, by name.' }),
    processors: z
      .record(name, processor)
      .meta({ description: 'What is done with them, by name. A name is an identity.' }),
  })
  .meta({ title: 'Troupe pipeline' })

/** What `definePipeline` takes. */
export type PipelineConfig = z.input<typeof pipelineSchema>
export type CheckedPipeline = z.output<typeof pipelineSchema>

/** The schema for editors, JSON Schema draft 7. */
export function pipelineJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(pipelineSchema, {
    io: 'input',
    target: 'draft-7',
    unrepresentable: 'any',
    override: ({ jsonSchema }) => hoistDescription(jsonSchema),
  }) as Record<string, unknown>
}

/** What may also be null has its description inside; editors look for it outside. */
function hoistDescription(schema: { description?: string; anyOf?: unknown[]; default?: unknown }): void {
  if (schema.description !== undefined || schema.anyOf === undefined) return
  const described = schema.anyOf.find(
    (one): one is { description: string } => typeof (one as { description?: unknown }).description === 'string',
  )
  if (described !== undefined) schema.description = described.description
}
