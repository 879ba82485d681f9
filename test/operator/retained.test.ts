/** Reading what a partition retains while its owner trims it, and while it comes slowly. */
import { expect, test } from 'vitest'
import { streamNames } from '../../src/log/jetstream/names.js'
import type { ReadOptions, StreamPort } from '../../src/log/jetstream/port.js'
import type { ClusterAccess } from '../../src/operator/cluster/connect.js'
import { readRetained } from '../../src/operator/cluster/retained.js'
import { simulatedStream } from '../log/simulated-stream.js'

const names = streamNames('shop')
const subject = names.frames('key', 0)
const definition = { processors: { copy: { from: [] } } } as unknown as ClusterAccess['definition']

test('what the owner trims while it is to be read is not waited for', async () => {
  const { stream: real, world, through } = simulatedStream()
  await through(real.commit([{ subject, payload: new Uint8Array(1) }], 5_000))
  const stream: StreamPort = {
    ...real,
    async last(...args) {
      const last = await real.last(...args)
      await real.purge(subject, last!.sequence + 1, 5_000)
      return last
    },
  }
  const began = world.monotonic()
  expect(await through(readRetained({ stream, names, world, definition }, 'copy', 'key', 0))).toEqual([])
  expect(world.monotonic() - began).toBeLessThan(20_000)
})

/** A message every so often, of which none is a whole frame; and then silence. */
function slow(every: number, count: number, end: number) {
  const { stream: real, world, through } = simulatedStream()
  const headers = { 'T-S': 'db', 'T-M': '1-1', 'T-C': '0/2' }
  const message = (sequence: number) => ({ subject, sequence, payload: new Uint8Array(1), headers, storedAt: 0 })
  const stream: StreamPort = {
    ...real,
    last: async () => message(end),
    first: async () => message(1),
    read(options: ReadOptions) {
      const next = (sequence: number): void => {
        options.message(message(sequence))
        if (sequence < count) world.setTimer(every, () => next(sequence + 1))
      }
      world.setTimer(every, () => next(1))
      return { credit() {}, stop() {} }
    },
  }
  return () => through(readRetained({ stream, names, world, definition }, 'copy', 'key', 0))
}

test('a reading may take as long as it advances, and ends when nothing comes any more', async () => {
  expect(await slow(50_000, 10, 10)()).toEqual([])
  await expect(slow(50_000, 3, 10)()).rejects.toMatchObject({ code: 'cluster-unreadable', place: 'partition key.0' })
})
