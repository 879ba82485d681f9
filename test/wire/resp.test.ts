import fc from 'fast-check'
import { expect, test } from 'vitest'
import { describeEndpoint, parseRespEndpoint } from '../../src/wire/resp-endpoint.js'
import { ENTRY_STRIDE, type EntryBatch, entryWalker } from '../../src/wire/resp-entries.js'
import { decodeReply, type RespConsumer, RespError, replyWalker } from '../../src/wire/resp-reply.js'
import { respCommand, respWriter } from '../../src/wire/resp-writer.js'

const bytes = fc.uint8Array({ maxLength: 60 })

/** Feeds a consumer as a socket does: chunk by chunk, what was not consumed again, moved to another place. */
function feed(consumer: RespConsumer, all: Uint8Array, cuts: readonly number[]): void {
  let held = Buffer.alloc(0)
  const ends = [...cuts.map((cut) => cut % (all.length + 1)), all.length].sort((a, b) => a - b)
  let at = 0
  for (const end of ends) {
    held = Buffer.concat([held, all.subarray(at, end)])
    at = end
    if (consumer.needed > held.length) continue
    const offset = end % 5
    const place = Buffer.concat([Buffer.alloc(offset), held])
    held = held.subarray(consumer.consume(place, offset, place.length) - offset)
  }
  expect(held.length).toBe(0)
}

function encode(value: unknown): Buffer {
  if (value === null) return Buffer.from('$-1\r\n')
  if (typeof value === 'number') return Buffer.from(`:${value}\r\n`)
  if (typeof value === 'string') return Buffer.from(`+${value}\r\n`)
  if (value instanceof Uint8Array)
    return Buffer.concat([Buffer.from(`$${value.length}\r\n`), value, Buffer.from('\r\n')])
  const items = value as readonly unknown[]
  return Buffer.concat([Buffer.from(`*${items.length}\r\n`), ...items.map(encode)])
}

test('replies are found and decoded wherever the chunks end', () => {
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { depthSize: 'small' },
      fc.integer(),
      bytes.map((one) => Buffer.from(one)),
      fc.constant(null),
      fc.array(tie('any'), { maxLength: 4 }),
    ),
  })).any
  fc.assert(
    fc.property(fc.array(value, { maxLength: 6 }), fc.array(fc.nat(400), { maxLength: 12 }), (values, cuts) => {
      const seen: unknown[] = []
      feed(
        replyWalker((buffer, start) => seen.push(decodeReply(buffer, start))),
        Buffer.concat(values.map(encode)),
        cuts,
      )
      expect(seen).toEqual(values)
    }),
  )
})

test('an error reply is a value with its code', () => {
  const seen: unknown[] = []
  feed(
    replyWalker((buffer, start) => seen.push(decodeReply(buffer, start))),
    Buffer.from('-WRONGTYPE no\r\n+OK\r\n'),
    [],
  )
  expect(seen[0]).toBeInstanceOf(RespError)
  expect(seen[0]).toMatchObject({ code: 'WRONGTYPE', message: 'WRONGTYPE no' })
})

interface Entry {
  readonly id: string
  readonly fields: readonly Uint8Array[] | null
}

test('entries are found as ranges wherever the chunks end, with their keys, in whole or in parts', () => {
  const field = fc.tuple(
    fc.oneof(
      fc.constant(Buffer.from('user')),
      bytes.map((one) => Buffer.from(one)),
    ),
    bytes.map((one) => Buffer.from(one)),
  )
  const entry: fc.Arbitrary<Entry> = fc.record({
    id: fc.tuple(fc.maxSafeNat(), fc.nat(99)).map(([ms, seq]) => `${ms}-${seq}`),
    fields: fc.option(
      fc.array(field, { minLength: 1, maxLength: 4 }).map((pairs) => pairs.flat()),
      { freq: 12 },
    ),
  })
  const reply = fc.option(
    fc.uniqueArray(
      fc.record({ stream: fc.constantFrom('a', 'bb'), entries: fc.array(entry, { minLength: 1, maxLength: 5 }) }),
      { minLength: 1, selector: (one) => one.stream },
    ),
    { freq: 9 },
  )
  fc.assert(
    fc.property(
      fc.array(reply, { maxLength: 4 }),
      fc.array(fc.nat(3_000), { maxLength: 30 }),
      fc.nat(200),
      (replies, cuts, holdBytes) => {
        const all = Buffer.concat(
          replies.map((streams) =>
            streams === null
              ? Buffer.from('*-1\r\n')
              : encode(
                  streams.map(({ stream, entries }) => [
                    Buffer.from(stream),
                    entries.map(({ id, fields }) => [Buffer.from(id), fields === null ? null : fields]),
                  ]),
                ),
          ),
        )
        const seen: string[] = []
        let ends = 0
        const take = ({ bytes, count, ranges }: EntryBatch) => {
          const text = (from: number, to: number) =>
            from < 0 ? 'none' : Buffer.from(bytes.subarray(from, to)).toString('hex')
          for (let index = 0; index < count; index++) {
            const [stream, idStart, idEnd, bodyStart, bodyEnd, keyStart, keyEnd] = ranges.subarray(index * ENTRY_STRIDE)
            seen.push([stream, text(idStart!, idEnd!), text(bodyStart!, bodyEnd!), text(keyStart!, keyEnd!)].join(' '))
          }
        }
        const walker = entryWalker(
          { streams: [Buffer.from('a'), Buffer.from('bb')], keyField: Buffer.from('user'), holdBytes },
          {
            reply(batch) {
              ends++
              take(batch)
            },
            part: take,
            error: () => expect.unreachable(),
          },
        )
        feed(walker, all, cuts)
        const hex = (one: Uint8Array | null) => (one === null ? 'none' : Buffer.from(one).toString('hex'))
        const expected = replies.flatMap((streams) =>
          (streams ?? []).flatMap(({ stream, entries }) =>
            entries.map(({ id, fields }) => {
              const at =
                fields === null
                  ? -1
                  : fields.findIndex((one, index) => index % 2 === 0 && hex(one) === hex(Buffer.from('user')))
              return [
                stream === 'a' ? 0 : 1,
                hex(Buffer.from(id)),
                hex(fields === null ? null : encode(fields)),
                hex(at < 0 ? null : fields![at + 1]!),
              ].join(' ')
            }),
          ),
        )
        expect(seen).toEqual(expected)
        expect(ends).toBe(replies.length)
      },
    ),
    { numRuns: 300 },
  )
})

test('a large field asks for the bytes that it needs, and is not walked meanwhile', () => {
  const body = Buffer.alloc(1_000_000, 0x61)
  const all = encode([[Buffer.from('a'), [[Buffer.from('1-1'), [Buffer.from('f'), body]]]]])
  let found = 0
  const walker = entryWalker(
    { streams: [Buffer.from('a')], keyField: null },
    { reply: (batch) => (found = batch.count), part: () => {}, error: () => {} },
  )
  expect(walker.consume(all, 0, 100)).toBe(0)
  expect(walker.needed).toBe(all.length)
  expect(walker.consume(all, 0, all.length)).toBe(all.length)
  expect(found).toBe(1)
})

test('bytes that are no such reply end the walk', () => {
  const walker = () =>
    entryWalker({ streams: [Buffer.from('a')], keyField: null }, { reply() {}, part() {}, error() {} })
  for (const text of [
    ':1\r\n',
    '*1\r\n*2\r\n$1\r\nz\r\n*0\r\n',
    '*1\r\n*2\r\n$1\r\na\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n:1\r\n$1\r\n',
  ]) {
    const bytes = Buffer.from(text)
    expect(() => walker().consume(bytes, 0, bytes.length)).toThrow()
  }
})

test('commands are written as RESP whatever their arguments and their number', () => {
  const argument = fc.oneof(fc.string({ maxLength: 80, unit: 'grapheme' }), bytes, fc.maxSafeNat())
  fc.assert(
    fc.property(fc.array(fc.array(argument, { minLength: 1, maxLength: 130 }), { maxLength: 5 }), (commands) => {
      const writer = respWriter(64)
      for (const args of commands) {
        writer.begin()
        for (const arg of args) {
          if (typeof arg === 'string') writer.text(arg)
          else if (typeof arg === 'number') writer.integer(arg)
          else writer.slice(arg, 0, arg.length)
        }
        writer.end()
      }
      const expected = commands.map((args) =>
        encode(args.map((arg) => (arg instanceof Uint8Array ? arg : Buffer.from(String(arg))))),
      )
      expect(Buffer.from(writer.take()).equals(Buffer.concat(expected))).toBe(true)
    }),
  )
})

test('an entry id is written as its two numbers, whatever their size', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.maxSafeNat(), (first, second) => {
      const writer = respWriter(64)
      writer.begin()
      writer.pair(first, second)
      writer.end()
      expect(Buffer.from(writer.take()).equals(encode([Buffer.from(`${first}-${second}`)]))).toBe(true)
    }),
  )
})

test('a taken buffer keeps its bytes until it is released, and is then used again', () => {
  const writer = respWriter(256)
  const put = (text: string) => {
    writer.begin()
    writer.text(text)
    writer.end()
    return writer.take()
  }
  const first = put('one')
  const second = put('two')
  expect(Buffer.from(first)).toEqual(respCommand(['one']))
  expect(Buffer.from(second)).toEqual(respCommand(['two']))
  writer.release(first)
  put('three')
  const fourth = put('four')
  expect(fourth.buffer).toBe(first.buffer)
})

test('a URL is read with its user, password, database and TLS, and described without the secret', () => {
  const endpoint = parseRespEndpoint('rediss://app:p%40ss@[::1]:7000/3', 'source x')
  expect(endpoint).toMatchObject({ host: '::1', port: 7000, tls: true, username: 'app', password: 'p@ss', database: 3 })
  expect(describeEndpoint(endpoint)).toBe('::1:7000/3')
  expect(parseRespEndpoint('unix:///run/redis.sock?db=2', 'x')).toMatchObject({ path: '/run/redis.sock', database: 2 })
  for (const url of ['http://x', 'redis://secret@x/y', 'not a url secret', 'redis://%zzsecret@x'])
    expect(() => parseRespEndpoint(url, 'source x')).toThrowError(
      expect.objectContaining({ code: 'redis-url', exitCode: 2, message: expect.not.stringContaining('secret') }),
    )
})
