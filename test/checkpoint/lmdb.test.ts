import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openLmdbStore } from '../../src/checkpoint/lmdb.js'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'troupe-ck-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const at = (major: bigint) => ({ epoch: 3n, position: { major, minor: 2n ** 63n, part: 1 as const } })

test('what was committed is found again after the store was opened anew', async () => {
  const store = openLmdbStore(directory)
  await store.relayout({ key: 4 })
  await store.commit({
    processors: [{ processor: 'p', set: 'key', partition: 2, lanes: { 'db/wal': at(2n ** 64n - 1n) } }],
    readers: [
      {
        source: 'db',
        state: { lsn: '0/1' },
        term: 4,
        previous: { 'key.2': { 'db/wal': at(9n) } },
        oblige: [{ receipt: 10, bytes: Uint8Array.of(1, 2) }],
      },
    ],
  })
  await store.close()
  const again = openLmdbStore(directory)
  expect(await again.layout()).toEqual({ key: 4 })
  expect(await again.processors()).toEqual([
    { processor: 'p', set: 'key', partition: 2, lanes: { 'db/wal': at(2n ** 64n - 1n) } },
  ])
  const reader = (await again.reader('db'))!
  expect(reader).toMatchObject({ state: { lsn: '0/1' }, term: 4, previous: { 'key.2': { 'db/wal': at(9n) } } })
  expect(reader.obligations.map(({ receipt, bytes }) => [receipt, [...bytes]])).toEqual([[10, [1, 2]]])
  await again.close()
})

test('a commit that names only a part of a reader leaves the rest', async () => {
  const store = openLmdbStore(directory)
  await store.commit({
    readers: [{ source: 'db', state: { lsn: '0/1' }, oblige: [{ receipt: 1, bytes: Uint8Array.of(1) }] }],
  })
  await store.commit({ readers: [{ source: 'db', term: 7 }] })
  await store.commit({ readers: [{ source: 'db', discharge: [1] }] })
  expect(await store.reader('db')).toMatchObject({ state: { lsn: '0/1' }, term: 7, obligations: [] })
  expect(await store.reader('other')).toBeNull()
  await store.close()
})

test('another layout drops the positions of processors and keeps those of readers', async () => {
  const store = openLmdbStore(directory)
  await store.relayout({ key: 4 })
  await store.commit({
    processors: [{ processor: 'p', set: 'key', partition: 2, lanes: { 'db/wal': at(1n) } }],
    readers: [{ source: 'db', state: { lsn: '0/1' }, previous: { 'key.2': { 'db/wal': at(1n) } } }],
  })
  await store.relayout({ key: 8 })
  expect(await store.processors()).toEqual([])
  expect(await store.reader('db')).toMatchObject({ state: { lsn: '0/1' }, previous: {} })
  await store.close()
})

test('a directory that is a file is a clear error', () => {
  expect(() => openLmdbStore('/dev/null')).toThrow(/cannot open the checkpoints/)
})
