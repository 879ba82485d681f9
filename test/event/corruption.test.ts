import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ChangeEvent } from '../../src/event/event.js'
import type { Frame, LaneSpec, TableSpec } from '../../src/event/frame.js'
import { encodeChange } from '../../src/event/msgpack.js'
import { type FrameCheck, openFrame, readFrameHeader } from '../../src/event/open.js'
import { encodeRelation } from '../../src/event/relation.js'
import { encodeEntryTable } from '../../src/event/resp-entry.js'
import { TroupeError } from '../../src/world/error.js'
import { entry, framed, lane, places, relationOf, type Sample, tuple } from './sample-bytes.js'

const relation = relationOf(
  [
    ['id', 20],
    ['name', 25],
    ['at', 1184],
    ['tags', 1009],
  ],
  [0],
  { replicaIdentity: 'f' },
)
const row = ['12', 'Ann', '2026-11-22 06:16:57.123456+00', '{a,"b c",NULL}'] as const
const orders: TableSpec = {
  index: 0,
  namespace: 'public',
  entity: 'orders',
  schemaVersion: 1,
  meta: encodeRelation(relation),
}

interface Kind {
  readonly spec: LaneSpec
  readonly table: TableSpec
  readonly samples: readonly Sample[]
}

const kinds: readonly Kind[] = [
  {
    spec: lane,
    table: orders,
    samples: [
      { body: tuple('N', row) },
      {
        head: { operation: 'update' },
        body: Buffer.concat([tuple('O', row), tuple('N', ['12', undefined, null, '{}'])]),
      },
      { head: { operation: 'delete' }, body: tuple('K', ['12', null, null, null]) },
    ],
  },
  {
    spec: { ...lane, codec: 'resp-entry' },
    table: { ...orders, meta: encodeEntryTable({ keyField: 'user' }) },
    samples: [
      {
        head: { operation: 'append' },
        body: entry([
          ['user', 'ann'],
          ['page', '/x'],
          ['raw', Buffer.from([255, 0])],
        ]),
      },
    ],
  },
  {
    spec: { ...lane, codec: 'msgpack' },
    table: { ...orders, meta: new Uint8Array(0) },
    samples: [{ head: { operation: 'publish' }, body: encodeChange({ key: { a: 1n }, after: { a: 1n, b: 'x' } }) }],
  },
]

const codes = ['frame-corrupt', 'frame-version', 'record-corrupt']

/** Opens and reads everything; gives what was read, or the named error. Any other throw is the test's failure. */
function readAll(bytes: Uint8Array, check: FrameCheck = 'crc'): string | TroupeError {
  try {
    readFrameHeader(bytes, 0)
    return readFrame(openFrame(bytes, 0, bytes.length, check))
  } catch (error) {
    if (error instanceof TroupeError && codes.includes(error.code) && error.remedy !== undefined) return error
    throw error
  }
}

function readFrame(frame: Frame): string {
  return JSON.stringify(
    places(frame).map((at) => {
      const item = frame.item(at) as ChangeEvent
      return [item, item.type === 'change' ? [item.keyText, item.detach().unchanged] : []]
    }),
  )
}

describe.each(kinds)('a frame of $spec.codec', ({ spec, table, samples }) => {
  const { bytes } = framed(spec, [table], samples)
  const whole = readAll(bytes)

  it('is read whole', () => {
    expect(whole).toBeTypeOf('string')
  })

  it('cut at any byte gives a named error', () => {
    for (let length = 0; length < bytes.length; length++) {
      const result = readAll(bytes.subarray(0, length))
      expect(result).toBeInstanceOf(TroupeError)
      expect(() => openFrame(bytes, 0, length)).toThrow(TroupeError)
    }
  })

  it('with any one bit turned gives a named error, never another event', () => {
    for (let position = 0; position < bytes.length * 8; position++) {
      const changed = Buffer.from(bytes)
      changed[position >> 3]! ^= 1 << (position & 7)
      if (!(readAll(changed) instanceof TroupeError)) expect.fail(`bit ${position} was not noticed`)
    }
  })

  it('with bytes overwritten, taken out or put in gives a named error', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: bytes.length - 1 }),
        fc.nat({ max: 20 }),
        fc.uint8Array({ maxLength: 40 }),
        (at, removed, inserted) => {
          const changed = Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at + removed)])
          if (changed.equals(bytes)) return
          const result = readAll(changed)
          if (!changed.subarray(0, bytes.length).equals(bytes)) expect(result).toBeInstanceOf(TroupeError)
          else expect(result).toBe(whole)
        },
      ),
      { numRuns: 300 },
    )
  })

  it('whose CRC nobody checked still ends: in what can be read or in a named error', () => {
    for (let position = 0; position < bytes.length * 8; position++) {
      const changed = Buffer.from(bytes)
      changed[position >> 3]! ^= 1 << (position & 7)
      readAll(changed, 'structure')
    }
  })
})

describe('bytes that are no frame', () => {
  it('of any kind give a named error', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        (bytes) => void expect(readAll(bytes)).toBeInstanceOf(TroupeError),
      ),
    )
  })

  it('written by a newer layout say so', () => {
    const { bytes } = framed(lane, [orders], [{ body: tuple('N', row) }])
    bytes.writeUInt16LE(2, 8)
    expect(readAll(bytes)).toMatchObject({ code: 'frame-version', permanent: true })
  })

  it('outside of the buffer are refused', () => {
    expect(() => openFrame(new Uint8Array(100), 50, 51)).toThrow('is not inside')
    expect(() => openFrame(new Uint8Array(100), -1, 51)).toThrow('is not inside')
  })
})

describe('a whole frame with a body that is not what its codec says', () => {
  it('gives record-corrupt for any bytes, or a value, but nothing unnamed', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...kinds),
        fc.constantFrom(
          'insert' as const,
          'update' as const,
          'delete' as const,
          'message' as const,
          'truncate' as const,
        ),
        fc.oneof(fc.uint8Array({ maxLength: 60 }), anyMangled()),
        ({ spec, table }, operation, body) => {
          readAll(framed(spec, [table], [{ head: { operation }, body }]).bytes)
        },
      ),
      { numRuns: 500 },
    )
  })

  it('does not read beyond its record into the next one', () => {
    const cut = tuple('N', row).subarray(0, -4)
    const { frame } = framed(lane, [orders], [{ body: cut }, { body: tuple('N', row) }])
    const event = frame.item(frame.begin) as ChangeEvent
    expect(event.after?.get('id')).toBe(12n)
    expect(() => event.after?.get('tags')).toThrow('no column begins')
    expect(() => event.detach().after?.toObject()).toThrow('no column begins')
  })

  it('with another number of columns than its relation is refused', () => {
    const { frame } = framed(lane, [orders], [{ body: tuple('N', ['1', '2']) }])
    expect(() => (frame.item(frame.begin) as ChangeEvent).after).toThrow('a row of 2 columns in a relation of 4')
  })
})

/** Bodies that are nearly right. */
function anyMangled(): fc.Arbitrary<Uint8Array> {
  const bodies = kinds.flatMap((kind) => kind.samples.map((sample) => sample.body))
  return fc
    .tuple(
      fc.constantFrom(...bodies),
      fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 3 }),
    )
    .map(([body, changes]) => {
      const mangled = new Uint8Array(body)
      for (const [at, byte] of changes) mangled[at % mangled.length] = byte
      return mangled
    })
}
