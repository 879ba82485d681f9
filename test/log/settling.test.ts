/** How a reader's log waits for processors: bounded in what it asks of the servers, however long it takes. */
import { expect, test } from 'vitest'
import { createSettling } from '../../src/log/jetstream/settling.js'
import { simulatedWorld } from '../../src/world/simulated.js'
import { silent } from './nats-harness.js'

const minutes = 60_000

function stage(look: (looks: number) => boolean) {
  const world = simulatedWorld(1)
  const seen = { hurries: 0, looks: 0, covers: 0, settled: [] as number[] }
  const settling = createSettling({
    world,
    log: silent,
    source: 'db',
    cover: () => {
      seen.covers++
      return { look: async () => look(++seen.looks) }
    },
    hurry: () => seen.hurries++,
    settled: (number) => seen.settled.push(number),
  })
  const pass = (ms: number) => {
    let over = false
    world.setTimer(ms, () => {
      over = true
    })
    return world.run(() => over)
  }
  return { settling, seen, pass }
}

test('a reader that waits for a paused processor hurries the owners at most once a second in the long run', async () => {
  const { settling, seen, pass } = stage(() => false)
  settling.want(1)
  settling.stored(1)
  await pass(10 * minutes)
  expect(seen.hurries).toBeLessThan(610)
  expect(seen.hurries).toBeGreaterThan(500)
  expect(seen.settled).toEqual([])
})

test('what is waited for is fixed when the waiting begins: a busy reader does not put it off', async () => {
  const { settling, seen, pass } = stage((looks) => looks % 5 === 0)
  settling.want(1)
  settling.stored(1)
  for (let number = 2; number < 20; number++) {
    settling.stored(number)
    await pass(50)
  }
  expect(seen.settled).toEqual([1])
  expect(seen.covers).toBe(1)
  settling.want(19)
  await pass(minutes)
  expect(seen.settled).toEqual([1, 19])
})

test('nothing is waited for that is not stored, and nothing is asked when it was stopped', async () => {
  const { settling, seen, pass } = stage(() => false)
  settling.want(2)
  settling.stored(1)
  await pass(minutes)
  expect(seen.looks).toBe(0)
  settling.stored(2)
  await pass(1_000)
  settling.stop()
  const { looks } = seen
  await pass(minutes)
  expect(seen.looks).toBe(looks)
})
