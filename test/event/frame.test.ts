import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { frameLimits, type LaneSpec, type RecordHead, type TableSpec } from '../../src/event/frame.js'
import { markerOperation, noTable, operations } from '../../src/event/layout.js'
import type { LossWindow } from '../../src/event/marker.js'
import { encodeLossWindow, heartbeatBody } from '../../src/event/marker-codec.js'
import { encodeChange } from '../../src/event/msgpack.js'
import { openFrame, readFrameHeader } from '../../src/event/open.js'
import { comparePositions, type Position } from '../../src/event/position.js'
import { encodeRelation } from '../../src/event/relation.js'
import { createFrameWriter } from '../../src/event/writer.js'
import { changes, framed, headOf, lane, places, relationOf, tuple } from './sample-bytes.js'

const u32 = fc.nat({ max: 0xffff_ffff })

const anyHead: fc.Arbitrary<RecordHead> = fc.record({
  keyHash: u32,
  majorHigh: u32,
  majorLow: u32,
  minorHigh: u32,
  minorLow: u32,
  part: fc.constantFrom<0 | 1>(0, 1),
  operation: fc.nat({ max: operations.length - 1 }),
  table: fc.nat({ max: 2 }),
  timeMicros: fc.oneof(fc.constant(Number.NaN), fc.integer({ min: 0, max: 4_000_000_000_000_000 })),
  transaction: u32,
  incomplete: fc.boolean(),
  late: fc.boolean(),
})

const anyPosition: fc.Arbitrary<Position> = fc.record({
  major: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  minor: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  part: fc.constantFrom<0 | 1>(0, 1),
})

const anyLane: fc.Arbitrary<LaneSpec> = fc.record({
  source: fc.string(),
  kind: fc.string(),
  replayable: fc.boolean(),
  epoch: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  lane: fc.string({ unit: 'grapheme' }),
  codec: fc.constant('msgpack' as const),
  ordered: fc.boolean(),
})

function positionOf(head: RecordHead): Position {
  return {
    major: (BigInt(head.majorHigh) << 32n) | BigInt(head.majorLow),
    minor: (BigInt(head.minorHigh) << 32n) | BigInt(head.minorLow),
    part: head.part,
  }
}

const plainTables: readonly TableSpec[] = [0, 1, 2].map((index) => ({
  index,
  namespace: `schema ${index}`,
  entity: `table ${index}`,
  schemaVersion: index * 1000,
  meta: new Uint8Array(0),
}))

describe('a frame', () => {
  it('gives back the lane, the heads, the bodies and the tables that were written, wherever it lies', () => {
    fc.assert(
      fc.property(
        anyLane,
        fc.array(fc.tuple(anyHead, fc.string()), { minLength: 1, maxLength: 12 }),
        fc.option(anyPosition),
        fc.nat({ max: 9 }),
        fc.boolean(),
        (spec, records, previous, offset, shared) => {
          const writer = createFrameWriter(spec)
          for (const table of plainTables) writer.table(table)
          for (const [head, text] of records) {
            const body = encodeChange({ after: { text } })
            // Inside a larger chunk, as a socket gives it.
            writer.record(head, Buffer.concat([Buffer.from('abc'), body, Buffer.from('d')]), 3, 3 + body.length)
          }
          const size = writer.size
          const target = shared ? Buffer.from(new SharedArrayBuffer(offset + size)) : Buffer.alloc(offset + size)
          expect(writer.finishInto(target, offset, previous)).toBe(offset + size)
          const last = positionOf(records.at(-1)![0])
          expect(writer.last()).toEqual(last)

          const frame = openFrame(target, offset, size)
          expect(frame.header).toEqual(readFrameHeader(target, offset))
          const first = positionOf(records[0]![0])
          expect(frame.header).toEqual({ lane: spec, first, last, previous, count: records.length, length: size })
          const at = places(frame)
          expect(at.length).toBe(records.length)
          records.forEach(([head, text], index) => {
            const place = at[index]!
            const position = positionOf(head)
            const event = changes(frame)[index]!
            expect(frame.keyHash(place)).toBe(head.keyHash)
            expect(frame.position(place)).toEqual(position)
            expect(Math.sign(frame.compare(place, last))).toBe(Math.sign(comparePositions(position, last)))
            expect(frame.operation(place)).toBe(head.operation)
            expect(frame.isMarker(place)).toBe(false)
            expect(frame.namespace(place)).toBe(`schema ${head.table}`)
            expect(frame.entity(place)).toBe(`table ${head.table}`)
            expect(event.schemaVersion).toBe(head.table * 1000)
            expect(event.operation).toBe(operations[head.operation])
            expect(event.incomplete).toBe(head.incomplete)
            expect(event.late).toBe(head.late)
            expect(event.occurredAt === null).toBe(Number.isNaN(head.timeMicros))
            expect(event.after?.get('text')).toBe(text)
          })
        },
      ),
      { numRuns: 150 },
    )
  })

  it('compares positions as comparePositions does', () => {
    const near = fc.record({
      major: fc.constantFrom(0n, 1n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 64n - 1n),
      minor: fc.constantFrom(0n, 1n, 2n ** 32n, 2n ** 63n),
      part: fc.constantFrom<0 | 1>(0, 1),
    })
    fc.assert(
      fc.property(near, near, (a, b) => {
        const head = {
          majorHigh: Number(a.major >> 32n),
          majorLow: Number(a.major & 0xffffffffn),
          minorHigh: Number(a.minor >> 32n),
          minorLow: Number(a.minor & 0xffffffffn),
          part: a.part,
        }
        const { frame } = framed({ ...lane, codec: 'msgpack' }, plainTables, [{ head, body: encodeChange({}) }])
        expect(Math.sign(frame.compare(frame.begin, b))).toBe(Math.sign(comparePositions(a, b)))
      }),
    )
  })

  it('reads each row with the columns it was written under when a table changes in the middle', () => {
    const before = relationOf([
      ['id', 23],
      ['name', 25],
    ])
    const after = relationOf([
      ['id', 20],
      ['name', 25],
      ['city', 25],
    ])
    const tableOf = (relation: typeof before, schemaVersion: number): TableSpec => ({
      index: 5,
      namespace: 'public',
      entity: 'customers',
      schemaVersion,
      meta: encodeRelation(relation),
    })
    const old = tuple('N', ['1', 'Ann'])
    const young = tuple('N', ['2', 'Bob', 'Bern'])
    const writer = createFrameWriter(lane)
    writer.table(tableOf(before, 1))
    writer.record(headOf({ table: 5 }), old, 0, old.length)
    writer.table(tableOf(before, 1))
    writer.record(headOf({ table: 5 }), old, 0, old.length)
    writer.table(tableOf(after, 2))
    writer.record(headOf({ table: 5 }), young, 0, young.length)
    writer.table(tableOf(before, 3))
    writer.record(headOf({ table: 5 }), old, 0, old.length)
    const bytes = Buffer.alloc(writer.size)
    writer.finishInto(bytes, 0, null)
    const events = changes(openFrame(bytes, 0, bytes.length))
    expect(events.map((event) => event.after?.toObject())).toEqual([
      { id: 1, name: 'Ann' },
      { id: 1, name: 'Ann' },
      { id: 2n, name: 'Bob', city: 'Bern' },
      { id: 1, name: 'Ann' },
    ])
    expect(events.map((event) => event.schemaVersion)).toEqual([1, 1, 2, 3])
  })

  it('carries only the tables that its records use, again after a reset', () => {
    const writer = createFrameWriter({ ...lane, codec: 'msgpack' })
    const body = encodeChange({})
    for (const table of plainTables) writer.table(table)
    writer.record(headOf({ table: 1 }), body, 0, body.length)
    const alone = writer.size
    writer.record(headOf({ table: 2 }), body, 0, body.length)
    expect(writer.size).toBeGreaterThan(alone + 40 + body.length)
    writer.reset()
    expect(writer.events).toBe(0)
    expect(writer.last()).toBeNull()
    writer.record(headOf({ table: 1 }), body, 0, body.length)
    expect(writer.size).toBe(alone)
    const bytes = Buffer.alloc(alone)
    writer.finishInto(bytes, 0, null)
    expect(changes(openFrame(bytes, 0, alone))[0]?.entity).toBe('table 1')
  })

  it('takes an event far beyond its usual bound, and gives the memory back', () => {
    const writer = createFrameWriter({ ...lane, codec: 'msgpack' })
    writer.table(plainTables[0]!)
    const body = encodeChange({ after: { text: 'x'.repeat(8 * frameLimits.bytes) } })
    writer.record(headOf(), body, 0, body.length)
    const bytes = Buffer.alloc(writer.size)
    writer.finishInto(bytes, 0, null)
    expect(changes(openFrame(bytes, 0, bytes.length))[0]?.after?.text('text')?.length).toBe(8 * frameLimits.bytes)
    writer.reset()
    writer.record(headOf(), body, 0, 0)
    expect(writer.events).toBe(1)
  })

  it('carries markers between changes, which need no table', () => {
    const window: LossWindow = {
      source: 'shop',
      lane: 'slot',
      lastSeen: '1-1',
      from: '2026-11-22T06:16:57.000Z',
      to: '2026-11-22T06:16:58.000Z',
      durationMs: 1000.5,
      cause: 'slot-ahead',
      bounded: true,
    }
    const writer = createFrameWriter(lane)
    const body = encodeLossWindow(window)
    writer.record({ ...headOf({ table: noTable }), operation: markerOperation.lossWindow }, body, 0, body.length)
    writer.record(
      { ...headOf({ table: noTable, minorLow: 2 }), operation: markerOperation.heartbeat },
      heartbeatBody,
      0,
      0,
    )
    const bytes = Buffer.alloc(writer.size)
    writer.finishInto(bytes, 0, null)
    const frame = openFrame(bytes, 0, bytes.length)
    const [first, second] = places(frame)
    expect(frame.isMarker(first!)).toBe(true)
    expect(frame.entity(first!)).toBe('')
    expect(frame.item(first!)).toMatchObject({
      type: 'marker',
      id: 'shop/3/slot/1-1',
      marker: { kind: 'loss-window', window },
    })
    expect(frame.item(second!)).toMatchObject({ type: 'marker', marker: { kind: 'heartbeat' } })
  })
})

describe('a frame writer', () => {
  it('refuses a table that was never registered, an index out of bounds, an empty frame and too little room', () => {
    const writer = createFrameWriter(lane)
    expect(() => writer.record(headOf({ table: 9 }), new Uint8Array(1), 0, 1)).toThrow('table 9 was never registered')
    expect(() => writer.table({ ...plainTables[0]!, index: noTable })).toThrow('not in 0 to 65534')
    expect(() => writer.finishInto(Buffer.alloc(500), 0, null)).toThrow('without records')
    writer.table(plainTables[0]!)
    writer.record(headOf(), new Uint8Array(1), 0, 1)
    expect(() => writer.finishInto(Buffer.alloc(writer.size), 1, null)).toThrow('does not fit')
    expect(writer.events).toBe(1)
  })

  it('copies the body at once: the reader may use its chunk again', () => {
    const writer = createFrameWriter({ ...lane, codec: 'msgpack' })
    writer.table(plainTables[0]!)
    for (const text of ['short', 'long'.repeat(50)]) {
      const body = encodeChange({ after: { text } })
      writer.record(headOf(), body, 0, body.length)
      body.fill(0)
    }
    const bytes = Buffer.alloc(writer.size)
    writer.finishInto(bytes, 0, null)
    const events = changes(openFrame(bytes, 0, bytes.length))
    expect(events.map((event) => event.after?.get('text'))).toEqual(['short', 'long'.repeat(50)])
  })
})
