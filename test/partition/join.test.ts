// Where the work of a processor begins: by the checkpoint in its sink, where that stores one, else by the log's.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ActorSystem, ExitReason } from '../../src/actor/actor.js'
import { childOf } from '../../src/actor/child.js'
import { supervisor } from '../../src/actor/supervisor.js'
import { createSystem } from '../../src/actor/system.js'
import type { LaneVector } from '../../src/checkpoint/checkpoint.js'
import { blankHead } from '../../src/event/frame.js'
import { operationOf } from '../../src/event/layout.js'
import { encodeChange } from '../../src/event/msgpack.js'
import { readFrameHeader } from '../../src/event/open.js'
import { createFrameWriter } from '../../src/event/writer.js'
import type { DeliveredFrame, FrameMark, OwnerMessage } from '../../src/log/log.js'
import { consumer } from '../../src/partition/owner.js'
import { afterFrame } from '../../src/partition/progress.js'
import { realWorld } from '../../src/world/real.js'
import { logStub, type StubMessage, told } from './log-stub.js'
import { given, type ProcessorStubMessage, processorStub } from './processor-stub.js'

const warnings: string[] = []
const quiet = { debug() {}, info() {}, warn: (_: object, text: string) => void warnings.push(text), error() {} }
const place = (major: number) => ({ major: BigInt(major), minor: 0n, part: 0 as const })
const at = (major: number): LaneVector => ({ 'db/l': { epoch: 1n, position: place(major) } })

let system: ActorSystem
let ended: Promise<ExitReason>
beforeEach(async () => {
  told.length = 0
  given.length = 0
  warnings.length = 0
  system = createSystem({ world: realWorld, log: quiet })
  const args = { set: 'key', partition: 0, processors: [{ name: 'p', from: [] }], log: '/root/log' }
  await system.start(
    childOf(supervisor, {
      id: 'root',
      args: {
        strategy: 'rest-for-one',
        backoff: { initialMs: 1, maxMs: 5 },
        children: [
          childOf(logStub, { id: 'log', args: null }),
          childOf(consumer, { id: 'consumer', args }),
          childOf(processorStub, { id: 'p', args: { consumer: '/root/consumer' } }),
        ],
      },
    }),
  )
  ended = system.ended('/root')
  await until('the owner attaches', () => told.some((message) => message.type === 'attach'))
})
afterEach(() => system.stop(6_000))

async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = realWorld.monotonic() + 8_000
  while (!condition()) {
    if (realWorld.monotonic() > deadline) throw new Error(`it did not come true: ${what}`)
    await new Promise<void>((resolve) => realWorld.setTimer(2, resolve))
  }
}

/** A frame of the records `first` to `last`. */
function frame(
  sequence: number,
  first: number,
  last: number,
  previous: number | null,
  mark?: FrameMark,
): DeliveredFrame {
  const writer = createFrameWriter({
    source: 'db',
    kind: 'test',
    replayable: true,
    epoch: 1n,
    lane: 'l',
    codec: 'msgpack',
    ordered: mark === undefined,
  })
  writer.table({ index: 0, namespace: 'n', entity: 'things', schemaVersion: 1, meta: new Uint8Array(0) })
  const body = encodeChange({ key: { id: 1 }, after: { id: 1 } })
  for (let major = first; major <= last; major++)
    writer.record({ ...blankHead(), majorLow: major, operation: operationOf.insert }, body, 0, body.length)
  const memory = new SharedArrayBuffer(writer.size)
  const length = writer.finishInto(Buffer.from(memory), 0, previous === null ? null : place(previous))
  return { sequence, memory, offset: 0, length, ...(mark === undefined ? {} : { mark }) }
}

function send(message: OwnerMessage): void {
  system.ref<StubMessage>('/root/log').tell({ type: 'send', to: '/root/consumer', message })
}
function attached(lanes: LaneVector, frames: readonly DeliveredFrame[], finished = 0): void {
  const attach = told.filter((message) => message.type === 'attach').at(-1)!
  send({ type: 'attached', token: attach.token, session: 1, processors: { p: { lanes, finished } }, frames })
}
const processor = (message: ProcessorStubMessage) => system.ref<ProcessorStubMessage>('/root/p').tell(message)
const shape = () =>
  given.map(({ frame: { sequence }, skip, after }) => [
    sequence,
    skip ? 'skip' : after === null ? 'all' : Number(after.major),
  ])

describe('a processor that joins', () => {
  test('begins where its sink stands, ahead of the log', async () => {
    processor({ type: 'join-with', session: 1, lanes: at(25) })
    attached(at(10), [frame(1, 11, 15, 10), frame(2, 16, 20, 15)])
    send({ type: 'frames', frames: [frame(3, 21, 30, 20), frame(4, 31, 33, 30)] })
    await until('all are given', () => given.length === 4)
    expect(shape()).toEqual([
      [1, 'skip'],
      [2, 'skip'],
      [3, 25],
      [4, 'all'],
    ])
    expect(given.map(({ lanes }) => Number(lanes['db/l']!.position.major))).toEqual([25, 25, 30, 33])
  })

  test('is not held to a gap that its sink is beyond', async () => {
    attached(at(10), [frame(1, 21, 30, 20)])
    processor({ type: 'join-with', session: 1, lanes: at(25) })
    await until('it is given', () => given.length === 1)
    expect(shape()).toEqual([[1, 25]])
  })

  test('without a checkpoint in its sink begins where the log says, and that is told', async () => {
    attached(at(15), [frame(1, 11, 20, 10)])
    processor({ type: 'join-with', session: 1, lanes: null })
    await until('it is given', () => given.length === 1)
    expect(shape()).toEqual([[1, 15]])
    expect(warnings).toEqual([expect.stringContaining('the sink has no checkpoint')])
  })

  test('again gets what it had not finished, placed anew', async () => {
    processor({ type: 'join-with', session: 1, lanes: null })
    attached({}, [frame(1, 1, 5, null), frame(2, 6, 10, 5), frame(3, 11, 15, 10)])
    await until('all are given', () => given.length === 3)
    processor({ type: 'end', session: 1, sequence: 1 })
    // It died behind a commit that it never heard of.
    given.length = 0
    processor({ type: 'join-with', session: 2, lanes: at(10) })
    await until('the rest is given again', () => given.length === 2)
    expect(shape()).toEqual([
      [2, 'skip'],
      [3, 'all'],
    ])
    expect(warnings).toEqual([])
    // A processor whose sink stores nothing goes on from what was finished.
    given.length = 0
    processor({ type: 'end', session: 2, sequence: 2 })
    processor({ type: 'join-with', session: 3 })
    await until('the last is given again', () => given.length === 1)
    expect(shape()).toEqual([[3, 'all']])
  })

  test('with a sink behind the log gets again what comes again', async () => {
    processor({ type: 'join-with', session: 1, lanes: at(12) })
    attached(at(20), [frame(1, 11, 20, 10), frame(2, 21, 22, 20)])
    await until('all are given', () => given.length === 2)
    expect(shape()).toEqual([
      [1, 12],
      [2, 'all'],
    ])
  })

  test.each([
    ['stands behind in the lane', at(12)],
    ['knows nothing of the lane', { 'db/other': { epoch: 1n, position: place(1) } }],
    ['stands in an older epoch', { 'db/l': { epoch: 0n, position: place(99) } }],
  ])('with a sink that %s, whose frames are gone, stops for good', async (_, lanes) => {
    processor({ type: 'join-with', session: 1, lanes })
    attached(at(20), [])
    send({ type: 'frames', frames: [frame(1, 21, 22, 20)] })
    expect(await ended).toMatchObject({ kind: 'error', error: { code: 'sink-behind', permanent: true } })
    expect(given).toEqual([])
  })

  test('with a sink that lost data while it ran stops for good', async () => {
    processor({ type: 'join-with', session: 1, lanes: null })
    attached({}, [frame(1, 1, 5, null), frame(2, 6, 10, 5)])
    await until('both are given', () => given.length === 2)
    processor({ type: 'end', session: 1, sequence: 2 })
    processor({ type: 'join-with', session: 2, lanes: at(5) })
    send({ type: 'frames', frames: [frame(3, 11, 15, 10)] })
    expect(await ended).toMatchObject({ kind: 'error', error: { code: 'sink-behind' } })
  })

  test('takes frames of a lane without an order by their marks', async () => {
    const counted = (minor: number) => ({ major: 1n, minor: BigInt(minor), part: 0 as const })
    const mark = (minor: number) => afterFrame(readFrameHeader(head, 0), {}, counted(minor))
    const head = Buffer.from(frame(1, 1, 1, null, counted(1)).memory)
    processor({ type: 'join-with', session: 1, lanes: mark(7) })
    attached({}, [frame(1, 90, 91, null, counted(7)), frame(2, 1, 2, null, counted(8))])
    await until('both are given', () => given.length === 2)
    expect(shape()).toEqual([
      [1, 'skip'],
      [2, 'all'],
    ])
    expect(given[1]!.lanes).toEqual(mark(8))
  })
})
