/**
 * PostgreSQL's errors in the words of an operator: what failed, whether a restart can help, and what to do. Codes are
 * documented in docs/postgres.md. No message holds a password: PostgreSQL's own never do, and URLs are not repeated.
 */
import { messageOf, TroupeError } from '../../world/error.js'

interface Known {
  readonly code: string
  readonly remedy: string
  /** What is wrong is configuration, and a restart cannot help. */
  readonly configuration?: boolean
  /** A restart cannot help, though the configuration is right. */
  readonly permanent?: boolean
}

/** By SQLSTATE (manual, appendix "Error Codes") or by the code of a socket error. */
const known: Readonly<Record<string, Known>> = {
  ECONNREFUSED: {
    code: 'postgres-refused',
    remedy: 'start PostgreSQL, or correct host and port in the url of the source',
  },
  ENOENT: {
    code: 'postgres-refused',
    remedy: 'no server listens on this unix socket: start PostgreSQL, or correct the directory in the url',
  },
  ENOTFOUND: { code: 'postgres-refused', remedy: 'correct the host in the url of the source, or its name resolution' },
  ETIMEDOUT: { code: 'postgres-refused', remedy: 'check that a firewall lets this machine reach the server' },
  '28P01': {
    code: 'postgres-authentication',
    remedy: 'correct user and password in the url of the source',
    configuration: true,
  },
  '28000': {
    code: 'postgres-authentication',
    remedy: 'check the role and pg_hba.conf: the role must be allowed to log in from here, also with replication',
    configuration: true,
  },
  '3D000': {
    code: 'postgres-no-database',
    remedy: 'correct the database in the url of the source',
    configuration: true,
  },
  '42501': {
    code: 'postgres-privileges',
    remedy:
      'give the role the REPLICATION attribute, and CREATE on the database and ownership of the tables if Troupe is to create the publication',
    configuration: true,
  },
  '53300': {
    code: 'postgres-no-connection',
    remedy: 'raise max_connections or max_wal_senders, or end connections that are not needed',
  },
  '53400': {
    code: 'no-free-slot',
    remedy: 'drop a replication slot that nobody uses (pg_drop_replication_slot) or raise max_replication_slots',
    configuration: true,
  },
  '55006': { code: 'slot-in-use', remedy: 'stop the other reader of this slot, or give this source a slot of its own' },
  '57P03': { code: 'postgres-starting', remedy: 'wait: the server is starting up or shutting down' },
  '57014': {
    code: 'postgres-timeout',
    remedy:
      'see pg_stat_activity for what the server is waiting for: a slot is created only after the transactions that were open have ended',
  },
}

export interface ErrorContext {
  readonly place: string
  readonly server: string
}

export function readable(error: unknown, context: ErrorContext): TroupeError {
  if (error instanceof TroupeError) return error
  const state = stateOf(error)
  const message = messageOf(error) || state || 'the connection failed'
  const entry = byMessage(state, message) ?? known[state] ?? unknownError
  return new TroupeError({
    code: entry.code,
    message: `PostgreSQL at ${context.server}: ${message}`,
    place: context.place,
    remedy: entry.remedy,
    exitCode: entry.configuration === true ? 2 : 1,
    permanent: entry.configuration === true || entry.permanent === true,
    cause: error,
  })
}

const unknownError: Known = {
  code: 'postgres-failed',
  remedy: "see the server's log; the reader is restarted and goes on from its checkpoint",
}

/** SQLSTATE or socket code; of several attempts (IPv6 and IPv4) the first. */
function stateOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return stateOf(error.errors[0])
  const code = (error as { readonly code?: unknown } | null)?.code
  return typeof code === 'string' ? code : ''
}

/** Several failures share SQLSTATE 55000 or 42704; the words tell them apart (in English, as `lc_messages` of a server usually is). */
function byMessage(state: string, message: string): Known | undefined {
  if (state === '55000' && message.includes('wal_level')) return walLevel
  if (state === '55000' && /can no longer (get changes|access|be used)|invalidated/.test(message)) return slotLost
  if (state === '42704' && message.includes('publication')) return noPublication
  if (state === '42704' && message.includes('replication slot')) return slotMissing
  if (state === '42P01') return undefined
  if (/timeout expired/.test(message)) return known.ETIMEDOUT
  return undefined
}

export const walLevel: Known = {
  code: 'wal-level',
  remedy: 'set wal_level = logical in postgresql.conf and restart PostgreSQL',
  configuration: true,
}

export const slotLost: Known = {
  code: 'slot-lost',
  remedy:
    'changes were removed before they were read. Raise max_slot_wal_keep_size, drop the slot, and set onGap: report to go on behind a reported loss window',
  permanent: true,
}

export const slotMissing: Known = {
  code: 'slot-missing',
  remedy:
    'the slot was dropped, and with it the changes since our checkpoint. Set onGap: report (and createSlot: if-missing) to go on behind a reported loss window',
  permanent: true,
}

export const noPublication: Known = {
  code: 'publication-missing',
  remedy:
    'create the publication before the slot: the slot decodes with the catalog of its time. If it was created later, drop the slot and let Troupe create it again',
  configuration: true,
}
