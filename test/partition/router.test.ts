/** The router under a virtual clock: what it hands to the log, and what it waits for. */
import { describe, expect, test } from 'vitest'
import { blankHead } from '../../src/event/frame.js'
import type { Append, ReaderMessage } from '../../src/log/log.js'
import { createRouter } from '../../src/partition/router.js'
import type { LaneOutput } from '../../src/source/source.js'
import { simulatedWorld } from '../../src/world/simulated.js'

const everything = [{ namespaces: [], entities: [], operations: [] }]
const spec = {
  source: 'db',
  kind: 'test',
  replayable: true,
  epoch: 1n,
  lane: 'wal',
  codec: 'msgpack',
} as const

function stage(partitions: number, patient: boolean) {
  const world = simulatedWorld(1)
  const sent: Append[] = []
  let hurries = 0
  /** What the reader has recorded, as its state. */
  let at = 0
  const router = createRouter({
    world,
    source: 'db',
    sets: [{ name: 'key', partitions, filters: everything }],
    credits: { partition: 1 << 30, source: 1 << 30 },
    opened: {
      term: 1,
      checkpoint: { source: 'db', state: { at: 0 }, previous: {}, obligations: [], term: 1 },
      tail: null,
      appended: {},
      previous: {},
      outstanding: [],
      held: {},
    },
    patient,
    send: (append) => sent.push(append),
    hurry: () => hurries++,
  })
  const lane = router.lane(spec)
  lane.table({ index: 0, namespace: 'n', entity: 't', schemaVersion: 1, meta: new Uint8Array(0) })
  router.attach({ mark: () => ({ state: { at }, obligation: null }) })
  return {
    world,
    router,
    lane,
    sent,
    hurries: () => hurries,
    record: (size: number, keyHash = at) => record(lane, ++at, size, keyHash),
    tell: (message: Omit<Extract<ReaderMessage, { type: 'stored' | 'settled' }>, 'term'>) =>
      router.receive({ ...message, term: 1 }),
  }
}

function record(lane: LaneOutput, position: number, size: number, keyHash: number): void {
  lane.record({ ...blankHead(), majorLow: position, keyHash }, new Uint8Array(size), 0, size)
}

/** Whether it has resolved by now. */
async function isDone(promise: Promise<void>): Promise<boolean> {
  let done = false
  void promise.then(() => {
    done = true
  })
  for (let turn = 0; turn < 10; turn++) await Promise.resolve()
  return done
}

describe('waiting', () => {
  test('in a cluster, that the log has it is enough for who waits for the disk: no processor is asked', async () => {
    const { router, record, sent, tell, hurries } = stage(4, true)
    record(100)
    const stored = router.stored()
    expect(await isDone(stored)).toBe(false)
    tell({ type: 'stored', number: 1 })
    expect(await isDone(stored)).toBe(true)
    expect(hurries()).toBe(0)
    const settled = router.settled()
    expect(hurries()).toBe(1)
    expect(await isDone(settled)).toBe(false)
    tell({ type: 'settled', number: sent.length })
    expect(await isDone(settled)).toBe(true)
  })

  test('on one machine who waits for the disk waits for the checkpoint, which is hurried', async () => {
    const { router, record, hurries } = stage(4, false)
    record(100)
    const stored = router.stored()
    expect(hurries()).toBe(1)
    expect(await isDone(stored)).toBe(false)
    router.receive({ type: 'confirmed', term: 1, number: 1, state: { at: 1 }, receipts: [] })
    expect(await isDone(stored)).toBe(true)
  })
})

describe('the pace of a cluster', () => {
  /** Records a row every ms; gives the ms from each flush to the next, where the log stores each within `storing`. */
  async function steps(ms: number, storing: number, size = 100): Promise<number[]> {
    const { world, record, sent, tell } = stage(4, true)
    const left: number[] = []
    const begun = world.monotonic()
    const look = () => {
      if (sent.length === left.length) return
      left.push(world.monotonic() - begun)
      const number = sent.length
      world.setTimer(storing, () => tell({ type: 'stored', number }))
    }
    const each = () => {
      record(size)
      look()
      world.setTimer(0.5, look)
      world.setTimer(1, each)
    }
    world.setTimer(0, each)
    await world.run(() => world.monotonic() - begun >= ms)
    expect(left[0]).toBeLessThanOrEqual(3)
    return left.slice(1).map((one, index) => Math.round(one - left[index]!))
  }

  test('what comes after a silence does not wait, what follows on it leaves 20 ms later', async () => {
    expect(await steps(100, 1)).toEqual([20, 20, 20, 20])
  })

  test('a log that takes long has twice that time from one flush to the next, and 50 ms at most', async () => {
    for (const [storing, expected] of [
      [15, 30],
      [40, 50],
      [70, 70],
    ] as const) {
      // The second flush is timed before the first is stored.
      const [, ...known] = await steps(300, storing)
      expect(known.length).toBeGreaterThan(2)
      expect(known.every((step) => Math.abs(step - expected) <= 1)).toBe(true)
    }
  })

  test('much does not wait', async () => {
    expect((await steps(40, 3, 64 * 1024)).every((step) => step <= 4)).toBe(true)
  })
})

describe('a flush', () => {
  const mib = 1024 * 1024
  const bytesOf = ({ frames }: Append) => frames.reduce((sum, { length }) => sum + length, 0)

  test('goes out before its frames are more than a batch of the log holds, while the one before it is on its way', () => {
    const { record, sent } = stage(1_024, true)
    for (let key = 0; key < 4_096; key++) record(100, key)
    expect(sent.length).toBeGreaterThan(3)
    for (const { frames } of sent) expect(frames.length).toBeLessThanOrEqual(512)
  })

  test('goes out before its frames have more bytes than a batch of the log holds', () => {
    const { record, sent } = stage(400, true)
    for (let key = 0; key < 400; key++) record(100 * 1_024, key)
    expect(sent.length).toBeGreaterThan(1)
    for (const append of sent) expect(bytesOf(append)).toBeLessThan(16 * mib)
  })

  test('bears a large record with what was gathered before it, whose mark covers both', () => {
    const { record, sent } = stage(4, true)
    record(100, 1)
    record(20 * mib, 2)
    expect(sent).toMatchObject([{ frames: [{ partition: 1 }, { partition: 2 }], state: { at: 2 } }])
  })

  test('of a loss window that one batch does not hold keeps the old state until every partition has its copy', () => {
    const { router, lane, record, sent } = stage(1_024, true)
    record(100, 0)
    router.lossWindow(lane, {
      source: 'db',
      lane: 'wal',
      scope: { kind: 'slot', name: 's' },
      lastSeen: null,
      from: new Date(0).toISOString(),
      to: new Date(1).toISOString(),
      durationMs: 1,
      cause: 'test',
      bounded: false,
    })
    router.flush()
    expect(sent.map(({ frames, state }) => [frames.length, state.at])).toEqual([
      [512, 0],
      [512, 0],
      [1, 1],
    ])
    const partitions = new Set(sent.flatMap(({ frames }) => frames.map(({ partition }) => partition)))
    expect(partitions.size).toBe(1_024)
  })
})
