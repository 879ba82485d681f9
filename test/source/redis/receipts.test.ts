import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compareIds, idAfter, idOfText, idText, parseId, zeroId } from '../../../src/source/redis/entry-id.js'
import { continuityOf, nextEpoch, type StreamFacts, trimmedBehind } from '../../../src/source/redis/history.js'
import { countReceipt, receiptBuilder, visitReceipt } from '../../../src/source/redis/receipts.js'
import { unfinished } from '../../../src/source/redis/unfinished.js'

const u64 = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.bigInt({ min: 1_700_000_000_000n, max: 1_700_000_000_009n }),
  fc.bigInt({ min: 0n, max: 3n }),
)
const idTexts = fc.tuple(u64, u64).map(([ms, seq]) => `${ms}-${seq}`)

test('an id keeps all its 128 bits through bytes, halves and text, and is ordered as Redis orders', () => {
  fc.assert(
    fc.property(idTexts, idTexts, (a, b) => {
      const id = zeroId()
      const bytes = Buffer.from(`xx${a}yy`)
      parseId(bytes, 2, 2 + a.length, id)
      expect(idText(id)).toBe(a)
      const value = (text: string) => text.split('-').reduce((sum, part) => (sum << 64n) + BigInt(part), 0n)
      expect(Math.sign(compareIds(id, idOfText(b)))).toBe(value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0)
      if (a !== '18446744073709551615-18446744073709551615') expect(value(idText(idAfter(id)))).toBe(value(a) + 1n)
    }),
  )
})

test('a receipt gives back the ids of every stream in the order in which they were added', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(2), idTexts), { maxLength: 200 }), (added) => {
      const streams = ['a', 'ü', 'c'.repeat(300)]
      const builder = receiptBuilder(streams)
      for (const [stream, id] of added) builder.add(stream, idOfText(id))
      const receipt = builder.take()
      const seen: Record<string, string[]> = {}
      if (receipt !== null)
        visitReceipt(receipt, (name, id) => {
          const ids = seen[name] ?? []
          ids.push(idText(id))
          seen[name] = ids
        })
      streams.forEach((name, index) => {
        expect(seen[name] ?? []).toEqual(added.filter(([stream]) => stream === index).map(([, id]) => id))
      })
      expect(builder.take()).toBe(null)
      const counts: Record<string, number> = {}
      if (receipt !== null)
        countReceipt(receipt, (name, count) => {
          counts[name] = count
        })
      expect(counts).toEqual(Object.fromEntries(Object.entries(seen).map(([name, ids]) => [name, ids.length])))
    }),
  )
})

test('ids of one millisecond take two bytes each, and a damaged receipt is named as such', () => {
  const builder = receiptBuilder(['a'])
  for (let index = 0; index < 1_000; index++) builder.add(0, idOfText(`1700000000000-${index}`))
  const receipt = builder.take()!
  expect(receipt.length).toBeLessThan(2_100)
  for (const length of [0, 2, 9, receipt.length - 1])
    expect(() => visitReceipt(receipt.subarray(0, length), () => {})).toThrowError(
      expect.objectContaining({ code: 'receipt-corrupt' }),
    )
})

test('what is unfinished is known by its id until it is acknowledged, and through an exchange of claims', async () => {
  const outstanding = receiptBuilder(['a', 'b'])
  outstanding.add(0, idOfText('1-1'))
  const ledger = unfinished(['a', 'b'], [outstanding.take()!])
  ledger.add(0, idOfText('5-5'))
  expect(ledger.has('a', idOfText('1-1'))).toBe(true)
  expect(ledger.has('a', idOfText('3-3'))).toBe(false)
  expect(ledger.has('b', idOfText('5-5'))).toBe(false)
  ledger.take()
  ledger.confirmed(2)
  await ledger.during(async () => {
    ledger.acknowledged(1)
    expect(ledger.has('a', idOfText('1-1'))).toBe(true)
  })
  expect(ledger.has('a', idOfText('1-1'))).toBe(false)
  expect(ledger.has('a', idOfText('5-5'))).toBe(true)
})

const facts = (over: Partial<StreamFacts> = {}): StreamFacts => ({
  exists: true,
  length: 10,
  lastGenerated: idOfText('20-0'),
  entriesAdded: 20,
  maxDeleted: zeroId(),
  first: idOfText('11-0'),
  ...over,
})
const memory = { epoch: 5n, id: idOfText('15-0'), hash: 7, added: 15 }
const gone = { found: false } as const
const same = (
  over: Partial<StreamFacts>,
  id: string,
  secondId: string | null,
  entry: { found: true; hash: number } | typeof gone,
  at = memory,
) => continuityOf(at, 'r1', { id, secondId }, facts(over), entry).same

test('the epoch is kept exactly where the history is the same', () => {
  expect(same({}, 'r1', null, gone)).toBe(true)
  expect(same({}, 'r2', null, { found: true, hash: 7 })).toBe(true)
  expect(same({}, 'r1', null, { found: true, hash: 8 })).toBe(false)
  expect(same({}, 'r2', 'r1', gone)).toBe(false)
  expect(same({ maxDeleted: idOfText('15-0') }, 'r2', null, gone)).toBe(true)
  expect(same({ first: idOfText('16-0') }, 'r2', null, gone)).toBe(true)
  expect(same({ first: idOfText('16-0'), entriesAdded: 14 }, 'r2', null, gone)).toBe(false)
  expect(same({ first: idOfText('16-0'), entriesAdded: null }, 'r2', null, gone)).toBe(false)
  expect(same({ first: idOfText('16-0'), entriesAdded: null }, 'r2', 'r1', gone)).toBe(true)
  expect(same({ lastGenerated: idOfText('14-0') }, 'r1', null, gone)).toBe(false)
})

test('what was trimmed behind a position is counted, or said to be unknown', () => {
  expect(trimmedBehind(memory, facts())).toBe(0)
  expect(trimmedBehind(memory, facts({ first: idOfText('18-0'), length: 3 }))).toBe(2)
  expect(trimmedBehind(memory, facts({ first: idOfText('18-0'), length: 3, entriesAdded: null }))).toBe(null)
  expect(trimmedBehind({ ...memory, added: null }, facts({ first: null, length: 0 }))).toBe(null)
  expect(trimmedBehind({ ...memory, id: idOfText('20-0') }, facts({ first: null, length: 0 }))).toBe(0)
})

test('an epoch is never used twice', () => {
  expect(nextEpoch(5n, 1_700_000_000_999)).toBe(1_700_000_000n)
  expect(nextEpoch(1_800_000_000n, 1_700_000_000_999)).toBe(1_800_000_001n)
})
