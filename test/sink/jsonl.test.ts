import { execFileSync } from 'node:child_process'
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { record } from '../../src/processor/processor.js'
import { jsonlSink } from '../../src/sink/jsonl.js'
import { SinkRefusal } from '../../src/sink/sink.js'
import { event, row, sinkContext } from './events.js'

const directory = mkdtempSync(join(tmpdir(), 'troupe-jsonl-'))
afterAll(() => rmSync(directory, { recursive: true }))

const at = (name: string) => join(directory, name)
const lines = (path: string) =>
  readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
const of = (n: number) => event({ after: row({ n: String(n) }) })

test('each item is one line, in the order of the calls, over several opens', async () => {
  const path = at('deep/down/all.jsonl')
  for (const from of [0, 30]) {
    const writer = await jsonlSink.open({ kind: 'jsonl', path, sync: true }, sinkContext())
    await Promise.all(
      [0, 10, 20].map((start) => writer.write(Array.from({ length: 10 }, (_, i) => of(from + start + i)))),
    )
    await writer.close()
  }
  expect(lines(path).map((line) => Number(line.after.n))).toEqual(Array.from({ length: 60 }, (_, i) => i))
})

test('a record is a line with the id of its event; one without JSON is refused and the others are written', async () => {
  const path = at('records.jsonl')
  const writer = await jsonlSink.open({ kind: 'jsonl', path, sync: false }, sinkContext())
  const endless: Record<string, unknown> = {}
  endless.self = endless
  const good = record(event(), { operation: 'upsert', value: { n: 5n, blob: Buffer.from('x') } })
  const bad = record(event(), { operation: 'upsert', value: endless as never })
  const refusal = await writer.write([good, bad, good]).catch((error) => error)
  expect(refusal).toBeInstanceOf(SinkRefusal)
  expect(refusal.refused).toMatchObject([{ index: 1 }])
  await writer.close()
  expect(lines(path)).toHaveLength(2)
  expect(lines(path)[0]).toEqual({
    type: 'record',
    id: 'db/1/slot/10-1',
    operation: 'upsert',
    entity: 'orders',
    key: '7',
    value: { n: 5, blob: 'eA==' },
  })
})

test('a torn last line of a crash is cut off before a run begins', async () => {
  for (const [name, before, after] of [
    ['torn.jsonl', '{"a":1}\n{"b":', '{"a":1}\n'],
    ['only.jsonl', '{"b":', ''],
    ['long.jsonl', `{"a":1}\n{"b":"${'x'.repeat(200_000)}`, '{"a":1}\n'],
    ['whole.jsonl', '{"a":1}\n', '{"a":1}\n'],
  ] as const) {
    writeFileSync(at(name), before)
    await jsonlSink.preflight({ kind: 'jsonl', path: at(name), sync: true }, sinkContext())
    expect(readFileSync(at(name), 'utf8')).toBe(after)
  }
})

test("a partition's own file is repaired when it is opened; a shared one is never cut then", async () => {
  writeFileSync(at('own-3.jsonl'), '{"a":1}\n{"b":')
  const own = await jsonlSink.open(
    { kind: 'jsonl', path: at('own-{partition}.jsonl'), sync: true },
    sinkContext({ partition: 3 }),
  )
  await own.write([of(1)])
  await own.close()
  expect(lines(at('own-3.jsonl'))).toHaveLength(2)
  writeFileSync(at('shared.jsonl'), '{"a":1}\n{"b":')
  const shared = await jsonlSink.open({ kind: 'jsonl', path: at('shared.jsonl'), sync: true }, sinkContext())
  await shared.write([of(1)])
  await shared.close()
  expect(readFileSync(at('shared.jsonl'), 'utf8')).toMatch(/^\{"a":1\}\n\{"b":\n\{.*\}\n$/)
})

test('partitions that share a file never mix inside a line', async () => {
  const path = at('mixed.jsonl')
  const writers = await Promise.all(
    Array.from({ length: 6 }, (_, partition) =>
      jsonlSink.open({ kind: 'jsonl', path, sync: false }, sinkContext({ partition })),
    ),
  )
  await Promise.all(
    writers.flatMap((writer, partition) =>
      Array.from({ length: 50 }, (_, batch) =>
        writer.write([
          event({ after: row({ partition: String(partition), n: String(batch), pad: 'x'.repeat(9_000) }) }),
        ]),
      ),
    ),
  )
  for (const writer of writers) await writer.close()
  const seen = lines(path)
  expect(seen).toHaveLength(300)
  for (let partition = 0; partition < 6; partition++)
    expect(
      seen.filter((line) => line.after.partition === String(partition)).map((line) => Number(line.after.n)),
    ).toEqual(Array.from({ length: 50 }, (_, i) => i))
})

test('a path that cannot be written is refused with its name', async () => {
  appendFileSync(at('file'), '')
  const definition = { kind: 'jsonl', path: at('file/below.jsonl'), sync: true } as const
  await expect(jsonlSink.preflight(definition, sinkContext())).rejects.toMatchObject({
    code: 'file-unwritable',
    exitCode: 2,
  })
  await expect(jsonlSink.open(definition, sinkContext())).rejects.toMatchObject({ code: 'file-unwritable' })
  if (existsSync('/dev/full')) {
    const context = sinkContext()
    const writer = await jsonlSink.open({ kind: 'jsonl', path: '/dev/full', sync: false }, context)
    await expect(writer.write([event()])).rejects.toMatchObject({ code: 'file-unwritable' })
    expect(context.failures).toHaveLength(1)
  }
})

test('`-` is standard output', () => {
  const program = `
    import { jsonlSink } from './dist/src/sink/jsonl.js'
    import { event, sinkContext } from './dist/test/sink/events.js'
    await jsonlSink.preflight({ kind: 'jsonl', path: '-', sync: true }, sinkContext())
    const writer = await jsonlSink.open({ kind: 'jsonl', path: '-', sync: true }, sinkContext())
    await writer.write([event(), event()])
    await writer.close()`
  const text = execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' })
  expect(
    text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).id),
  ).toEqual(['db/1/slot/10-1', 'db/1/slot/10-1'])
})
