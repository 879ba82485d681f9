/** Writes the bytes that PostgreSQL and Redis would send: for tests of the codecs, which must also read what no server sends. */

import type { ChangeEvent, Operation } from '../../src/event/event.js'
import type { Frame, LaneSpec, RecordHead, TableSpec } from '../../src/event/frame.js'
import { operationOf } from '../../src/event/layout.js'
import { openFrame } from '../../src/event/open.js'
import { encodeRelation, type Relation } from '../../src/event/relation.js'
import { createFrameWriter } from '../../src/event/writer.js'

/** `undefined`: unchanged TOAST. */
export type ColumnText = string | null | undefined | { readonly binary: Uint8Array }

export function tuple(kind: 'N' | 'O' | 'K', columns: readonly ColumnText[]): Buffer {
  const parts: Buffer[] = [Buffer.from(kind), int16(columns.length)]
  for (const column of columns) {
    if (column === undefined) parts.push(Buffer.from('u'))
    else if (column === null) parts.push(Buffer.from('n'))
    else if (typeof column === 'string') parts.push(Buffer.from('t'), lengthed(Buffer.from(column)))
    else parts.push(Buffer.from('b'), lengthed(Buffer.from(column.binary)))
  }
  return Buffer.concat(parts)
}

function lengthed(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}

export function message(flags: number, lsn: bigint, prefix: string, content: Uint8Array): Buffer {
  const head = Buffer.alloc(9)
  head.writeUInt8(flags)
  head.writeBigUInt64BE(lsn, 1)
  return Buffer.concat([head, Buffer.from(`${prefix}\0`), lengthed(Buffer.from(content))])
}

/** RESP array of an entry's fields. */
export function entry(fields: readonly (readonly [string | Uint8Array, string | Uint8Array])[]): Buffer {
  const parts: Buffer[] = [Buffer.from(`*${fields.length * 2}\r\n`)]
  for (const text of fields.flat()) {
    const bytes = Buffer.from(text as Uint8Array)
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'))
  }
  return Buffer.concat(parts)
}

export function headOf(fields: Partial<Omit<RecordHead, 'operation'>> & { operation?: Operation } = {}): RecordHead {
  return {
    keyHash: 7,
    majorHigh: 0,
    majorLow: 1,
    minorHigh: 0,
    minorLow: 1,
    part: 0,
    table: 0,
    timeMicros: 1_795_328_217_123_456,
    transaction: 77,
    incomplete: false,
    late: false,
    ...fields,
    operation: operationOf[fields.operation ?? 'insert'],
  }
}

export function relationOf(
  columns: readonly (readonly [name: string, type: number])[],
  keyColumns: readonly number[] = [0],
  more: Partial<Relation> = {},
): Relation {
  return {
    id: 16_385,
    replicaIdentity: 'd',
    columns: columns.map(([name, typeOid], number) => ({
      name,
      typeOid,
      typeModifier: -1,
      keyFlag: keyColumns.includes(number),
    })),
    keyColumns,
    types: {},
    ...more,
  }
}

export const lane: LaneSpec = {
  source: 'shop',
  kind: 'postgres',
  replayable: true,
  epoch: 3n,
  lane: 'slot',
  codec: 'pgoutput',
}

export interface Sample {
  readonly head?: Parameters<typeof headOf>[0]
  readonly body: Uint8Array
}

/** Writes the records into one frame and opens it. */
export function framed(
  spec: LaneSpec,
  tables: readonly TableSpec[],
  samples: readonly Sample[],
): { readonly frame: Frame; readonly bytes: Buffer } {
  const writer = createFrameWriter(spec)
  for (const table of tables) writer.table(table)
  for (const { head, body } of samples) writer.record(headOf(head), body, 0, body.length)
  const bytes = Buffer.alloc(writer.size)
  writer.finishInto(bytes, 0, null)
  return { frame: openFrame(bytes, 0, bytes.length), bytes }
}

export function places(frame: Frame): number[] {
  const all: number[] = []
  for (let at = frame.begin; at < frame.end; at = frame.next(at)) all.push(at)
  return all
}

export function changes(frame: Frame): ChangeEvent[] {
  return places(frame).map((at) => {
    const item = frame.item(at)
    if (item.type !== 'change') throw new Error('a marker where a change was expected')
    return item
  })
}

/** The one change of a relation's record. */
export function changeOf(relation: Relation, operation: Operation, body: Uint8Array): ChangeEvent {
  const table = { index: 0, namespace: 'public', entity: 'orders', schemaVersion: 1, meta: encodeRelation(relation) }
  return changes(framed(lane, [table], [{ head: { operation }, body }]).frame)[0]!
}
