/**
 * Where a reader begins, and whether what it will read joins what was read before: the same cluster, the same history, a
 * slot that still holds everything after our checkpoint. If not, the reader stops with a named error, or, where the
 * configuration says `onGap: report`, goes on behind a loss window. It never goes on without a word.
 */
import type pg from 'pg'
import type { LossWindow } from '../../event/marker.js'
import type { ReplicationConnection } from '../../wire/copyboth.js'
import { TroupeError } from '../../world/error.js'
import type { SourceContext } from '../source.js'
import { readerNamePrefix, serverLabel } from './connection.js'
import type { PostgresSourceDefinition } from './definition.js'
import { formatLsn, parseLsn } from './lsn.js'
import { createSlot, gapError, judgeSlot, readSlot, slotHolder, slotInUse, slotNotThere } from './slot.js'
import { fromReaderState, type PostgresState } from './state.js'

/** The only lane of a slot. */
export const walLane = 'wal'

/** ms that creating a slot may wait for the transactions that are open: what a question on the catalog connection may take. */
export const createDeadline = 120_000

export interface Start {
  readonly state: PostgresState
  /** To be told before the first record. */
  readonly window: LossWindow | null
  /** What the source has been told before, or may be told at once. */
  readonly confirmed: bigint
  /** The epoch is a new one: nothing may bear it before it is on the disk, or a crash would give the same events another. */
  readonly fresh: boolean
}

interface System {
  readonly id: string
  readonly timeline: number
  readonly position: bigint
  readonly database: string
}

export async function decideStart(
  config: PostgresSourceDefinition,
  context: SourceContext,
  replication: ReplicationConnection,
  catalog: pg.Client,
  place: string,
): Promise<Start> {
  const system = await identifySystem(replication)
  const stored = context.resume.state === null ? null : fromReaderState(context.resume.state, place)
  const broken = stored === null ? null : await brokenHistory(replication, system, stored, place)
  if (broken !== null && config.onGap !== 'report') throw broken
  // A history that we did not read has no checkpoint of ours.
  const joined = broken === null ? stored : null
  const epoch = broken === null ? stored?.epoch : undefined
  const begin = (lsn: bigint): PostgresState => ({
    system: system.id,
    timeline: system.timeline,
    epoch: epoch ?? newEpoch(context, stored),
    lsn,
    at: context.world.now(),
  })

  const prefix = readerNamePrefix(context.pipeline, context.name)
  const slot = await readSlot(catalog, config.slot)
  const verdict = judgeSlot(config, system.database, slot, joined, place)
  switch (verdict.kind) {
    case 'create': {
      context.log.info({ slot: config.slot }, 'creating the replication slot: waits for open transactions')
      const lsn = await createSlot(catalog, config.slot)
      return begun(
        begin(lsn),
        broken === null ? null : windowOf(context, config.slot, stored, lsn, broken.code),
        epoch === undefined,
      )
    }
    case 'joined': {
      if (joined !== null) {
        const { confirmed: known } = context.resume
        const confirmed = known === null ? null : fromReaderState(known, place)
        return {
          state: { ...joined, timeline: system.timeline },
          window: null,
          confirmed: confirmed === null ? (slot?.confirmed ?? 0n) : confirmed.lsn,
          fresh: confirmed?.epoch !== joined.epoch,
        }
      }
      const lsn = slot?.confirmed ?? 0n
      context.log.info(
        { slot: config.slot, lsn: formatLsn(lsn) },
        'no checkpoint yet: reading from the position of the slot',
      )
      return begun(
        begin(lsn),
        broken === null ? null : windowOf(context, config.slot, stored, lsn, broken.code),
        epoch === undefined,
      )
    }
    case 'gap': {
      // It has moved on because a newer reader of this source has it: that is no gap, and not ours to judge.
      const holder = await slotHolder(catalog, config.slot, prefix, context.term)
      if (holder?.is === 'newer') throw slotInUse(config, serverLabel(config), holder, place)
      // Such a reader may also have come and gone while this one stood still.
      await context.stillOwns()
      if (config.onGap !== 'report') throw gapError(config, verdict, joined, place)
      const lsn = verdict.recreate ? await recreate() : verdict.to!
      context.log.warn({ slot: config.slot, cause: verdict.cause, lsn: formatLsn(lsn) }, 'going on behind a gap')
      return begun(begin(lsn), windowOf(context, config.slot, stored, lsn, verdict.cause), epoch === undefined)
    }
  }
  async function recreate(): Promise<bigint> {
    if (config.createSlot !== 'if-missing') throw slotNotThere(config, place)
    if (slot !== null) await catalog.query('SELECT pg_drop_replication_slot($1)', [config.slot])
    return createSlot(catalog, config.slot)
  }
}

function begun(state: PostgresState, window: LossWindow | null, fresh: boolean): Start {
  return { state, window, confirmed: state.lsn, fresh }
}

/** No epoch is used twice, not even after a log lost its tail. */
function newEpoch(context: SourceContext, stored: PostgresState | null): bigint {
  const seconds = BigInt(Math.floor(context.world.now() / 1000))
  const next = (stored?.epoch ?? 0n) + 1n
  return next > seconds ? next : seconds
}

function windowOf(
  context: SourceContext,
  slot: string,
  stored: PostgresState | null,
  to: bigint,
  cause: string,
): LossWindow {
  const now = context.world.now()
  const from = stored?.at ?? now
  return {
    source: context.name,
    lane: walLane,
    scope: { kind: 'slot', name: slot },
    lastSeen: stored === null ? null : `${formatLsn(stored.lsn)}..${formatLsn(to)}`,
    from: new Date(from).toISOString(),
    to: new Date(now).toISOString(),
    durationMs: Math.max(now - from, 0),
    cause,
    // Of one history the two LSNs bound what was lost; of two they say nothing.
    bounded: stored !== null && cause.startsWith('slot-'),
  }
}

async function identifySystem(replication: ReplicationConnection): Promise<System> {
  const row = (await replication.query('IDENTIFY_SYSTEM'))[0]!
  return {
    id: String(row.systemid),
    timeline: Number(row.timeline),
    position: parseLsn(String(row.xlogpos)),
    database: String(row.dbname),
  }
}

/**
 * Whether the server's history is the one that the checkpoint speaks of; an error that says how not.
 * A promoted standby goes on with the same history if it left the old timeline at or after our checkpoint.
 */
async function brokenHistory(
  replication: ReplicationConnection,
  system: System,
  stored: PostgresState,
  place: string,
): Promise<TroupeError | null> {
  if (system.id !== stored.system)
    throw new TroupeError({
      code: 'system-changed',
      message: `this is another PostgreSQL cluster (system ${system.id}) than the one of our checkpoint (system ${stored.system})`,
      place,
      remedy:
        'correct the url; or, if the cluster was replaced on purpose, give the source a new name, so that it starts anew',
      permanent: true,
    })
  const remedy =
    'the server lost changes that were already read (a restored backup, or a promoted standby that lagged). Compare the targets with it; onGap: report goes on with a new epoch behind a loss window'
  if (system.timeline !== stored.timeline) {
    const left = await leftTimeline(replication, system.timeline, stored.timeline)
    if (left === null || left < stored.lsn)
      return new TroupeError({
        code: 'history-diverged',
        message: `the server is on timeline ${system.timeline}, which left ours (${stored.timeline}) ${left === null ? 'at an unknown point' : `at ${formatLsn(left)}`}, before our checkpoint ${formatLsn(stored.lsn)}`,
        place,
        remedy,
        permanent: true,
      })
  }
  if (system.position < stored.lsn)
    return new TroupeError({
      code: 'history-rewound',
      message: `the server stands at ${formatLsn(system.position)}, behind our checkpoint ${formatLsn(stored.lsn)}`,
      place,
      remedy,
      permanent: true,
    })
  return null
}

/** Where the history of `timeline` left `old`: a line `old <tab> LSN <tab> reason` of its history file; null where it has none. */
async function leftTimeline(replication: ReplicationConnection, timeline: number, old: number): Promise<bigint | null> {
  const row = (await replication.query(`TIMELINE_HISTORY ${timeline}`).catch(() => []))[0]
  const line = String(row?.content ?? '')
    .split('\n')
    .find((text) => text.trim().split(/\s+/)[0] === String(old))
  const lsn = line?.trim().split(/\s+/)[1]
  return lsn === undefined ? null : parseLsn(lsn)
}
