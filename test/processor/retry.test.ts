import { expect, test } from 'vitest'
import { retryDelay } from '../../src/processor/retry.js'

const retry = { initial: 100, max: 1_000, maxElapsed: 5_000, jitter: 0.2 }

test('the delay doubles up to its maximum, give or take the jitter', () => {
  expect(retryDelay(retry, 1, 0, 0.5)).toBe(100)
  expect(retryDelay(retry, 2, 0, 0.5)).toBe(200)
  expect(retryDelay(retry, 20, 0, 0.5)).toBe(1_000)
  expect(retryDelay(retry, 1, 0, 0)).toBe(80)
  expect(retryDelay(retry, 1, 0, 0.999)).toBeLessThan(120.001)
})
test('no delay goes beyond maxElapsed', () => {
  expect(retryDelay(retry, 20, 4_001, 0.5)).toBeNull()
  expect(retryDelay(retry, 20, 4_000, 0.5)).toBe(1_000)
})
