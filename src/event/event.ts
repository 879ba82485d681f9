/**
 * ChangeEvent: one immutable event, the same for every source.
 *
 * An event is a view on the frame that carried it: its fields are decoded when they are read. It lives as long as its
 * handler runs; read later, it throws `event-expired`. Keep one longer with `detach()`.
 */
import type { LossWindow } from './marker.js'
import type { Position } from './position.js'

export type Operation =
  | 'insert'
  | 'update'
  | 'delete'
  | 'truncate'
  | 'read'
  | 'message'
  | 'append'
  | 'publish'
  | 'set'
  | 'expire'

export interface EventSource {
  /** The source's name in the pipeline. */
  readonly name: string
  readonly kind: string
  /** Continuity of the source: no restart or takeover raises it, a new history does. */
  readonly epoch: bigint
  readonly lane: string
  /** False where what was missed cannot be read again. */
  readonly replayable: boolean
}

export interface TransactionInfo {
  /** PostgreSQL: the transaction id, as text. */
  readonly id: string
  /** Commit position, in the source's own notation (`0/16B3748`). */
  readonly commit: string
  /** UTC, ISO 8601 with microseconds. */
  readonly committedAt: string
  /** Place of this event in the transaction: the ordinal, from 1. */
  readonly index: number
}

/** A value of a column or field. docs/postgres-types.md says which type gives which. `bytea` and binary fields are Uint8Array. */
export type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly Value[]
  | { readonly [name: string]: Value }

/** The columns of a row or the fields of an entry, decoded one by one when asked for. */
export interface Row {
  /** Names of the columns that were sent, in the source's order. */
  readonly columns: readonly string[]
  /** The value; `undefined` where the row has no such column or the source did not send it (see `ChangeEvent.unchanged`). */
  get(column: string): Value | undefined
  /** The value as the source wrote it: the text of a column, the bytes of a field as UTF-8; `undefined` as for `get`. */
  text(column: string): string | null | undefined
  has(column: string): boolean
  /**
   * For sinks on the hot path: visits every sent column without decoding. `start` is -1 for NULL; otherwise the value's
   * bytes are `bytes[start..end)`, and the name's `nameBytes` are the same object for every row of a relation (for entries: a fresh slice).
   */
  visit(visitor: (name: string, bytes: Uint8Array, start: number, end: number) => void): void
  toObject(): Record<string, Value>
  /** JSON-safe: bytes as base64; bigint as a number where it is safe, else as a decimal string. */
  toJSON(): Record<string, unknown>
}

export interface ChangeEvent {
  readonly type: 'change'
  /** `source/epoch/lane/position`: deterministic, so a replay bears the same id. */
  readonly id: string
  readonly source: EventSource
  readonly position: Position
  readonly operation: Operation
  /** Schema; database number of a Redis source. */
  readonly namespace: string
  /** Table, stream, key or channel. */
  readonly entity: string
  /** The key columns; null where the source names none. */
  readonly key: Row | null
  /** Hash of the key's bytes (unsigned 32 bits): what routing and keyed order use. */
  readonly keyHash: number
  /** The key as one string, for sinks and logs: the column's text, or several joined by `:` (with `\` and `:` escaped); '' without a key. */
  readonly keyText: string
  readonly before: Row | null
  readonly after: Row | null
  /** Columns that exist and were not sent (unchanged TOAST). */
  readonly unchanged: readonly string[]
  /** True for the insert half of a key change whose unchanged columns are not known. */
  readonly incomplete: boolean
  /** True for an entry that arrives after its successors (group mode). */
  readonly late: boolean
  readonly transaction: TransactionInfo | null
  readonly tenant: string | null
  /** UTC, ISO 8601, with the source's precision; null where the source does not say. */
  readonly occurredAt: string | null
  readonly traceparent: string | null
  readonly headers: Readonly<Record<string, string>>
  readonly schemaVersion: number
  /** A copy that pins no frame. */
  detach(): ChangeEvent
  toJSON(): Record<string, unknown>
}

/** What a frame holds besides changes: copied into every partition that it concerns. */
export interface Marker {
  readonly type: 'marker'
  readonly id: string
  readonly source: EventSource
  readonly position: Position
  readonly marker: { readonly kind: 'loss-window'; readonly window: LossWindow } | { readonly kind: 'heartbeat' }
}

export type StreamItem = ChangeEvent | Marker
