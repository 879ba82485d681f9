/** The pipelines that are measured: four partitions, keyed order, defaults for the rest. */
import { mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PipelineConfig } from '../../src/pipeline/schema.js'
import { publication } from '../workload/wal.js'

export const partitions = 4

/**
 * A host with two cores has none to spare beside the server and the reader: owners then run on the reader's thread, which
 * spares them the way between two threads. Else the runtime's own default.
 */
export const threads: { readonly threads?: number } = availableParallelism() <= 2 ? { threads: 0 } : {}

const folders: string[] = []

function dataDirectory(): string {
  const folder = mkdtempSync(join(tmpdir(), 'troupe-bench-'))
  folders.push(folder)
  return folder
}

export function removeData(): void {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
}

const handler = new URL('./count-rows.js', import.meta.url).href

export function walToHandler(url: string, slot: string): PipelineConfig {
  return {
    name: 'bench',
    data: dataDirectory(),
    partitions,
    ...threads,
    sources: { wal: walSource(url, slot) },
    processors: { count: { handler } },
  }
}

/**
 * For the cluster and, in the same run, without it: one partition, so that the whole of it is on one node and the reader on
 * another.
 */
export function walToNode(url: string, slot: string, name: string, module = handler): PipelineConfig {
  return {
    ...walToHandler(url, slot),
    name,
    partitions: 1,
    cluster: { durability: 'synced', maxBytes: 2 * 1024 ** 3 },
    processors: { count: { handler: module } },
  }
}

export function walToRedis(
  url: string,
  slot: string,
  redis: string,
  stream: string,
  exactlyOnce = false,
): PipelineConfig {
  return {
    name: 'bench',
    data: dataDirectory(),
    partitions,
    ...threads,
    sources: { wal: walSource(url, slot) },
    processors: { copy: { sink: { kind: 'redis', url: redis, write: 'stream', name: stream, exactlyOnce } } },
  }
}

function walSource(url: string, slot: string): PipelineConfig['sources'][string] {
  return { kind: 'postgres', url, publication, createPublication: 'never', slot, createSlot: 'never' }
}

export function streamToHandler(url: string, stream: string, mode: 'group' | 'read', group: string): PipelineConfig {
  const read = {
    kind: 'redis-streams' as const,
    url,
    streams: [stream],
    mode,
    keyField: 'key',
    start: 'earliest' as const,
  }
  return {
    name: 'bench',
    data: dataDirectory(),
    partitions,
    ...threads,
    sources: { clicks: mode === 'group' ? { ...read, group } : read },
    processors: { count: { handler } },
  }
}
