// An owner and its processor against every incarnation of each other.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { ActorSystem } from '../../src/actor/actor.js'
import { childOf } from '../../src/actor/child.js'
import { supervisor } from '../../src/actor/supervisor.js'
import { createSystem } from '../../src/actor/system.js'
import type { OwnerMessage } from '../../src/log/log.js'
import { consumer } from '../../src/partition/owner.js'
import type { ProcessorHandler } from '../../src/processor/processor.js'
import { processor } from '../../src/processor/processor-actor.js'
import { realWorld } from '../../src/world/real.js'
import { assigned } from '../processor/frames.js'
import { logStub, type StubMessage, told } from './log-stub.js'

const quiet = { debug() {}, info() {}, warn() {}, error() {} }
const filter = { namespaces: [], entities: [], operations: [] }

let system: ActorSystem
let directory: string
beforeEach(() => {
  told.length = 0
  directory = mkdtempSync(join(tmpdir(), 'troupe-owner-'))
  system = createSystem({ world: realWorld, log: quiet })
})
afterEach(async () => {
  await system.stop(6_000)
  rmSync(directory, { recursive: true, force: true })
})

async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = realWorld.monotonic() + 8_000
  while (!condition()) {
    if (realWorld.monotonic() > deadline) throw new Error(`it did not come true: ${what}`)
    await new Promise<void>((resolve) => realWorld.setTimer(2, resolve))
  }
}

async function start(handler: ProcessorHandler, from: readonly string[] = []): Promise<void> {
  await system.start(
    childOf(supervisor, {
      id: 'root',
      args: {
        strategy: 'rest-for-one',
        backoff: { initialMs: 1, maxMs: 5 },
        children: [
          childOf(logStub, { id: 'log', args: null }),
          childOf(consumer, {
            id: 'consumer',
            args: { set: 'key', partition: 0, processors: [{ name: 'p', from }], log: '/root/log' },
          }),
          childOf(supervisor, {
            id: 'processors',
            args: {
              strategy: 'one-for-one',
              backoff: { initialMs: 1, maxMs: 5 },
              children: [
                childOf(processor, {
                  id: 'p',
                  args: {
                    pipeline: 'x',
                    processor: 'p',
                    set: 'key',
                    partition: 0,
                    partitions: 4,
                    order: 'key',
                    concurrency: 4,
                    filter,
                    handler: { value: handler },
                    sink: null,
                    retry: { initial: 1, max: 2, maxElapsed: 10, jitter: 0 },
                    onFailure: 'dead-letter',
                    dataDirectory: directory,
                    consumer: '/root/consumer',
                  },
                }),
              ],
            },
          }),
        ],
      },
    }),
  )
  await until('the owner attaches', () => told.some((message) => message.type === 'attach'))
}

function send(message: OwnerMessage): void {
  system.ref<StubMessage>('/root/log').tell({ type: 'send', to: '/root/consumer', message })
}

function answerAttach(finished = 0): void {
  const attach = told.filter((message) => message.type === 'attach').at(-1)!
  send({ type: 'attached', token: attach.token, session: 1, processors: { p: { lanes: {}, finished } }, frames: [] })
}

const frameOf = (sequence: number, value: number) => assigned(sequence, sequence * 10, [{ key: 'a', value }]).frame
const finished = () => told.filter((message) => message.type === 'finished').map((message) => message.sequence)

test('frames that come while a processor is being restarted are processed once, in order, and finished truthfully', async () => {
  const trace: string[] = []
  const gates: (() => void)[] = []
  let life = 0
  await start({
    kind: 'processor',
    async open() {
      life++
      if (life === 2) await new Promise<void>((resolve) => gates.push(resolve))
      return life
    },
    handle(event, me) {
      const value = Number(event.after!.get('value'))
      trace.push(`life ${me}: ${value}`)
      if (me === 1) throw new Error('never')
      return undefined
    },
  })
  answerAttach()
  send({ type: 'frames', frames: [frameOf(1, 1)] })
  await until('the first life has begun', () => trace.length > 0)
  const restarted = system.ref('/root/processors').ask({ type: 'restart-child', id: 'p' }, 10_000)
  await until('the second life opens', () => gates.length === 1)
  const before = trace.length
  send({ type: 'frames', frames: [frameOf(2, 2)] })
  gates[0]!()
  await restarted
  await until('both frames are finished', () => finished().at(-1) === 2)
  expect(trace.slice(before)).toEqual(['life 2: 1', 'life 2: 2'])
})

test('an answer to a dead owner is not taken for its successor', async () => {
  const seen: number[] = []
  await start({
    kind: 'processor',
    handle(event) {
      seen.push(Number(event.after!.get('value')))
    },
  })
  send({
    type: 'attached',
    token: -1,
    session: 1,
    processors: { p: { lanes: {}, finished: 0 } },
    frames: [frameOf(1, 99)],
  })
  answerAttach()
  send({ type: 'frames', frames: [frameOf(1, 1)] })
  await until('its own frame is finished', () => finished().includes(1))
  expect(seen).toEqual([1])
})

test('an owner that misses a frame attaches again instead of going on behind it', async () => {
  await start({ kind: 'processor', handle() {} })
  answerAttach()
  send({ type: 'frames', frames: [frameOf(1, 1)] })
  await until('the first is finished', () => finished().includes(1))
  const attached = told.filter((message) => message.type === 'attach').length
  send({ type: 'frames', frames: [frameOf(3, 3)] })
  await until('it attaches again', () => told.filter((message) => message.type === 'attach').length > attached)
  expect(finished()).not.toContain(3)
})

test('frames of a source that the processor does not name pass it by', async () => {
  const seen: number[] = []
  await start(
    {
      kind: 'processor',
      handle(event) {
        seen.push(Number(event.after!.get('value')))
      },
    },
    ['other'],
  )
  answerAttach()
  send({ type: 'frames', frames: [frameOf(1, 1)] })
  await until('it is finished all the same', () => finished().includes(1))
  expect(seen).toEqual([])
})

test('a handler that still runs ends before its successor begins', async () => {
  const trace: string[] = []
  const ends: (() => void)[] = []
  let life = 0
  await start({
    kind: 'processor',
    open: () => ++life,
    handle(event, me) {
      const value = Number(event.after!.get('value'))
      trace.push(`begins ${value} in life ${me}`)
      if (me === 2) return undefined
      return new Promise<undefined>((resolve) =>
        ends.push(() => {
          trace.push(`ends ${value} in life ${me}`)
          resolve(undefined)
        }),
      )
    },
  })
  answerAttach()
  send({ type: 'frames', frames: [frameOf(1, 1)] })
  await until('it runs', () => ends.length === 1)
  const restarted = system.ref('/root/processors').ask({ type: 'restart-child', id: 'p' }, 10_000)
  await until('the stop has been asked', () => {
    ends[0]!()
    return true
  })
  await restarted
  await until('the second life is through', () => trace.includes('begins 1 in life 2') || finished().includes(1))
  const second = trace.indexOf('begins 1 in life 2')
  expect(trace.indexOf('ends 1 in life 1')).toBeLessThan(second === -1 ? trace.length : second)
})
