// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are what is tested
import { describe, expect, it } from 'vitest'
import { loadPipeline } from '../../src/pipeline/load.js'
import { problemsOf } from '../../src/pipeline/problem.js'
import { TroupeError } from '../../src/world/error.js'
import { scratch, shop } from './scratch.js'

type Env = Readonly<Record<string, string>>

async function load(text: string, env: Env = {}) {
  const path = scratch({ 'pipeline.yaml': text })
  return loadPipeline(path('pipeline.yaml'), { env, cores: 4 })
}

/** `line:column code: message` of each error. */
async function errorsOf(text: string, env: Env = {}): Promise<string[]> {
  const path = scratch({ 'pipeline.yaml': text })
  const file = path('pipeline.yaml')
  const error = await loadPipeline(file, { env }).then(
    () => null,
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof TroupeError)) throw new Error(`no TroupeError: ${String(error)}`)
  expect(error.exitCode).toBe(2)
  return problemsOf(error).map((one) => {
    expect(one.exitCode).toBe(2)
    return `${one.place?.replace(file, '').replace(/^:/, '')} ${one.code}: ${one.message}`
  })
}

const broken = (from: string, to: string): string => {
  expect(shop).toContain(from)
  return shop.replace(from, () => to)
}

describe('a pipeline in YAML', () => {
  it('becomes a definition with every default filled in and every path absolute', async () => {
    const definition = await load(shop)
    expect(definition).toMatchObject({
      name: 'shop',
      partitions: 16,
      threads: 4,
      stopDeadline: 30_000,
      checkpointInterval: 1_000,
      sources: {
        db: {
          kind: 'postgres',
          publication: 'troupe_shop_db',
          slot: 'troupe_shop_db',
          createPublication: 'if-missing',
          createSlot: 'if-missing',
          onGap: 'stop',
          placement: 'inline',
        },
        clicks: { mode: 'read', group: null, keyField: null, start: 'earliest', count: 1_000 },
      },
      processors: {
        orders: {
          from: ['db'],
          order: 'key',
          concurrency: 16,
          handler: null,
          sink: { kind: 'jsonl', sync: true },
          retry: { initial: 100, max: 10_000, maxElapsed: 60_000, jitter: 0.2 },
          onFailure: 'dead-letter',
        },
        clicks: {
          from: ['clicks'],
          sink: { name: '{source}:{entity}', format: 'columns', maxLength: null, batch: 512 },
        },
      },
    })
    expect(definition.dataDirectory).toMatch(/^\/.*\/\.troupe\/shop$/)
    expect(definition.module).toMatch(/^file:.*pipeline\.yaml$/)
    expect((definition.processors.orders!.sink as { path: string }).path).toMatch(/^\/.*\/out\.jsonl$/)
    expect(structuredClone(definition)).toEqual(definition)
  })

  it('takes durations as people write them, and as milliseconds', async () => {
    const definition = await load(`${shop}stopDeadline: 1.5m\ncheckpointInterval: 250\n`)
    expect(definition.stopDeadline).toBe(90_000)
    expect(definition.checkpointInterval).toBe(250)
  })

  it('runs a processor of order global one event at a time', async () => {
    expect((await load(broken('order: key', 'order: global'))).processors.orders!.concurrency).toBe(1)
    expect(await errorsOf(broken('order: key', 'order: global\n    concurrency: 4'))).toEqual([
      '15:18 out-of-range: `processors.orders.concurrency` must be 1 with order global',
    ])
  })

  it.each([
    [
      'a misspelt key at the top',
      'name: shop',
      'name: shop\npartitons: 3',
      '2:1 unknown-key: `partitons` is no key that exists here; did you mean partitions?',
    ],
    [
      'a misspelt key of a source',
      '    tables:',
      '    tabels:',
      '6:5 unknown-key: `sources.db.tabels` is no key that exists here; did you mean tables?',
    ],
    [
      'a misspelt key of a filter',
      'entities:',
      'entity:',
      '15:15 unknown-key: `processors.orders.filter.entity` is no key that exists here; did you mean entities?',
    ],
    [
      'a misspelt key of a sink',
      'path: out',
      'paht: out',
      '16:26 unknown-key: `processors.orders.sink.paht` is no key that exists here; did you mean path?',
    ],
    [
      'a key that is like no other',
      'order: key',
      'zebra: 1',
      '14:5 unknown-key: `processors.orders.zebra` is no key that exists here',
    ],
    [
      'an unknown kind of source',
      'kind: redis-streams',
      'kind: redis-stream',
      '8:11 unknown-kind: `sources.clicks.kind` must be one of postgres, redis-streams, not "redis-stream"; did you mean redis-streams?',
    ],
    [
      'an unknown kind of sink',
      'kind: jsonl',
      'kind: jsonp',
      '16:19 unknown-kind: `processors.orders.sink.kind` must be one of jsonl, redis, nats, not "jsonp"; did you mean jsonl?',
    ],
    [
      'an unknown source in from',
      'from: [db]',
      'from: [dbs]',
      '13:12 unknown-source: `processors.orders.from[0]` names "dbs", which is no source of this pipeline; did you mean db?',
    ],
    [
      'an unknown option',
      'order: key',
      'order: keys',
      '14:12 unknown-option: `processors.orders.order` must be one of key, none, global, not "keys"; did you mean key?',
    ],
    [
      'an operation that does not exist',
      '[orders] }',
      '[orders], operations: [inserts] }',
      '15:48 unknown-option: `processors.orders.filter.operations[0]` must be one of insert, update, delete, truncate, read, message, append, publish, set, expire, not "inserts"; did you mean insert?',
    ],
    [
      'a missing key',
      '    streams: [clicks]\n',
      '',
      '7:3 missing-key: `sources.clicks.streams` is required: it must be the name of a stream or a list of them',
    ],
    [
      'a number out of its bounds',
      'name: shop',
      'name: shop\npartitions: 2000',
      '2:13 out-of-range: `partitions` must be a whole number from 1 to 1,024',
    ],
    [
      'a duration that is none',
      'name: shop',
      'name: shop\nstopDeadline: soon',
      '2:15 wrong-type: `stopDeadline` must be a duration such as 500ms, 30s or 5m',
    ],
    [
      'a bad name',
      '  orders:\n',
      '  or.ders:\n',
      '12:3 bad-name: `processors.or.ders` is no valid name: 1 to 64 of A-Z, a-z, 0-9, _ and -',
    ],
    [
      'a key given twice',
      '    order: key',
      '    order: key\n    order: none',
      '15:5 duplicate-key: a key is given twice in one mapping',
    ],
    [
      'a table without a schema',
      'public.orders',
      'orders',
      '6:14 wrong-type: `sources.db.tables[0]` must be a table as schema.table',
    ],
    [
      'a placeholder that does not exist',
      'write: stream',
      "write: stream\n      name: 'x:{tabel}'",
      '23:13 unknown-placeholder: `processors.clicks.sink.name` holds a placeholder that does not exist; there are {source} {namespace} {entity} {key} {operation} {partition}',
    ],
    [
      'a sink that feeds its own source',
      'localhost:6379/1',
      "localhost:6379/0\n      name: '{entity}'",
      '22:13 sink-loop: `processors.clicks.sink.name` writes to the stream that source clicks reads: the pipeline would feed itself',
    ],
    [
      'a module that does not exist',
      '    order: key',
      '    handler: ./nowhere.ts',
      '14:14 no-such-module: `processors.orders.handler` names a module that does not exist',
    ],
    [
      'a source that nobody reads',
      'from: clicks',
      'from: db',
      '8:5 unread-source: `sources.clicks` is read by no processor',
    ],
    [
      'a processor without handler and sink',
      '    sink: { kind: jsonl, path: out.jsonl }\n',
      '',
      '13:5 idle-processor: `processors.orders` has neither a handler nor a sink',
    ],
  ])('names the line, the key and the nearest name of %s', async (_, from, to, expected) => {
    expect(await errorsOf(broken(from, to))).toEqual([expected])
  })

  it('reports all errors at once, in the order of the file', async () => {
    const text = shop
      .replace('order: key', 'ordr: key')
      .replace('kind: postgres', 'kind: postgress')
      .replace('from: clicks', 'from: click')
    expect((await errorsOf(text)).map((line) => line.split(':').slice(0, 2).join(':'))).toEqual([
      '4:11 unknown-kind',
      '14:5 unknown-key',
      '18:11 unknown-source',
    ])
  })

  it('says where the syntax breaks', async () => {
    expect((await errorsOf('name: shop\nsources: {db: [\n'))[0]).toMatch(/^\d+:\d+ yaml-syntax: /)
    expect(await errorsOf('')).toEqual(['1:1 empty-pipeline: the file holds no pipeline'])
    expect(await errorsOf('- 1\n')).toEqual(['1:1 wrong-type: must be a mapping of keys to values'])
    expect(await errorsOf(`${shop}---\n${shop}`)).toEqual(['1:1 yaml-syntax: one file holds one document'])
  })

  it('refuses aliases that expand without end', async () => {
    const bomb = ['a: &a [x, x, x, x, x, x, x, x, x, x]']
    for (const [from, to] of ['ab', 'bc', 'cd', 'de', 'ef', 'fg'].map((pair) => [...pair]))
      bomb.push(`${to}: &${to} [${Array(10).fill(`*${from}`).join(', ')}]`)
    expect(await errorsOf(bomb.join('\n'))).toEqual(['1:1 yaml-syntax: the aliases expand without end'])
  })

  it('names a file that is not there', async () => {
    const error = await loadPipeline('nowhere.yaml').catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'no-such-file', exitCode: 2, place: 'nowhere.yaml' })
    await expect(loadPipeline('pipeline.toml')).rejects.toMatchObject({ code: 'unknown-format', exitCode: 2 })
  })
})

describe('${ENV}', () => {
  it('is filled in, also inside a text, into numbers, and with a default', async () => {
    const text = broken('app:hunter2@localhost', 'app:${PASSWORD}@${HOST:-localhost}').replace(
      'name: shop',
      'name: shop\npartitions: ${N}',
    )
    const definition = await load(text, { PASSWORD: 's3cret', N: '8' })
    expect(definition.partitions).toBe(8)
    expect(definition.sources.db!.url).toBe('postgres://app:s3cret@localhost/shop')
  })

  it('keeps a value of several lines, does not read it again, and knows $${', async () => {
    const text = broken('path: out.jsonl', 'path: "$${literal}"').replace('streams: [clicks]', 'streams: ["${STREAM}"]')
    await expect(errorsOf(text, { STREAM: 'a' })).resolves.toEqual([expect.stringContaining('unknown-placeholder')])
    const definition = await load(broken('streams: [clicks]', 'streams: ["${STREAM}"]'), { STREAM: 'one\ntwo ${X}' })
    expect(definition.sources.clicks).toMatchObject({ streams: ['one\ntwo ${X}'] })
  })

  it('that is not set is an error that names the variable and its line, and nothing else is said of that value', async () => {
    expect(await errorsOf(broken('url: postgres://app:hunter2@localhost/shop', 'url: ${DATABASE_URL}'))).toEqual([
      '5:10 unset-variable: `sources.db.url` needs the environment variable DATABASE_URL, which is not set',
    ])
    expect(await errorsOf(broken('order: key', 'order: ${lower case}'))).toEqual([
      '14:12 bad-interpolation: `processors.orders.order` holds a ${…} that is not ${NAME} or ${NAME:-default}',
    ])
  })

  it('never shows its value in an error', async () => {
    const secret = 'tr0ub4dor'
    const text = shop
      .replace('order: key', 'order: ${SECRET}')
      .replace('kind: jsonl', 'kind: "${SECRET}"')
      .replace('from: clicks', 'from: ${SECRET}')
      .replace('url: postgres://app:hunter2@localhost/shop', 'url: ${SECRET}')
      .replace('[public.orders]', '["${SECRET}"]')
    const errors = await errorsOf(text, { SECRET: secret })
    expect(errors).toHaveLength(5)
    expect(errors.join('\n')).not.toContain(secret)
    expect(errors.join('\n')).toContain('not "${SECRET}"')
  })

  it('never shows a password that the file itself holds', async () => {
    const errors = await errorsOf(broken('postgres://app:hunter2@localhost/shop', 'mysql://app:hunter2@localhost/shop'))
    expect(errors).toEqual([
      expect.stringContaining('5:10 bad-url: `sources.db.url` must be a URL such as postgres://'),
    ])
    expect(errors.join()).not.toContain('hunter2')
  })
})
