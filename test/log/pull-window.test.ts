import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createPullWindow, type Pull } from '../../src/log/jetstream/pull-window.js'

/** A server that keeps pulls in turn, as JetStream does, and ends those whose rest is too small for the next message. */
function serve(size: number, messages: readonly number[], overhead: number) {
  const window = createPullWindow(size)
  const pulls: { bytes: number; one: boolean }[] = []
  const delivered: number[] = []
  let credited = 0
  let asked = 0
  const take = (pull: Pull | null) => {
    if (pull === null) return
    asked++
    pulls.push({ bytes: pull.kind === 'bytes' ? pull.bytes : 0, one: pull.kind === 'one' })
  }
  const held = () => delivered.slice(credited).reduce((sum, one) => sum + one, 0)
  /** Until the server can send nothing more on what it was asked for. */
  const run = () => {
    take(window.next())
    while (pulls.length > 0 && delivered.length < messages.length) {
      const pull = pulls.shift()!
      const payload = messages[delivered.length]!
      const counted = payload + overhead
      if (!pull.one && counted > pull.bytes) window.ended(pull.bytes, true)
      else {
        if (!pull.one && pull.bytes > counted) pulls.push({ bytes: pull.bytes - counted, one: false })
        delivered.push(payload)
        window.delivered(payload, counted)
        // A message that is larger than the window comes alone.
        if (payload + overhead <= size) expect(held()).toBeLessThanOrEqual(size)
        else expect(held()).toBe(payload)
      }
      take(window.next())
    }
  }
  return {
    delivered,
    run,
    /** Credits the oldest that is not credited. */
    credit() {
      if (credited === delivered.length) return false
      window.credit(delivered[credited++]!)
      return true
    },
    asked: () => asked,
  }
}

test('every message passes, within the window, whoever credits when', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5_000 }),
      fc.array(fc.oneof(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: 10_000 })), { maxLength: 100 }),
      fc.integer({ min: 1, max: 200 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 5 })),
      (size, messages, overhead, credits) => {
        const server = serve(size, messages, overhead)
        server.run()
        while (server.delivered.length < messages.length) {
          let any = false
          for (let n = credits.next().value; n > 0; n--) any = server.credit() || any
          const before = server.delivered.length
          server.run()
          // Nothing is left to credit: then something must have come.
          if (!any) expect(server.delivered.length).toBeGreaterThan(before)
        }
        // No refusal is asked for over and over.
        expect(server.asked()).toBeLessThanOrEqual(messages.length * 12 + 12)
      },
    ),
  )
})

test('of many small messages a pull fetches a quarter of the window at least', () => {
  const server = serve(
    4_000,
    Array.from({ length: 1_000 }, () => 10),
    30,
  )
  server.run()
  while (server.credit()) server.run()
  expect(server.delivered).toHaveLength(1_000)
  expect(server.asked()).toBeLessThan(60)
})
