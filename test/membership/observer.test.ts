import { expect, test } from 'vitest'
import { keys } from '../../src/membership/keys.js'
import { decodeLease } from '../../src/membership/lease.js'
import { decodeMember, encodeRecord, type MemberRecord } from '../../src/membership/member.js'
import { createObserver } from '../../src/membership/observer.js'

const LEASE = 3_000

function world() {
  const observer = createObserver(LEASE)
  let revision = 0
  const say = (key: string, value: object | null, now: number) =>
    observer.heard({ key, value: value === null ? null : encodeRecord(value), revision: ++revision }, now)
  const beat = (node: string, now: number, more: Partial<MemberRecord> = {}) =>
    say(keys.member(node), { ...recordOf(node), ...more }, now)
  return { observer, say, beat }
}

function recordOf(node: string): MemberRecord {
  return {
    node,
    boot: `boot-${node}`,
    version: '1.0.0',
    protocol: 1,
    state: 'active',
    weight: 1,
    startedAt: 0,
    beat: 1,
    holds: {},
  }
}

const held = (node: string) => ({ node, boot: `boot-${node}`, n: 1, state: 'held' })

test('a member is dead once its record has not moved for a lease, while others are heard', () => {
  const { observer, beat } = world()
  beat('a', 0)
  for (let now = 0; now <= 2_900; now += 500) beat('b', now)
  expect(observer.member('a', 2_999)!.live).toBe(true)
  expect(observer.member('a', 3_000)!.live).toBe(false)
  expect(observer.member('b', 3_000)!.live).toBe(true)
})

test('silence is not held against others while nothing at all is heard', () => {
  const { observer, beat } = world()
  beat('a', 0)
  beat('b', 0)
  expect(observer.member('a', 1_000_000)!.live).toBe(true)
  beat('b', 1_000_000)
  expect(observer.member('a', 1_000_000)!.live).toBe(true)
  for (let now = 1_000_000; now <= 1_001_500; now += 500) beat('b', now)
  expect(observer.member('a', 1_001_500)!.live).toBe(false)
})

test('a record told again with its old revision is no sign of life', () => {
  const { observer, beat } = world()
  const entry = { key: keys.member('a'), value: encodeRecord(recordOf('a')), revision: 1_000 }
  observer.heard(entry, 0)
  for (let now = 500; now <= 3_000; now += 500) {
    observer.heard(entry, now)
    beat('b', now)
  }
  expect(observer.member('a', 3_000)!.live).toBe(false)
})

test('a clock that stands still or goes back makes nobody older or younger', () => {
  const { observer, beat } = world()
  beat('a', 10_000)
  beat('b', 4_000)
  expect(observer.member('a', 4_000)!.silent).toBe(0)
  expect(observer.member('a', 3_000)!.live).toBe(true)
})

test('a lease dies with its holder, with a new boot of it, and with its own proof of life', () => {
  const { observer, say, beat } = world()
  beat('a', 0, { holds: { 'part.key.1': 1, 'part.key.2': 1 } })
  say('lease.part.key.1', held('a'), 0)
  say('lease.part.key.2', held('a'), 0)
  say('lease.part.key.3', held('nobody'), 0)
  expect(observer.lease('part.key.1', 0).state).toBe('held')
  expect(observer.lease('part.key.3', 0)).toMatchObject({ state: 'dead', why: 'no-member' })
  for (let i = 2; i <= 7; i++) beat('a', (i - 1) * 500, { beat: i, holds: { 'part.key.1': i, 'part.key.2': 1 } })
  expect(observer.lease('part.key.1', 3_000).state).toBe('held')
  expect(observer.lease('part.key.2', 3_000)).toMatchObject({ state: 'dead', why: 'no-proof' })
  beat('a', 3_000, { boot: 'another' })
  expect(observer.lease('part.key.1', 3_000)).toMatchObject({ state: 'dead', why: 'other-boot' })
  expect(observer.lease('part.key.9', 3_000)).toMatchObject({ state: 'free', revision: 0 })
})

test('a lease that was just acquired has a lease of time until its first proof', () => {
  const { observer, say, beat } = world()
  beat('a', 0)
  for (let now = 500; now <= 10_000; now += 500) beat('a', now, { beat: now })
  say('lease.reader.db', held('a'), 10_000)
  expect(observer.lease('reader.db', 10_000).state).toBe('held')
  for (let now = 10_500; now <= 13_000; now += 500) beat('a', now, { beat: now })
  expect(observer.lease('reader.db', 13_000)).toMatchObject({ state: 'dead', why: 'no-proof' })
})

test('what cannot be read is told as a problem, a newer form is left alone, and neither throws', () => {
  const { observer, say } = world()
  expect(say('member.a', { nonsense: true }, 0)?.problem).toMatch(/field 'node'/)
  expect(say('member.a', { ...recordOf('b') }, 0)?.problem).toMatch(/node 'b'/)
  expect(say('lease.reader.db', { form: 99, anything: 1 }, 0)?.problem).toMatch(/form 99/)
  expect(observer.lease('reader.db', 0).state).toBe('foreign')
  expect(say('lease.reader.db', { node: 3 }, 0)).toBeDefined()
  expect(observer.lease('reader.db', 0)).toMatchObject({ state: 'dead', why: 'unreadable' })
  expect(say('something.else', { x: 1 }, 0)).toBeUndefined()
  expect(observer.members(0).size).toBe(0)
  expect(decodeMember('a', Buffer.from('{')).kind).toBe('malformed')
  expect(decodeMember('a', Buffer.from('null')).kind).toBe('malformed')
  expect(decodeMember('a', new Uint8Array(1_000_000)).kind).toBe('malformed')
  expect(decodeLease(Buffer.from('[]')).kind).toBe('malformed')
})

test('a record survives its codec', () => {
  const record: MemberRecord = {
    ...recordOf('a'),
    holds: { 'part.key.1': 4, 'reader.db': 5 },
    status: { lag: 3, ok: true },
  }
  expect(decodeMember('a', encodeRecord(record))).toEqual({ kind: 'record', record })
})

test('orders are in force while their keys have a value', () => {
  const { observer, say } = world()
  say(keys.rolling, { by: 'me' }, 0)
  say(keys.drain('a'), {}, 0)
  say(keys.pausePipeline, {}, 0)
  say(keys.pauseProcessor('mailer'), {}, 0)
  expect(observer.orders()).toEqual({
    rolling: true,
    drain: new Set(['a']),
    pausePipeline: true,
    pausedProcessors: new Set(['mailer']),
  })
  for (const key of [keys.rolling, keys.drain('a'), keys.pausePipeline, keys.pauseProcessor('mailer')])
    say(key, null, 0)
  expect(observer.orders()).toEqual({
    rolling: false,
    drain: new Set(),
    pausePipeline: false,
    pausedProcessors: new Set(),
  })
})
