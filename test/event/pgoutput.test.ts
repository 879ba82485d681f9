import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ChangeEvent } from '../../src/event/event.js'
import { messageTable } from '../../src/event/pgoutput.js'
import { encodeRelation } from '../../src/event/relation.js'
import { lacksColumns, noTuple, sameTupleKey, tupleEnd, tupleKeyHash } from '../../src/event/tuple.js'
import { type ColumnText, changeOf, changes, framed, lane, message, relationOf, tuple } from './sample-bytes.js'

const orders = relationOf([
  ['id', 20],
  ['note', 25],
  ['total', 1700],
  ['paid', 16],
])
const row = ['12', 'first', '10.50', 't'] as const
const full = relationOf(
  [
    ['id', 20],
    ['note', 25],
    ['total', 1700],
    ['paid', 16],
  ],
  [0],
  { replicaIdentity: 'f' },
)
const fullRelation = { ...full, columns: full.columns.map((column) => ({ ...column, keyFlag: true })) }

describe('a row of PostgreSQL', () => {
  it('that was inserted shows its columns, its key and nothing before', () => {
    const event = changeOf(orders, 'insert', tuple('N', row))
    expect(event.before).toBeNull()
    expect(event.after?.columns).toEqual(['id', 'note', 'total', 'paid'])
    expect(event.after?.toObject()).toEqual({ id: 12n, note: 'first', total: '10.50', paid: true })
    expect(event.key?.toObject()).toEqual({ id: 12n })
    expect(event.keyText).toBe('12')
    expect(event.unchanged).toEqual([])
    expect(event.transaction).toEqual({
      id: '77',
      commit: '0/1',
      committedAt: '2026-11-22T06:16:57.123456Z',
      index: 1,
    })
  })

  it('gives every column in any order, any number of times, as text and as value', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constant(null), fc.string({ unit: 'binary' })), { minLength: 1, maxLength: 9 }),
        fc.array(fc.nat({ max: 8 }), { maxLength: 20 }),
        (texts, order) => {
          const relation = relationOf(texts.map((_, index) => [`c${index}`, 25]))
          const event = changeOf(relation, 'insert', tuple('N', texts))
          const expected = texts.map((text) => (text === null ? null : Buffer.from(text).toString()))
          for (const after of [event.after!, event.detach().after!]) {
            for (const index of order) {
              const name = `c${index}`
              expect(after.text(name)).toBe(expected[index])
              expect(after.get(name)).toBe(expected[index])
              expect(after.has(name)).toBe(index < texts.length)
            }
            expect(Object.values(after.toObject())).toEqual(expected)
            const visited: (string | null)[] = []
            after.visit((_, bytes, start, end) => {
              visited.push(start < 0 ? null : Buffer.from(bytes.subarray(start, end)).toString())
            })
            expect(visited).toEqual(expected)
          }
        },
      ),
    )
  })

  it('that was updated without an old tuple has nothing before', () => {
    const event = changeOf(orders, 'update', tuple('N', row))
    expect(event.before).toBeNull()
    expect(event.after?.get('note')).toBe('first')
  })

  it('names the columns that the server left out (unchanged TOAST), and shows them nowhere', () => {
    const event = changeOf(orders, 'update', tuple('N', ['12', undefined, '11.00', 'f']))
    expect(event.unchanged).toEqual(['note'])
    const after = event.after!
    expect(after.columns).toEqual(['id', 'total', 'paid'])
    expect(after.get('note')).toBeUndefined()
    expect(after.text('note')).toBeUndefined()
    expect(after.has('note')).toBe(false)
    expect(after.toJSON()).toEqual({ id: 12, total: '11.00', paid: false })
    const visited: string[] = []
    after.visit((name) => visited.push(name))
    expect(visited).toEqual(['id', 'total', 'paid'])
  })

  it('takes a column that was left out from a full old tuple', () => {
    const body = Buffer.concat([tuple('O', row), tuple('N', ['12', undefined, '11.00', null])])
    const event = changeOf(fullRelation, 'update', body)
    expect(event.unchanged).toEqual([])
    expect(event.before?.toObject()).toEqual({ id: 12n, note: 'first', total: '10.50', paid: true })
    expect(event.after?.toObject()).toEqual({ id: 12n, note: 'first', total: '11.00', paid: null })
    expect(event.after?.columns).toEqual(['id', 'note', 'total', 'paid'])
    expect(event.keyText).toBe('12')
  })

  it('never takes the NULLs of a key tuple for values', () => {
    const body = Buffer.concat([tuple('K', ['12', null, null, null]), tuple('N', ['13', undefined, '11.00', null])])
    const event = changeOf(orders, 'update', body)
    expect(event.before?.toObject()).toEqual({ id: 12n })
    expect(event.before?.columns).toEqual(['id'])
    expect(event.before?.get('note')).toBeUndefined()
    expect(event.unchanged).toEqual(['note'])
    expect(event.after?.has('note')).toBe(false)
  })

  it('that was deleted shows its identity, or all of the old row', () => {
    const byKey = changeOf(orders, 'delete', tuple('K', ['12', null, null, null]))
    expect(byKey.after).toBeNull()
    expect(byKey.before?.toObject()).toEqual({ id: 12n })
    expect(byKey.key?.toObject()).toEqual({ id: 12n })
    const whole = changeOf(fullRelation, 'delete', tuple('O', row))
    expect(whole.before?.get('total')).toBe('10.50')
    expect(whole.keyText).toBe('12')
    expect(whole.unchanged).toEqual([])
  })

  it('whose key changes is a delete of the old key and an insert of the new, from one slice', () => {
    const body = Buffer.concat([tuple('O', row), tuple('N', ['13', undefined, '11.00', 't'])])
    const table = {
      index: 0,
      namespace: 'public',
      entity: 'orders',
      schemaVersion: 1,
      meta: encodeRelation(fullRelation),
    }
    const { frame } = framed(
      lane,
      [table],
      [
        { head: { operation: 'delete', part: 0 }, body },
        { head: { operation: 'insert', part: 1 }, body },
      ],
    )
    const [gone, come] = changes(frame) as [ChangeEvent, ChangeEvent]
    expect([gone.operation, gone.keyText, gone.after, gone.before?.get('note')]).toEqual([
      'delete',
      '12',
      null,
      'first',
    ])
    expect([come.operation, come.keyText, come.before, come.after?.get('note')]).toEqual([
      'insert',
      '13',
      null,
      'first',
    ])
    expect([gone.id, come.id]).toEqual(['shop/3/slot/1-1', 'shop/3/slot/1-1.1'])
    expect(come.unchanged).toEqual([])
  })

  it('has the text of a key of several columns without ambiguity', () => {
    const relation = relationOf(
      [
        ['a', 25],
        ['b', 25],
        ['c', 25],
      ],
      [2, 0, 1],
    )
    const event = changeOf(relation, 'insert', tuple('N', ['x:y', 'back\\slash', null]))
    expect(event.key?.columns).toEqual(['c', 'a', 'b'])
    expect(event.keyText).toBe('\\N:x\\:y:back\\\\slash')
  })

  it('without key columns has no key', () => {
    const event = changeOf(relationOf([['a', 25]], []), 'insert', tuple('N', ['x']))
    expect(event.key).toBeNull()
    expect(event.keyText).toBe('')
  })

  it('may bear any column name', () => {
    const event = changeOf(
      relationOf([
        ['__proto__', 25],
        ['Größe "x"', 23],
      ]),
      'insert',
      tuple('N', ['p', '1']),
    )
    expect(Object.entries(event.after!.toObject())).toEqual([
      ['__proto__', 'p'],
      ['Größe "x"', 1],
    ])
    expect(JSON.stringify(event.after)).toBe('{"__proto__":"p","Größe \\"x\\"":1}')
  })

  it('gives the bytes of a column that was sent in binary', () => {
    const event = changeOf(orders, 'insert', tuple('N', [{ binary: Buffer.from([0, 255]) }, 'x', null, null]))
    expect(event.after?.get('id')).toEqual(new Uint8Array([0, 255]))
  })

  it('cannot be changed through its event', () => {
    const event = changeOf(orders, 'insert', tuple('N', row)) as { operation: string }
    expect(() => {
      event.operation = 'delete'
    }).toThrow(TypeError)
  })

  it('lives on after its frame is overwritten, once detached', () => {
    const table = {
      index: 0,
      namespace: 'public',
      entity: 'orders',
      schemaVersion: 1,
      meta: encodeRelation(fullRelation),
    }
    const body = Buffer.concat([tuple('O', row), tuple('N', ['12', undefined, '11.00', null])])
    const { frame, bytes } = framed(
      lane,
      [table],
      [{ body: tuple('N', row) }, { head: { operation: 'update', minorLow: 2 }, body }],
    )
    const event = changes(frame)[1]!
    const before = JSON.stringify(event)
    const detached = event.detach()
    bytes.fill(0)
    expect(JSON.stringify(detached)).toBe(before)
    expect(JSON.stringify(detached.detach())).toBe(before)
    expect(detached.after?.get('note')).toBe('first')
  })
})

describe('a truncate and a message', () => {
  it('of a table shows its options and no row', () => {
    const event = changeOf(orders, 'truncate', Buffer.from([3]))
    expect([event.entity, event.key, event.before, event.after, event.keyText]).toEqual([
      'orders',
      null,
      null,
      null,
      '',
    ])
    expect(event.headers).toEqual({ cascade: 'true', restartIdentity: 'true' })
  })

  it('of the log shows its prefix and content', () => {
    const bodies = [message(1, 0x1_0000_00abn, 'audit', Buffer.from('hélas')), message(0, 1n, '', Buffer.from([255]))]
    const { frame } = framed(
      lane,
      [messageTable(3)],
      bodies.map((body, index) => ({
        head: { operation: 'message' as const, table: 3, transaction: index === 0 ? 5 : 0 },
        body,
      })),
    )
    const [text, binary] = changes(frame) as [ChangeEvent, ChangeEvent]
    expect(text.headers).toEqual({ prefix: 'audit', transactional: 'true', lsn: '1/AB' })
    expect(text.after?.toObject()).toEqual({ prefix: 'audit', content: 'hélas' })
    expect([text.namespace, text.entity, text.key]).toEqual(['', 'message', null])
    expect(binary.after?.get('content')).toEqual(new Uint8Array([255]))
    expect(binary.transaction).toBeNull()
  })
})

const anyText = fc.oneof(fc.constant(null), fc.string(), fc.constantFrom('', '1', '12'))

describe('the key of a tuple', () => {
  it('hashes alike in a new tuple, an old one, and an old key', () => {
    fc.assert(
      fc.property(fc.array(anyText, { minLength: 3, maxLength: 3 }), anyText, (key, other) => {
        const keyColumns = [2, 0, 1]
        const a = tuple('N', [...key, other])
        const b = Buffer.concat([Buffer.from('x'), tuple('K', [...key, null])])
        expect(tupleKeyHash(a, 1, noTuple, keyColumns)).toBe(tupleKeyHash(b, 2, noTuple, keyColumns))
      }),
    )
  })

  it('is found in the old tuple where the new one leaves it out', () => {
    const old = tuple('O', ['k', 'a'])
    const both = Buffer.concat([old, tuple('N', [undefined, 'b'])])
    const fresh = tupleEnd(both, 1) + 1
    expect(both[fresh - 1]).toBe(0x4e)
    expect(tupleKeyHash(both, fresh, 1, [0])).toBe(tupleKeyHash(old, 1, noTuple, [0]))
    expect(sameTupleKey(both, fresh, 1, [0])).toBe(true)
    expect(sameTupleKey(both, fresh, 1, [1])).toBe(false)
    expect(lacksColumns(both, fresh)).toBe(true)
    expect(lacksColumns(both, 1)).toBe(false)
  })

  it('is the same exactly when every part is', () => {
    fc.assert(
      fc.property(
        fc.array(anyText, { minLength: 2, maxLength: 2 }),
        fc.array(anyText, { minLength: 2, maxLength: 2 }),
        (a, b) => {
          const both = Buffer.concat([tuple('O', a as ColumnText[]), tuple('N', b as ColumnText[])])
          const fresh = tupleEnd(both, 1) + 1
          expect(sameTupleKey(both, fresh, 1, [0, 1])).toBe(JSON.stringify(a) === JSON.stringify(b))
        },
      ),
    )
  })

  it('that is NULL is not the empty text', () => {
    expect(tupleKeyHash(tuple('N', [null]), 1, noTuple, [0])).not.toBe(tupleKeyHash(tuple('N', ['']), 1, noTuple, [0]))
  })
})
