/**
 * The work of `runtime`: rows of ten columns and about 300 bytes, as pgoutput sends them, cut into frames in shared memory
 * before the clock starts. A round sends all frames; the next has the same bytes under the next epoch.
 */
import { crc32 } from 'node:zlib'
import type { RecordHead } from '../../src/event/frame.js'
import { frameLimits } from '../../src/event/frame.js'
import { hashText } from '../../src/event/hash.js'
import { header, operationOf } from '../../src/event/layout.js'
import type { Position } from '../../src/event/position.js'
import { encodeRelation } from '../../src/event/relation.js'
import { createFrameWriter } from '../../src/event/writer.js'
import type { FramePlace, Slab } from '../../src/log/log.js'

export const runtimeKeys = 1_000
export const runtimeSource = 'frames'
/** Two for each of three threads. */
export const runtimePartitions = 6

export interface Flush {
  readonly slab: Slab
  readonly frames: readonly FramePlace[]
  readonly bytes: number
}

const int4 = 23
const text = 25
const columns = ['key', 'sequence', 'amount', 'a', 'b', 'c', 'd', 'e', 'f', 'g']

/** What a handler that has read `sequence` and `amount` of every row has summed. */
export function runtimeSum(events: number): number {
  let sum = 0
  for (let sequence = 0; sequence < events; sequence++) sum += sequence + amountAt(sequence)
  return sum
}

function amountAt(sequence: number): number {
  return (sequence % 997) + 1
}

export function buildFrames(events: number): Flush[] {
  const lane = {
    source: runtimeSource,
    kind: 'postgres',
    replayable: true,
    epoch: 1n,
    lane: 'wal',
    codec: 'pgoutput',
  } as const
  const meta = encodeRelation({
    id: 1,
    replicaIdentity: 'd',
    columns: columns.map((name, number) => ({
      name,
      typeOid: number < 3 ? int4 : text,
      typeModifier: -1,
      keyFlag: number === 0,
    })),
    keyColumns: [0],
    types: {},
  })
  const writers = Array.from({ length: runtimePartitions }, () => {
    const writer = createFrameWriter(lane)
    writer.table({ index: 0, namespace: 'public', entity: 'rows', schemaVersion: 1, meta })
    return writer
  })
  const previous: (Position | null)[] = writers.map(() => null)
  const flushes: Flush[] = []
  const flush = () => {
    const size = writers.reduce((sum, writer) => sum + (writer.events > 0 ? writer.size : 0), 0)
    if (size === 0) return
    const memory = new SharedArrayBuffer(size)
    const target = Buffer.from(memory)
    const frames: FramePlace[] = []
    let offset = 0
    writers.forEach((writer, partition) => {
      if (writer.events === 0) return
      const end = writer.finishInto(target, offset, previous[partition]!)
      previous[partition] = writer.last()
      writer.reset()
      frames.push({ set: 'key', partition, offset, length: end - offset })
      offset = end
    })
    flushes.push({ slab: { id: flushes.length + 1, memory }, frames, bytes: offset })
  }
  const head: RecordHead = {
    keyHash: 0,
    majorHigh: 0,
    majorLow: 0,
    minorHigh: 0,
    minorLow: 1,
    part: 0,
    operation: operationOf.insert,
    table: 0,
    timeMicros: 1_700_000_000_000_000,
    transaction: 1,
    incomplete: false,
    late: false,
  }
  const hashes = Array.from({ length: runtimeKeys }, (_, key) => hashText(String(key)))
  for (let sequence = 0; sequence < events; sequence++) {
    const key = sequence % runtimeKeys
    head.keyHash = hashes[key]!
    head.majorLow = sequence + 1
    const body = bodyOf(key, sequence)
    const writer = writers[head.keyHash % runtimePartitions]!
    writer.record(head, body, 0, body.length)
    if (writer.events >= frameLimits.events || writer.size >= frameLimits.bytes) flush()
  }
  flush()
  return flushes
}

/** The slice of an Insert message: `N`, the number of columns, each with its kind, length and text. */
function bodyOf(key: number, sequence: number): Uint8Array {
  const values = [
    String(key),
    String(sequence),
    String(amountAt(sequence)),
    ...'abcdefg'.split('').map((letter) => letter.repeat(33)),
  ]
  const parts: Buffer[] = [Buffer.from([0x4e, 0, values.length])]
  for (const value of values) {
    const length = Buffer.alloc(5)
    length[0] = 0x74
    length.writeUInt32BE(value.length, 1)
    parts.push(length, Buffer.from(value))
  }
  return Buffer.concat(parts)
}

/** Makes the frames those of another epoch; their positions may then come again. */
export function stampEpoch(flushes: readonly Flush[], epoch: bigint): void {
  for (const { slab, frames } of flushes) {
    const bytes = Buffer.from(slab.memory)
    for (const { offset, length } of frames) {
      bytes.writeBigUInt64LE(epoch, offset + header.epoch)
      bytes.writeUInt32LE(crc32(bytes.subarray(offset + header.version, offset + length)), offset + header.crc)
    }
  }
}
