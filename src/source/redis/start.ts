/**
 * Where each lane begins: compares what we remember with what is there, and says what may have been lost between.
 */

import { hashBytes, hashText } from '../../event/hash.js'
import type { LossWindow } from '../../event/marker.js'
import { encodeEntryTable } from '../../event/resp-entry.js'
import { respCommand } from '../../wire/resp-writer.js'
import type { SourceContext } from '../source.js'
import type { RedisAdmin } from './admin.js'
import type { RedisStreamsSourceDefinition } from './definition.js'
import { copyId, type EntryId, idOfPosition, idText, isZero, zeroId } from './entry-id.js'
import { continuityOf, type LaneMemory, nextEpoch, type ReplicationFacts, trimmedBehind } from './history.js'
import type { Lane } from './lanes.js'
import { readState, type StoredState } from './state.js'

export interface Start {
  readonly replication: string
  readonly lanes: readonly Lane[]
  /** To be reported as soon as the reader runs. */
  readonly windows: readonly { readonly lane: Lane; readonly window: LossWindow }[]
}

/** Finds the lanes, and in mode `group` makes the groups that are not there. */
export async function startLanes(
  definition: RedisStreamsSourceDefinition,
  group: string | null,
  database: number,
  admin: RedisAdmin,
  context: SourceContext,
): Promise<Start> {
  const stored = readState(context.resume.state, `source ${context.name}`)
  const replication = await admin.replication()
  const lanes: Lane[] = []
  const windows: { lane: Lane; window: LossWindow }[] = []
  for (const stream of definition.streams) {
    const found = await findLane(definition, group, stream, stored, replication, admin, context)
    const lane = openLane(definition, stream, found, database, context)
    lanes.push(lane)
    for (const window of found.windows) windows.push({ lane, window })
  }
  return { replication: replication.id, lanes, windows }
}

interface Found extends LaneMemory {
  readonly windows: readonly LossWindow[]
}

async function findLane(
  definition: RedisStreamsSourceDefinition,
  group: string | null,
  stream: string,
  stored: StoredState | null,
  replication: ReplicationFacts,
  admin: RedisAdmin,
  context: SourceContext,
): Promise<Found> {
  const facts = await admin.stream(stream)
  const memory = stored?.lanes.get(stream)
  const grouped = definition.mode === 'group' && group !== null
  if (stored === null || memory === undefined) {
    const latest = definition.start === 'latest'
    const last = latest && !grouped ? await admin.entry(stream, facts.lastGenerated) : null
    if (grouped) await admin.createGroup(stream, group, latest ? '$' : '0')
    return {
      epoch: nextEpoch(0n, context.world.now()),
      id: latest && !grouped ? facts.lastGenerated : zeroId(),
      hash: last === null ? null : hashOf(last),
      added: facts.entriesAdded === null ? null : latest ? facts.entriesAdded : facts.entriesAdded - facts.length,
      windows: [],
    }
  }
  const window = (cause: string, estimate: number | null, bounded: boolean): LossWindow => {
    const now = context.world.now()
    return {
      source: context.name,
      lane: stream,
      lastSeen: isZero(memory.id) ? null : idText(memory.id),
      from: new Date(stored.at).toISOString(),
      to: new Date(now).toISOString(),
      durationMs: Math.max(0, now - stored.at),
      cause,
      bounded,
      ...(estimate === null ? {} : { estimate }),
    }
  }
  const continuity = continuityOf(memory, stored.replication, replication, facts, await entryNow(admin, stream, memory))
  if (!continuity.same) {
    context.log.warn(
      { source: context.name, stream, why: continuity.why },
      'a stream is not the one that was left: new epoch',
    )
    if (grouped) await admin.createGroup(stream, group, '0')
    return {
      epoch: nextEpoch(memory.epoch, context.world.now()),
      id: zeroId(),
      hash: null,
      added: facts.entriesAdded === null ? null : facts.entriesAdded - facts.length,
      windows: [window('new-epoch', null, false)],
    }
  }
  if (grouped) {
    const made = await admin.createGroup(stream, group, idText(memory.id))
    return { ...memory, windows: made ? [window('group-lost', null, true)] : [] }
  }
  const missing = trimmedBehind(memory, facts)
  if (missing === 0) return { ...memory, windows: [] }
  return {
    ...memory,
    added: memory.added === null || missing === null ? null : memory.added + missing,
    windows: [window('trimmed', missing, true)],
  }
}

async function entryNow(admin: RedisAdmin, stream: string, memory: LaneMemory) {
  if (memory.hash === null) return { found: false } as const
  const fields = await admin.entry(stream, memory.id)
  if (fields === null) return { found: false } as const
  return { found: true, hash: hashOf(fields) } as const
}

/** Of the entry as the server would send it. */
function hashOf(fields: readonly Buffer[]): number {
  const body = respCommand(fields)
  return hashBytes(body, 0, body.length)
}

function openLane(
  definition: RedisStreamsSourceDefinition,
  stream: string,
  found: Found,
  database: number,
  context: SourceContext,
): Lane {
  const out = context.out.lane({
    source: context.name,
    kind: definition.kind,
    replayable: true,
    epoch: found.epoch,
    lane: stream,
    codec: 'resp-entry',
    ordered: definition.mode === 'read',
  })
  out.table({
    index: 0,
    namespace: String(database),
    entity: stream,
    schemaVersion: 1,
    meta: encodeEntryTable({ keyField: definition.keyField }),
  })
  const appended = context.resume.appended[stream]
  const high: EntryId = zeroId()
  copyId(found.id, high)
  return {
    stream,
    epoch: found.epoch,
    out,
    keyHash: hashText(stream),
    high,
    hash: found.hash,
    added: found.added,
    skipTo:
      definition.mode === 'read' && appended !== undefined && appended.epoch === found.epoch
        ? idOfPosition(appended.position)
        : null,
    check: null,
    verified: { id: { ...high }, at: context.world.now() },
    bodyStart: -1,
    bodyEnd: -1,
  }
}
