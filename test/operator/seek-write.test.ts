/** What `troupe seek` makes of each way in which the write of its checkpoints can end. */
import { expect, test } from 'vitest'
import type { Outcome, StreamPort } from '../../src/log/jetstream/port.js'
import { decodeProcessor } from '../../src/log/jetstream/stored.js'
import type { ClusterAccess } from '../../src/operator/cluster/connect.js'
import { writePlaces } from '../../src/operator/cluster/seek-write.js'
import { simulatedStream } from '../log/simulated-stream.js'

const subject = 'troupe.shop.ck.proc.copy.key.0'
const definition = { name: 'shop' } as ClusterAccess['definition']

/** Each commit ends by the next of these; null: as the stream has it. Whether a commit is stored whose outcome is told otherwise. */
function seeking(outcomes: readonly (Outcome | null)[], { stored = false, silent = false } = {}) {
  const { stream: real, world, through } = simulatedStream()
  const left = [...outcomes]
  let commits = 0
  const stream: StreamPort = {
    ...real,
    async commit(messages, deadlineMs) {
      commits++
      const told = left.shift() ?? null
      const outcome = told === null || stored ? await real.commit(messages, deadlineMs) : told
      return told ?? outcome
    },
    last: (...args) => (silent ? Promise.reject(new Error('no answer within 5000 ms')) : real.last(...args)),
  }
  return {
    commits: () => commits,
    write: () => through(writePlaces({ stream, world, definition }, [{ subject, found: undefined, to: 7 }], 'seek:a')),
    async place() {
      const found = await through(real.last(subject, 5_000))
      return found === null ? null : decodeProcessor(found.payload, subject).sequence
    },
  }
}

const full: Outcome = { kind: 'retry', why: 'maximum bytes exceeded (10077)', full: true }
const ambiguous: Outcome = { kind: 'ambiguous', why: 'no reply within 15000 ms' }

test('what is refused for now is written again, and what it lacked is told when it never comes', async () => {
  const once = seeking([full, full])
  expect(await once.write()).toBe(true)
  expect([once.commits(), await once.place()]).toEqual([3, 7])
  const never = seeking(Array(20).fill(full))
  await expect(never.write()).rejects.toMatchObject({
    code: 'stream-refused',
    exitCode: 1,
    message: expect.stringContaining('nothing was moved: maximum bytes exceeded'),
  })
  expect([never.commits(), await never.place()]).toEqual([5, null])
})

test('only a checkpoint that somebody else wrote calls for another plan', async () => {
  const fenced = seeking([{ kind: 'fenced' }])
  expect(await fenced.write()).toBe(false)
  expect(fenced.commits()).toBe(1)
})

test('an attempt without an answer is looked for, written again where it is not there, and else said to be unknown', async () => {
  const stored = seeking([ambiguous], { stored: true })
  expect([await stored.write(), stored.commits()]).toEqual([true, 1])
  const lost = seeking([ambiguous])
  expect([await lost.write(), lost.commits(), await lost.place()]).toEqual([true, 2, 7])
  const unseen = { code: 'seek-unseen', exitCode: 1, message: expect.stringContaining('is not known') }
  await expect(seeking([ambiguous], { stored: true, silent: true }).write()).rejects.toMatchObject(unseen)
  await expect(seeking(Array(20).fill(ambiguous)).write()).rejects.toMatchObject(unseen)
})
