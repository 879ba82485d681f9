/** What a source must be told one by one, in the log of a cluster: bounded, found again whole, and not looked for where there is none. */
import { expect, test, vi } from 'vitest'
import type { ReaderState } from '../../src/checkpoint/checkpoint.js'
import { createHoldback } from '../../src/log/jetstream/holdback.js'
import { createNatsStream } from '../../src/log/jetstream/nats-stream.js'
import { mostOwed } from '../../src/log/jetstream/obligations.js'
import type { StreamPort } from '../../src/log/jetstream/port.js'
import { provisionStream } from '../../src/log/jetstream/provision.js'
import { createLogWriter } from '../../src/log/jetstream/writer.js'
import { realWorld } from '../../src/world/real.js'
import { simulatedWorld } from '../../src/world/simulated.js'
import { linkTo, server, silent } from './nats-harness.js'
import { names, settle, upTo, write } from './shop-log.js'

async function stage(): Promise<StreamPort> {
  const nats = await server()
  const link = await linkTo(nats.url)
  await provisionStream(link, names, { maxBytes: 256 * 1024 * 1024, provision: true, log: silent })
  return createNatsStream(link, names, { log: silent })
}

test('a reader stores nothing more while its source has too much to be told after the holdback; a taker finds all of it', async () => {
  const stream = await stage()
  const first = await write(stream, { holdback: 600_000 })
  const stored = () =>
    first.told.filter(({ type }) => type === 'stored').flatMap((one) => ('number' in one ? [one.number] : []))
  const size = 1024 * 1024
  const most = mostOwed / size
  for (const number of upTo(most + 4)) first.oblige(new Uint8Array(size).fill(number))
  await settle(() => expect(first.writer.figures()).toMatchObject({ waitsForHoldback: true, owedBytes: mostOwed }))
  expect(stored().at(-1)).toBe(most)
  first.writer.discharge(upTo(4))
  await settle(() => expect(stored().at(-1)).toBe(most + 4))
  first.oblige(new Uint8Array(1))
  await settle(() => expect(first.writer.figures().waitsForHoldback).toBe(true))
  await first.writer.close(600_000)
  const taker = await write(stream)
  const { outstanding } = taker.opened
  expect(outstanding.map(({ receipt, bytes }) => [receipt, bytes.length, bytes[0], bytes.at(-1)])).toEqual(
    upTo(most + 4).map((number) => [number, size, number, number]),
  )
})

test('a reader whose source is told only a position looks for nothing that it would have to be told', async () => {
  const stream = await stage()
  const read = vi.spyOn(stream, 'read')
  const { append, told } = await write(stream, { obliges: false })
  append(1)
  await settle(() => expect(told.some(({ type }) => type === 'confirmed')).toBe(true))
  expect(read).not.toHaveBeenCalled()
  expect(await stream.subjects(names.obligations('db'), 5_000)).toEqual([])
})

test('what waits for the holdback is told in bounded steps: nothing early, nothing left out, the newest state last', async () => {
  const world = simulatedWorld(1)
  const holdbackMs = 240_000
  const told: number[] = []
  let state: ReaderState = {}
  let early = 0
  const storedAt = new Map<number, number>()
  const holdback = createHoldback({
    world,
    holdback: holdbackMs,
    stillStands: async () => true,
    confirm(confirmed, receipts) {
      state = confirmed
      for (const { receipt } of receipts) {
        told.push(receipt)
        if (world.monotonic() - storedAt.get(receipt)! < holdbackMs) early++
      }
    },
    failed: (error) => {
      throw error
    },
  })
  const many = 20_000
  let number = 0
  let most = 0
  function next(): void {
    storedAt.set(++number, world.monotonic())
    holdback.hold({ at: number }, [{ receipt: number, bytes: new Uint8Array(1) }])
    most = Math.max(most, holdback.figures().heldBack)
    if (number < many) world.setTimer((2 * holdbackMs) / many, next)
  }
  next()
  await world.run(() => told.length === many)
  expect(told).toEqual(upTo(many))
  expect(early).toBe(0)
  expect(state).toEqual({ at: many })
  expect(most).toBeLessThan(1_020)
  expect(holdback.figures()).toEqual({ heldBack: 0, heldBackMs: 0 })
})

test('a reader that is ended while it looks for what its source must be told does not wait for it', async () => {
  const stream = await stage()
  let reading = false
  const deaf: StreamPort = {
    ...stream,
    read() {
      reading = true
      return { credit() {}, stop() {} }
    },
  }
  const writer = createLogWriter({
    world: realWorld,
    log: silent,
    stream: deaf,
    names,
    source: 'db',
    sets: [],
    owner: 'w',
    holdback: 0,
    maxMessage: 64 * 1024,
    obliges: true,
    tell: () => {},
    hurry: () => {},
    failed: () => {},
  })
  const opened = writer.open().then(
    () => null,
    (error) => error,
  )
  await settle(() => expect(reading).toBe(true))
  await writer.close(0)
  expect(await opened).toMatchObject({ code: 'log-closed' })
})
