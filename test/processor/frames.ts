/** Frames for the tests of this room: one record for each (key, value), positions counting up from `from`. */
import type { LaneVector } from '../../src/checkpoint/checkpoint.js'
import { hashText } from '../../src/event/hash.js'
import { operationOf } from '../../src/event/layout.js'
import { encodeChange } from '../../src/event/msgpack.js'
import { createFrameWriter } from '../../src/event/writer.js'
import type { Assigned } from '../../src/partition/owner.js'

/** Where a processor stands behind the record at this place. */
export function lanesAt(major: number): LaneVector {
  return { 'memory/l': { epoch: 1n, position: { major: BigInt(major), minor: 0n, part: 0 } } }
}

export function assigned(
  sequence: number,
  from: number,
  records: readonly { readonly key: string; readonly value: number; readonly entity?: string }[],
): Assigned {
  const writer = createFrameWriter({
    source: 'memory',
    kind: 'test',
    replayable: true,
    epoch: 1n,
    lane: 'l',
    codec: 'msgpack',
  })
  const entities = [...new Set(records.map((record) => record.entity ?? 'things'))]
  for (const [index, entity] of entities.entries())
    writer.table({ index, namespace: 'n', entity, schemaVersion: 1, meta: new Uint8Array(0) })
  for (const [index, { key, value, entity }] of records.entries()) {
    const body = encodeChange({ key: { id: key }, after: { id: key, value } })
    writer.record(
      {
        keyHash: hashText(key),
        majorHigh: 0,
        majorLow: from + index,
        minorHigh: 0,
        minorLow: 0,
        part: 0,
        operation: operationOf.insert,
        table: entities.indexOf(entity ?? 'things'),
        timeMicros: Number.NaN,
        transaction: 0,
        incomplete: false,
        late: false,
      },
      body,
      0,
      body.length,
    )
  }
  const memory = new SharedArrayBuffer(writer.size)
  const length = writer.finishInto(Buffer.from(memory), 0, null)
  return {
    frame: { sequence, memory, offset: 0, length },
    after: null,
    skip: false,
    lanes: lanesAt(from + records.length - 1),
  }
}
