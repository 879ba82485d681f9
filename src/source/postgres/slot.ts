/**
 * The replication slot: whether what it still holds joins what our checkpoint says, and how a reader gets hold of it.
 *
 * The server forwards a start before `confirmed_flush_lsn` without a word, so a slot that is ahead of our checkpoint, is
 * gone, or lost WAL is found here, before START_REPLICATION.
 */
import type pg from 'pg'
import { TroupeError } from '../../world/error.js'
import type { PostgresSourceDefinition } from './definition.js'
import { slotLost, slotMissing } from './errors.js'
import { formatLsn, parseLsn } from './lsn.js'
import type { PostgresState } from './state.js'

export interface Slot {
  readonly plugin: string
  readonly database: string
  readonly activePid: number | null
  /** Null for a slot that has not reached a consistent point. */
  readonly confirmed: bigint | null
  /** `lost`: WAL that it needs was removed (max_slot_wal_keep_size), or it was invalidated. */
  readonly lost: boolean
}

export async function readSlot(client: pg.Client, name: string): Promise<Slot | null> {
  const { rows } = await client.query<Record<string, unknown>>(
    'SELECT * FROM pg_replication_slots WHERE slot_name = $1',
    [name],
  )
  const row = rows[0]
  if (row === undefined) return null
  return {
    plugin: String(row.plugin),
    database: String(row.database),
    activePid: typeof row.active_pid === 'number' ? row.active_pid : null,
    confirmed: typeof row.confirmed_flush_lsn === 'string' ? parseLsn(row.confirmed_flush_lsn) : null,
    // Columns of later versions: conflicting (16), invalidation_reason (17).
    lost: row.wal_status === 'lost' || row.conflicting === true || typeof row.invalidation_reason === 'string',
  }
}

/** Waits until the transactions that are open now have ended. Gives the slot's consistent point. */
export async function createSlot(client: pg.Client, name: string): Promise<bigint> {
  const { rows } = await client.query<{ lsn: string }>(
    "SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput')",
    [name],
  )
  return parseLsn(rows[0]!.lsn)
}

/** What is to be done with the slot at the start. */
export type SlotVerdict =
  /** Streaming goes on at our checkpoint, or begins at the slot's own position. */
  | { readonly kind: 'joined' }
  | { readonly kind: 'create' }
  /** Events are gone. `recreate`: the slot must be dropped (if it is there) and made again. */
  | { readonly kind: 'gap'; readonly cause: GapCause; readonly to: bigint | null; readonly recreate: boolean }

export type GapCause = 'slot-ahead' | 'slot-missing' | 'slot-lost'

/**
 * @param state our checkpoint; null on the very first start
 * @throws TroupeError `slot-foreign`, `slot-missing`: nothing that onGap could allow
 */
export function judgeSlot(
  config: PostgresSourceDefinition,
  database: string,
  slot: Slot | null,
  state: PostgresState | null,
  place: string,
): SlotVerdict {
  if (slot === null) {
    if (state !== null) return { kind: 'gap', cause: 'slot-missing', to: null, recreate: true }
    if (config.createSlot === 'if-missing') return { kind: 'create' }
    throw slotNotThere(config, place)
  }
  if (slot.plugin !== 'pgoutput' || slot.database !== database)
    throw new TroupeError({
      code: 'slot-foreign',
      message: `the slot ${config.slot} decodes the database ${slot.database} with ${slot.plugin}, not ${database} with pgoutput`,
      place,
      remedy: 'name another slot, or drop this one if nobody needs it',
      exitCode: 2,
      permanent: true,
    })
  if (slot.lost) return { kind: 'gap', cause: 'slot-lost', to: null, recreate: true }
  if (state !== null && slot.confirmed !== null && slot.confirmed > state.lsn)
    return { kind: 'gap', cause: 'slot-ahead', to: slot.confirmed, recreate: false }
  return { kind: 'joined' }
}

export function slotNotThere(config: PostgresSourceDefinition, place: string): TroupeError {
  return new TroupeError({
    code: 'slot-missing',
    message: `there is no replication slot ${config.slot}, and createSlot is never`,
    place,
    remedy: `create it: SELECT pg_create_logical_replication_slot('${config.slot}', 'pgoutput'); or set createSlot: if-missing`,
    exitCode: 2,
    permanent: true,
  })
}

/** The error of a gap that the configuration does not allow. */
export function gapError(
  config: PostgresSourceDefinition,
  gap: { readonly cause: GapCause; readonly to: bigint | null },
  state: PostgresState | null,
  place: string,
): TroupeError {
  const ours = state === null ? 'no checkpoint' : `our checkpoint ${formatLsn(state.lsn)}`
  const messages: Readonly<Record<GapCause, string>> = {
    'slot-ahead': `the slot ${config.slot} stands at ${gap.to === null ? '?' : formatLsn(gap.to)}, ahead of ${ours}: what lies between is gone`,
    'slot-missing': `the slot ${config.slot} is gone, though there is ${ours}: it was dropped, or the server was replaced`,
    'slot-lost': `the slot ${config.slot} was invalidated: the server removed WAL that it needed (${ours})`,
  }
  const remedies: Readonly<Record<GapCause, string>> = {
    'slot-ahead':
      'if another consumer used this slot, give this source a slot of its own. To accept the gap set onGap: report: a loss window is reported and reading goes on from the slot',
    'slot-missing': slotMissing.remedy,
    'slot-lost': slotLost.remedy,
  }
  return new TroupeError({
    code: gap.cause,
    message: messages[gap.cause],
    place,
    remedy: remedies[gap.cause],
    permanent: true,
  })
}

/** The session that holds a slot, and what it is to the reader `prefix` + `term` (names: `readerName`). */
export interface SlotHolder {
  readonly pid: number
  readonly name: string
  /** `older`, `same` or `newer`: a term of this same reader. */
  readonly is: 'older' | 'same' | 'newer' | 'stranger'
}

export async function slotHolder(
  client: pg.Client,
  slot: string,
  prefix: string,
  term: number,
): Promise<SlotHolder | null> {
  const { rows } = await client.query<{ pid: number; name: string }>(
    `SELECT a.pid, a.application_name AS name
     FROM pg_replication_slots s JOIN pg_stat_activity a ON a.pid = s.active_pid WHERE s.slot_name = $1`,
    [slot],
  )
  const row = rows[0]
  if (row === undefined) return null
  const held = row.name.startsWith(prefix) ? Number(row.name.slice(prefix.length)) : Number.NaN
  if (!Number.isSafeInteger(held)) return { ...row, is: 'stranger' }
  return { ...row, is: held < term ? 'older' : held === term ? 'same' : 'newer' }
}

/** Ends a walsender. Refused to a role that is neither its own nor pg_signal_backend: then the wait for its end goes on. */
export async function endHolder(client: pg.Client, holder: SlotHolder): Promise<void> {
  await client.query('SELECT pg_terminate_backend($1)', [holder.pid]).catch(() => {})
}

export function slotInUse(
  config: PostgresSourceDefinition,
  server: string,
  holder: SlotHolder | null,
  place: string,
): TroupeError {
  const who =
    holder === null
      ? 'another session'
      : holder.is === 'newer'
        ? `a newer reader of this source ("${holder.name}")`
        : `the session "${holder.name}"`
  return new TroupeError({
    code: 'slot-in-use',
    message: `the slot ${config.slot} of ${server} is held by ${who}`,
    place,
    remedy: 'stop the other reader of this slot, or give this source a slot of its own',
  })
}
