import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { Value } from '../../src/event/event.js'
import { encodeChange } from '../../src/event/msgpack.js'
import { changes, framed, lane } from './sample-bytes.js'

const { value } = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    // Msgpack writes −0 as the integer 0, as the codec says.
    fc.double().map((number) => (number === 0 ? 0 : number)),
    fc.bigInt({ min: -(2n ** 100n), max: 2n ** 100n }),
    fc.string({ unit: 'grapheme' }),
    fc.uint8Array(),
    fc.array(tie('value')),
    fc.dictionary(
      fc.string().filter((name) => name !== '__proto__'),
      tie('value'),
      { noNullPrototype: true },
    ),
  ),
}))

const table = { index: 0, namespace: 'n', entity: 'e', schemaVersion: 7, meta: new Uint8Array(0) }
const spec = { ...lane, codec: 'msgpack' as const }

it('a change of a source without bytes of its own gives every value back as it was', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), value, { noNullPrototype: true }), (columns) => {
      const body = encodeChange({ key: columns, before: columns, after: columns })
      const event = changes(framed(spec, [table], [{ head: { operation: 'set' }, body }]).frame)[0]!
      expect(event.after?.toObject()).toEqual(columns)
      expect(event.before?.toObject()).toEqual(columns)
      expect(event.key?.columns).toEqual(Object.keys(columns))
      for (const [name, column] of Object.entries(columns)) expect(event.detach().after?.get(name)).toEqual(column)
      expect(() => JSON.stringify(event)).not.toThrow()
    }),
    { numRuns: 200 },
  )
})

it('a change bears headers, tenant and trace', () => {
  const body = encodeChange({
    key: { id: 'a:b', n: 1n },
    after: { __proto__: null, a: 1 },
    unchanged: ['big'],
    headers: { h: '1' },
    tenant: 'acme',
    traceparent: 't',
  })
  const event = changes(framed(spec, [table], [{ head: { operation: 'set', transaction: 0 }, body }]).frame)[0]!
  expect([event.headers, event.tenant, event.traceparent, event.unchanged]).toEqual([{ h: '1' }, 'acme', 't', ['big']])
  expect([event.keyText, event.before, event.transaction, event.schemaVersion]).toEqual(['a\\:b:1', null, null, 7])
  const visited: unknown[] = []
  event.key?.visit((name, bytes, start, end) =>
    visited.push([name, Buffer.from(bytes.subarray(start, end)).toString()]),
  )
  expect(visited).toEqual([
    ['id', 'a:b'],
    ['n', '1'],
  ])
})
