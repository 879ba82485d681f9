import { expect, it } from 'vitest'
import { hashBytes, hashNull, hashText } from '../../src/event/hash.js'

/** Keys as people have them: counters, padded numbers, UUID-like, prefixed, multiples. */
const families: Readonly<Record<string, (index: number) => string>> = {
  counter: (index) => String(index),
  padded: (index) => String(index).padStart(12, '0'),
  prefixed: (index) => `customer:${index}`,
  'multiples of 16': (index) => String(index * 16),
  'hex in a uuid': (index) => `a0eebc99-9c0b-4ef8-bb6d-${index.toString(16).padStart(12, '0')}`,
}

it.each(Object.entries(families))('keys of a kind fall evenly into partitions: %s', (_, make) => {
  const keys = 32_000
  const hashes = Array.from({ length: keys }, (_, index) => hashText(make(index)))
  for (const partitions of [2, 3, 7, 16, 64]) {
    const counts = new Array<number>(partitions).fill(0)
    for (const hash of hashes) counts[hash % partitions]!++
    const expected = keys / partitions
    const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)
    // Far out in the tail: 99.99 % for 63 degrees of freedom is 117.
    expect(chiSquare).toBeLessThan(120)
  }
})

it('one turned bit of a key turns half of the bits of its hash', () => {
  let turned = 0
  let tried = 0
  for (let index = 0; index < 500; index++) {
    const bytes = Buffer.from(`key-${index * 7919}`)
    const hash = hashBytes(bytes, 0, bytes.length)
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      bytes[bit >> 3]! ^= 1 << (bit & 7)
      for (let rest = (hash ^ hashBytes(bytes, 0, bytes.length)) >>> 0; rest !== 0; rest &= rest - 1) turned++
      bytes[bit >> 3]! ^= 1 << (bit & 7)
      tried++
    }
  }
  expect(turned / tried).toBeGreaterThan(15.5)
  expect(turned / tried).toBeLessThan(16.5)
})

it('the hash is of the bytes alone: unsigned, stable between versions, combined by the seed', () => {
  const bytes = Buffer.from('xx42yy')
  expect(hashBytes(bytes, 2, 4)).toBe(hashText('42'))
  expect(hashText('42')).toBe(686566589)
  expect(hashText('')).not.toBe(hashNull())
  expect(hashText('b', hashText('a'))).not.toBe(hashText('a', hashText('b')))
})
