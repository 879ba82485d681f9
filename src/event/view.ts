/**
 * The views that handlers see: a change or a marker of an opened frame, on (records, place).
 *
 * Making one costs one small object; a field costs when it is read. Rows are kept once made, so that reading two columns
 * of `after` finds the row once.
 */
import { inspect } from 'node:util'
import { ownedCopy } from './bytes.js'
import type { Codec, Records, Table } from './codec.js'
import type { ChangeEvent, EventSource, Marker, Operation, Row, TransactionInfo } from './event.js'
import type { LaneSpec } from './frame.js'
import { bit, dataView, frameError, head, noTable, operations, recordHeadBytes } from './layout.js'
import { formatPosition, type Position } from './position.js'
import { isoMicros, isoMillis, isTime } from './time.js'

/** What all events of a lane share: one object for all its frames. */
export interface LaneContext {
  readonly spec: LaneSpec
  readonly source: EventSource
  /** The same, safe for JSON. */
  readonly sourceJSON: Readonly<Record<string, unknown>>
  readonly codec: Codec
  /** `source/epoch/lane/` */
  readonly idPrefix: string
}

/** The memory that views read, with what they share. */
export interface ViewRecords extends Records {
  readonly context: LaneContext
}

export class ChangeView implements ChangeEvent {
  private beforeRow: Row | null | undefined = undefined
  private afterRow: Row | null | undefined = undefined

  constructor(
    private readonly records: ViewRecords,
    private readonly at: number,
  ) {}

  get type(): 'change' {
    return 'change'
  }

  get id(): string {
    return this.records.context.idPrefix + formatPosition(this.position)
  }

  get source(): EventSource {
    return this.records.context.source
  }

  get position(): Position {
    return positionAt(this.records.view, this.at)
  }

  get operation(): Operation {
    return operations[this.records.view.getUint8(this.at + head.operation)]!
  }

  get namespace(): string {
    return this.records.tableOf(this.at)?.namespace ?? ''
  }

  get entity(): string {
    return this.records.tableOf(this.at)?.entity ?? ''
  }

  get key(): Row | null {
    return this.records.context.codec.key(this.records, this.at)
  }

  get keyHash(): number {
    return this.records.view.getUint32(this.at + head.keyHash, true)
  }

  get keyText(): string {
    return this.records.context.codec.keyText(this.records, this.at)
  }

  get before(): Row | null {
    if (this.beforeRow === undefined) this.beforeRow = this.records.context.codec.before(this.records, this.at)
    return this.beforeRow
  }

  get after(): Row | null {
    if (this.afterRow === undefined) this.afterRow = this.records.context.codec.after(this.records, this.at)
    return this.afterRow
  }

  get unchanged(): readonly string[] {
    return this.records.context.codec.unchanged(this.records, this.at)
  }

  get incomplete(): boolean {
    return (this.records.view.getUint8(this.at + head.bits) & bit.incomplete) !== 0
  }

  get late(): boolean {
    return (this.records.view.getUint8(this.at + head.bits) & bit.late) !== 0
  }

  get transaction(): TransactionInfo | null {
    const { view, context } = this.records
    const xid = view.getUint32(this.at + head.transaction, true)
    const commitText = context.codec.commitText
    if (xid === 0 || commitText === null) return null
    const major = this.at + head.major
    return {
      id: String(xid),
      commit: commitText(view.getUint32(major + 4, true), view.getUint32(major, true)),
      committedAt: this.occurredAt ?? '',
      index: Number(view.getBigUint64(this.at + head.minor, true)),
    }
  }

  get tenant(): string | null {
    return this.records.context.codec.tenant(this.records, this.at)
  }

  get occurredAt(): string | null {
    const micros = this.records.view.getFloat64(this.at + head.time, true)
    if (!isTime(micros)) return null
    return this.records.context.spec.codec === 'resp-entry' ? isoMillis(micros) : isoMicros(micros)
  }

  get traceparent(): string | null {
    return this.records.context.codec.traceparent(this.records, this.at)
  }

  get headers(): Readonly<Record<string, string>> {
    return this.records.context.codec.headers(this.records, this.at)
  }

  get schemaVersion(): number {
    return this.records.tableOf(this.at)?.schemaVersion ?? 0
  }

  detach(): ChangeEvent {
    return new ChangeView(detachRecord(this.records, this.at), 0)
  }

  toJSON(): Record<string, unknown> {
    const transaction = this.transaction
    return {
      type: 'change',
      id: this.id,
      source: this.records.context.sourceJSON,
      position: formatPosition(this.position),
      operation: this.operation,
      namespace: this.namespace,
      entity: this.entity,
      key: this.key?.toJSON() ?? null,
      before: this.before?.toJSON() ?? null,
      after: this.after?.toJSON() ?? null,
      unchanged: this.unchanged,
      incomplete: this.incomplete,
      late: this.late,
      transaction,
      tenant: this.tenant,
      occurredAt: this.occurredAt,
      traceparent: this.traceparent,
      headers: this.headers,
      schemaVersion: this.schemaVersion,
    }
  }

  [inspect.custom](): Record<string, unknown> {
    return this.toJSON()
  }
}

/** A marker is rare and read whole: a plain object that pins nothing. */
export function markerView(records: ViewRecords, at: number, marker: Marker['marker']): Marker {
  const position = positionAt(records.view, at)
  return {
    type: 'marker',
    id: records.context.idPrefix + formatPosition(position),
    source: records.context.source,
    position,
    marker,
  }
}

export function positionAt(view: DataView, at: number): Position {
  return {
    major: view.getBigUint64(at + head.major, true),
    minor: view.getBigUint64(at + head.minor, true),
    part: (view.getUint8(at + head.bits) & bit.part) as 0 | 1,
  }
}

/** A record in memory of its own, at place 0. */
function detachRecord(records: ViewRecords, at: number): ViewRecords {
  const bytes = ownedCopy(records.bytes, at, records.bodyEnd(at))
  const table = records.tableOf(at)
  return {
    bytes,
    view: dataView(bytes),
    lane: records.lane,
    context: records.context,
    tableOf: () => table,
    bodyStart: () => recordHeadBytes,
    bodyEnd: () => bytes.length,
  }
}

/** The table at a place of the footer. */
export function tableAt(tables: readonly Table[], place: number): Table | null {
  if (place === noTable) return null
  const table = tables[place]
  if (table === undefined) throw frameError('frame-corrupt', `a record names table ${place} of ${tables.length}`)
  return table
}
