import fc from 'fast-check'
import { expect, it } from 'vitest'
import { comparePositions, formatPosition, type Position, parsePosition } from '../../src/event/position.js'
import { isoMicros } from '../../src/event/time.js'

const position: fc.Arbitrary<Position> = fc.record({
  major: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  minor: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  part: fc.constantFrom<0 | 1>(0, 1),
})

it('a position comes back from its text', () => {
  fc.assert(fc.property(position, (one) => void expect(parsePosition(formatPosition(one))).toEqual(one)))
})

it('positions have one total order', () => {
  fc.assert(
    fc.property(position, position, position, (a, b, c) => {
      expect(Math.sign(comparePositions(a, b))).toBe(-Math.sign(comparePositions(b, a)) + 0)
      if (comparePositions(a, b) <= 0 && comparePositions(b, c) <= 0)
        expect(comparePositions(a, c)).toBeLessThanOrEqual(0)
      expect(comparePositions(a, b) === 0).toBe(formatPosition(a) === formatPosition(b))
    }),
  )
})

it.each([
  '',
  '1',
  '1-',
  '-1',
  '1-2.0',
  '1-2.2',
  '1-2.1 ',
  'x-y',
  '123456789012345678901-1',
  '18446744073709551616-0',
  '0-18446744073709551616',
])('%j is no position', (text) => {
  expect(() => parsePosition(text)).toThrow(RangeError)
})

it.each([
  [0, '1970-01-01T00:00:00.000000Z'],
  [1, '1970-01-01T00:00:00.000001Z'],
  [-1, '1969-12-31T23:59:59.999999Z'],
  [1_795_328_217_123_456, '2026-11-22T06:16:57.123456Z'],
])('%d microseconds are %s', (micros, text) => {
  expect(isoMicros(micros)).toBe(text)
})
