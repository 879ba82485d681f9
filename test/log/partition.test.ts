/** The owner of a partition under a virtual clock: what it must not forget, and what it must not remove. */
import { expect, test } from 'vitest'
import type { StreamPort } from '../../src/log/jetstream/port.js'
import { encodeProcessor, firstProcessor } from '../../src/log/jetstream/stored.js'
import { names, own, upTo, write } from './shop-log.js'
import { simulatedStream } from './simulated-stream.js'

const frames = names.frames('key', 0)

/** What `troupe seek` does, while nobody hears its word. */
async function seek(stream: StreamPort, processor: string, sequence: number): Promise<void> {
  const subject = names.processor(processor, 'key', 0)
  const found = (await stream.last(subject, 5_000))!
  const payload = encodeProcessor({ ...firstProcessor, term: 9, owner: 'seek:test', sequence, at: 1 })
  await stream.commit([{ subject, payload, expect: found.sequence, rollup: true }], 5_000)
}

test('a processor that left pins the log until it is retired, and a look that failed is not the last one', async () => {
  const { world, stream, through, until } = simulatedStream()
  const gone = names.processor('gone', 'key', 0)
  await through(stream.commit([{ subject: gone, payload: encodeProcessor(firstProcessor), rollup: true }], 5_000))
  let listings = 0
  const often: StreamPort = {
    ...stream,
    subjects(filter, deadlineMs) {
      listings++
      return listings === 2 ? Promise.reject(new Error('nobody answers')) : stream.subjects(filter, deadlineMs)
    },
  }
  const owning = await through(own(often, { world }))
  const { append } = await through(write(stream, { world }))
  for (const position of upTo(5)) append(position)
  expect(await until(() => listings === 2 && owning.got.b!.length === 5)).toBe(true)
  expect(owning.log.figures()).toMatchObject({ departed: ['gone'], trimmedTo: 0 })
  await through(stream.purge(gone, Number.MAX_SAFE_INTEGER, 5_000).catch(() => {}))
  expect(await until(() => owning.log.figures().trimmedTo > 0)).toBe(true)
  expect(owning.log.figures().departed).toEqual([])
})

test('an owner that is fenced while it looks whether it still owns its partition does not say that it does', async () => {
  const { world, stream, through, until } = simulatedStream()
  let deaf = false
  const halfDeaf: StreamPort = {
    ...stream,
    last: (subject, deadlineMs) =>
      deaf ? Promise.reject(new Error('nobody answers')) : stream.last(subject, deadlineMs),
  }
  const owning = await through(own(halfDeaf, { world, checkpointInterval: 60_000 }))
  const { append } = await through(write(stream, { world }))
  append(1)
  expect(await until(() => owning.got.b!.length === 1)).toBe(true)
  deaf = true
  const permit = owning.log.stillOwns().then(
    () => 'still owns',
    (error) => error,
  )
  await through(own(stream, { world }))
  const told = owning.log.checkpoint()
  deaf = false
  await through(told)
  expect(owning.failures).toMatchObject([{ code: 'fenced' }])
  expect(await through(permit)).toMatchObject({ code: 'log-closed' })
})

test('nothing is removed behind a checkpoint that was moved back meanwhile, not even where nothing is held back', async () => {
  const { world, stream, through, until } = simulatedStream()
  const { append } = await through(write(stream, { world }))
  for (const position of upTo(5)) append(position)
  const owning = await through(own(stream, { world }))
  const stored = () => Object.values(owning.log.figures().processors).every(({ checkpoint }) => checkpoint > 0)
  expect(await until(stored)).toBe(true)
  expect(owning.log.figures().trimmedTo).toBe(0)
  await through(seek(stream, 'a', 0))
  expect(await until(() => owning.failures.length > 0)).toBe(true)
  expect(owning.failures).toMatchObject([{ code: 'sought' }])
  expect((await through(stream.first(frames, 5_000)))?.sequence).toBeLessThan(
    owning.log.figures().processors.b!.finished,
  )
  const next = await through(own(stream, { world }))
  expect(await until(() => next.got.a!.length === 5)).toBe(true)
  expect(next.got).toEqual({ a: upTo(5), b: [] })
})

test('an owner that ends for a seek removes nothing more while the others finish what they have in hand', async () => {
  const { world, stream, through, until } = simulatedStream()
  const { append } = await through(write(stream, { world }))
  for (const position of upTo(5)) append(position)
  const { counting, purges } = countPurges(stream)
  const owning = await through(own(counting, { world, retain: 1_000 }, ['a']))
  expect(await until(() => owning.log.figures().processors.a!.checkpoint > 0)).toBe(true)
  await through(seek(stream, 'a', 0))
  const looked = owning.log.lookForSeek()
  owning.log.finished('b', 4)
  await through(owning.log.checkpoint())
  await through(looked)
  expect(owning.failures).toMatchObject([{ code: 'sought' }])
  expect(purges()).toBe(0)
  const next = await through(own(stream, { world }))
  expect(await until(() => next.got.a!.length === 5)).toBe(true)
  expect(next.got).toEqual({ a: upTo(5), b: [5] })
})

test('a frame that one reading has left out is read again, and what another source had behind it is no other history', async () => {
  const { world, stream, through, until } = simulatedStream()
  const db = await through(write(stream, { world }))
  const other = await through(write(stream, { world, source: 'other' }))
  const stored = (count: number) => () =>
    [...db.told, ...other.told].filter(({ type }) => type === 'stored').length === count
  let count = 0
  for (const [writing, position] of [
    [db, 1],
    [other, 11],
    [db, 2],
    [other, 12],
    [db, 3],
    [other, 13],
  ] as const) {
    writing.append(position)
    expect(await until(stored(++count))).toBe(true)
  }
  let readings = 0
  const forgetful: StreamPort = {
    ...stream,
    read(options) {
      const first = ++readings === 1
      let messages = 0
      return stream.read({
        ...options,
        message(message) {
          if (!first || ++messages !== 3) options.message(message)
        },
      })
    },
  }
  const owning = await through(own(forgetful, { world }))
  expect(await until(() => owning.got.a!.length === 6 || owning.failures.length > 0)).toBe(true)
  expect(owning.failures).toEqual([])
  expect(owning.got.a).toEqual([1, 11, 12, 2, 3, 13])
  expect(readings).toBe(2)
})

test('askers of one moment share the reads that answer them, and who asks later is told by reads of his own', async () => {
  const { world, stream, through } = simulatedStream()
  let reads = 0
  const counting: StreamPort = {
    ...stream,
    last(subject, deadlineMs) {
      reads++
      return stream.last(subject, deadlineMs)
    },
  }
  const { log } = await through(own(counting, { world }))
  reads = 0
  const early = Promise.all([log.stillOwns(), log.stillOwns(), log.stillOwns()])
  await through(new Promise<void>((resolve) => world.setTimer(0.1, resolve)))
  expect(reads).toBe(2)
  await through(Promise.all([early, log.stillOwns()]))
  expect(reads).toBe(4)
})

test('a processor that starts at the newest frame does so once: its successor goes on from its checkpoint', async () => {
  const { world, stream, through, until } = simulatedStream()
  const { append, told } = await through(write(stream, { world }))
  append(1)
  expect(await until(() => told.some(({ type }) => type === 'stored'))).toBe(true)
  const processors = (['a', 'b'] as const).map((name) => ({ name, start: 'latest' as const }))
  const first = await through(own(stream, { world, processors }))
  append(2)
  expect(await until(() => first.got.a!.length === 1)).toBe(true)
  await through(first.log.close(1_000))
  append(3)
  expect(await until(() => told.filter(({ type }) => type === 'stored').length === 3)).toBe(true)
  const looked: string[] = []
  const watching: StreamPort = {
    ...stream,
    last(subject, deadlineMs) {
      looked.push(subject)
      return stream.last(subject, deadlineMs)
    },
  }
  const next = await through(own(watching, { world, processors }))
  expect(await until(() => next.got.b!.length === 1)).toBe(true)
  expect([first.got, next.got]).toEqual([
    { a: [2], b: [2] },
    { a: [3], b: [3] },
  ])
  expect(looked).not.toContain(frames)
})

test('an owner that wakes after it was sealed over removes nothing, though nothing is held back', async () => {
  const { world, stream, through, until } = simulatedStream()
  const { append } = await through(write(stream, { world }))
  for (const position of upTo(5)) append(position)
  const { counting, purges } = countPurges(stream)
  const zombie = await through(own(counting, { world }))
  const stored = () => Object.values(zombie.log.figures().processors).every(({ checkpoint }) => checkpoint > 0)
  expect(await until(stored)).toBe(true)
  await through(own(stream, { world, retain: 60_000 }))
  expect(await until(() => zombie.failures.length > 0)).toBe(true)
  expect(zombie.failures).toMatchObject([{ code: 'fenced' }])
  expect(purges()).toBe(0)
  expect(await through(stream.first(frames, 5_000))).not.toBeNull()
})

function countPurges(stream: StreamPort): { counting: StreamPort; purges: () => number } {
  let purges = 0
  const counting: StreamPort = {
    ...stream,
    purge: (...wanted) => {
      purges++
      return stream.purge(...wanted)
    },
  }
  return { counting, purges: () => purges }
}
