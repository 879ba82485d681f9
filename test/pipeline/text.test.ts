import { describe, expect, it } from 'vitest'
import { nearest } from '../../src/pipeline/nearest.js'
import { redactText, redactUrl } from '../../src/pipeline/redact.js'
import { formatDuration, parseDuration } from '../../src/pipeline/scalar.js'

describe('the nearest name', () => {
  it.each([
    ['partitons', ['partitions', 'threads'], 'partitions'],
    ['slto', ['slot', 'url'], 'slot'],
    ['ORDER', ['order'], 'order'],
    ['db', ['dbs', 'clicks'], 'dbs'],
    ['zebra', ['order', 'sink'], null],
    ['x', ['y1', 'zz'], null],
    ['', ['order'], null],
  ])('of %s among %j is %s', (name, candidates, expected) => {
    expect(nearest(name, candidates)).toBe(expected)
  })
})

describe('a password', () => {
  it.each([
    ['redis://user:hunter2@host:6379/0', 'redis://user:***@host:6379/0'],
    ['redis://:hunter2@host', 'redis://:***@host'],
    ['cannot reach postgres://app:hun:ter2@db/shop now', 'cannot reach postgres://app:***@db/shop now'],
    ['postgres:///shop?host=/run&password=hunter2&x=1', 'postgres:///shop?host=/run&password=***&x=1'],
    ['redis://host:6379/0', 'redis://host:6379/0'],
    ['{"url":"rediss://u:hunter2@h/0","n":1}', '{"url":"rediss://u:***@h/0","n":1}'],
    ['from redis://a:hunter2@h to redis://b:hunter2@h', 'from redis://a:***@h to redis://b:***@h'],
    ['mail me@example.org at 10:30', 'mail me@example.org at 10:30'],
  ])('is taken out of %s', (text, expected) => {
    expect(redactText(text)).toBe(expected)
  })

  it('does not show in a URL that cannot be read', () => {
    expect(redactUrl('hunter2')).toBe('***')
    expect(redactUrl('redis://u:hunter2@h')).toBe('redis://u:***@h')
  })
})

describe('a duration', () => {
  it.each([
    ['500ms', 500],
    ['30s', 30_000],
    ['1.5m', 90_000],
    ['2h', 7_200_000],
    ['250', 250],
    [250, 250],
    ['1 s', 1_000],
    ['', null],
    ['-1s', null],
    ['10x', null],
    [Number.NaN, null],
    [true, null],
  ])('of %s is %s ms', (text, expected) => {
    expect(parseDuration(text)).toBe(expected)
  })

  it('is written as short as it is exact', () => {
    expect([0, 1, 1_500, 30_000, 90_000, 3_600_000].map(formatDuration)).toEqual([
      '0ms',
      '1ms',
      '1500ms',
      '30s',
      '90s',
      '1h',
    ])
  })
})
