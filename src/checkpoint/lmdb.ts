/**
 * Checkpoints in LMDB: a memory-mapped B-tree in `<data>/checkpoints`, one writing actor, one fsync a commit.
 *
 * Durable means after the fsync: `commit` waits for LMDB's `flushed`, because the library resolves a write before it.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Database, open, type RootDatabase } from 'lmdb'
import { messageOf, TroupeError } from '../world/error.js'
import type {
  CheckpointBatch,
  CheckpointStore,
  Obligation,
  ProcessorCheckpoint,
  ReaderCheckpoint,
  ReaderState,
} from './checkpoint.js'
import { loadVector, loadVectors, type StoredVector, storeVector, storeVectors } from './vector.js'

interface StoredReader {
  readonly state: ReaderState | null
  readonly previous: Readonly<Record<string, StoredVector>>
  readonly term: number
}

type Key = (string | number)[]

/** Most that the database may grow to. Checkpoints are small; obligations are bounded by the credits. */
const mapSize = 1024 * 1024 * 1024

/** @throws TroupeError `checkpoint-store` where the directory cannot be written or is no database */
export function openLmdbStore(dataDirectory: string): CheckpointStore {
  const path = join(dataDirectory, 'checkpoints')
  let root: RootDatabase<unknown, Key>
  try {
    mkdirSync(path, { recursive: true })
    root = open<unknown, Key>({ path, mapSize, maxDbs: 4, encoding: 'json', compression: false })
  } catch (cause) {
    throw new TroupeError({
      code: 'checkpoint-store',
      message: `cannot open the checkpoints: ${messageOf(cause)}`,
      place: path,
      remedy: 'make the data directory writable, or name another one with `data:`',
      permanent: true,
      cause,
    })
  }
  const processors: Database<StoredVector, Key> = root.openDB({ name: 'processors', encoding: 'json' })
  const readers: Database<StoredReader, Key> = root.openDB({ name: 'readers', encoding: 'json' })
  const obligations: Database<Buffer, Key> = root.openDB({ name: 'obligations', encoding: 'binary' })

  function apply(batch: CheckpointBatch): void {
    for (const { processor, set, partition, lanes } of batch.processors ?? [])
      processors.put([processor, set, partition], storeVector(lanes))
    for (const change of batch.readers ?? []) {
      const known = readers.get([change.source])
      readers.put([change.source], {
        state: change.state ?? known?.state ?? null,
        previous: change.previous === undefined ? (known?.previous ?? {}) : storeVectors(change.previous),
        term: change.term ?? known?.term ?? 0,
      })
      for (const { receipt, bytes } of change.oblige ?? [])
        obligations.put([change.source, receipt], Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
      for (const receipt of change.discharge ?? []) obligations.remove([change.source, receipt])
    }
  }

  async function durable(work: () => void): Promise<void> {
    await root.transaction(work)
    await root.flushed
  }

  return {
    async layout() {
      return (root.get(['layout']) as Record<string, number> | undefined) ?? null
    },

    relayout: (layout) =>
      durable(() => {
        for (const key of [...processors.getKeys()]) processors.remove(key)
        for (const key of [...readers.getKeys()]) {
          const reader = readers.get(key)
          if (reader !== undefined) readers.put(key, { ...reader, previous: {} })
        }
        root.put(['layout'], { ...layout })
      }),

    async processors() {
      const found: ProcessorCheckpoint[] = []
      for (const { key, value } of processors.getRange()) {
        const [processor, set, partition] = key as [string, string, number]
        found.push({ processor, set, partition, lanes: loadVector(value) })
      }
      return found
    },

    async reader(source) {
      const stored = readers.get([source])
      if (stored === undefined) return null
      const kept: Obligation[] = []
      for (const { key, value } of obligations.getRange({ start: [source], end: [source, Number.MAX_SAFE_INTEGER] }))
        if (key[0] === source) kept.push({ receipt: key[1] as number, bytes: Buffer.from(value) })
      const checkpoint: ReaderCheckpoint = {
        source,
        state: stored.state,
        previous: loadVectors(stored.previous),
        obligations: kept,
        term: stored.term,
      }
      return checkpoint
    },

    commit: (batch) => durable(() => apply(batch)),

    close: () => root.close(),
  }
}
