import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ChangeEvent } from '../../src/event/event.js'
import { encodeEntryTable, findField } from '../../src/event/resp-entry.js'
import { changes, entry, framed, lane } from './sample-bytes.js'

function eventOf(fields: Parameters<typeof entry>[0], keyField: string | null = null): ChangeEvent {
  const table = { index: 0, namespace: '2', entity: 'clicks', schemaVersion: 0, meta: encodeEntryTable({ keyField }) }
  const spec = { ...lane, kind: 'redis-streams', lane: 'clicks', codec: 'resp-entry' as const }
  const head = { operation: 'append' as const, majorLow: 1500, minorLow: 3, transaction: 0 }
  return changes(framed(spec, [table], [{ head, body: entry(fields) }]).frame)[0]!
}

describe('an entry of a Redis stream', () => {
  it('shows its fields, its stream, and its id as position', () => {
    const event = eventOf([
      ['user', 'ann'],
      ['page', '/größe'],
    ])
    expect([event.id, event.operation, event.namespace, event.entity]).toEqual([
      'shop/3/clicks/1500-3',
      'append',
      '2',
      'clicks',
    ])
    expect(event.after?.columns).toEqual(['user', 'page'])
    expect(event.after?.toObject()).toEqual({ user: 'ann', page: '/größe' })
    expect([event.before, event.transaction, event.unchanged]).toEqual([null, null, []])
    expect(event.occurredAt).toBe('2026-11-22T06:16:57.123Z')
  })

  it('has the named field as key, or its stream', () => {
    expect(
      eventOf(
        [
          ['a', '1'],
          ['user', 'ann'],
        ],
        'user',
      ).key?.toObject(),
    ).toEqual({ user: 'ann' })
    expect(
      eventOf(
        [
          ['a', '1'],
          ['user', 'ann'],
        ],
        'user',
      ).keyText,
    ).toBe('ann')
    expect(eventOf([['a', '1']], 'user').key?.toObject()).toEqual({ stream: 'clicks' })
    expect(eventOf([['a', '1']]).keyText).toBe('clicks')
  })

  it('gives any bytes back: text where they are UTF-8, else the bytes', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(fc.string({ unit: 'grapheme' }), fc.oneof(fc.string(), fc.uint8Array())), {
          selector: ([name]) => name,
          minLength: 1,
          maxLength: 6,
        }),
        (fields) => {
          const event = eventOf(fields)
          for (const after of [event.after!, event.detach().after!]) {
            expect(after.columns).toEqual(fields.map(([name]) => name))
            const visited: string[] = []
            after.visit((_, bytes, start, end) => visited.push(Buffer.from(bytes.subarray(start, end)).toString('hex')))
            expect(visited).toEqual(fields.map(([, value]) => Buffer.from(value as Uint8Array).toString('hex')))
            for (const [name, value] of fields) {
              const bytes = Buffer.from(value as Uint8Array)
              const text = bytes.toString('utf8')
              expect(after.get(name)).toEqual(Buffer.from(text).equals(bytes) ? text : new Uint8Array(bytes))
              expect(after.text(name)).toBe(text)
              expect(after.has(name)).toBe(true)
            }
          }
        },
      ),
    )
  })

  it('keeps a text that holds the replacement character, and an entry without fields', () => {
    expect(eventOf([['a', 'x\ufffdy']]).after?.get('a')).toBe('x\ufffdy')
    expect(eventOf([]).after?.toObject()).toEqual({})
    expect(eventOf([]).after?.get('a')).toBeUndefined()
  })

  it('gives the first of two fields of one name, and visits both', () => {
    const after = eventOf([
      ['a', '1'],
      ['a', '2'],
    ]).after!
    expect([after.get('a'), after.columns, after.toJSON()]).toEqual(['1', ['a', 'a'], { a: '1' }])
  })

  it('hands on the trace context that its writer put in', () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    expect(eventOf([['traceparent', traceparent]]).traceparent).toBe(traceparent)
    expect(eventOf([['a', '1']]).traceparent).toBeNull()
  })
})

describe('findField', () => {
  it('finds a value in the middle of a socket chunk without decoding', () => {
    const body = entry([
      ['a', 'user'],
      ['user', 'ann'],
    ])
    const chunk = Buffer.concat([Buffer.from('junk'), body, Buffer.from('more')])
    const found = { start: 0, end: 0 }
    expect(findField(chunk, 4, 4 + body.length, Buffer.from('user'), found)).toBe(true)
    expect(chunk.toString('utf8', found.start, found.end)).toBe('ann')
    expect(findField(chunk, 4, 4 + body.length, Buffer.from('ann'), found)).toBe(false)
  })
})
