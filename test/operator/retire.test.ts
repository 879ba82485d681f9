/** Whether an owner still runs a processor that is to be retired, told from checkpoints and leases. */
import { expect, test } from 'vitest'
import { stillRun } from '../../src/operator/cluster/retire.js'

const written = (set: string, owner: string, departed: boolean) => ({ set, partition: 0, departed, stored: { owner } })

const audit = written('global', 'n1.a', true)

test('an owner that wrote another checkpoint of the partition under the same name runs it', () => {
  expect(stillRun([audit], [audit, written('global', 'n1.a', false)], () => true)).toBe(audit)
  expect(stillRun([audit], [audit, written('global', 'n1.b', false)], () => true)).toBeUndefined()
})

test('where no other checkpoint is in the partition, who holds it runs it', () => {
  const elsewhere = [audit, written('key', 'n1.a', false), written('global', 'n1.a', true)]
  expect(stillRun([audit], elsewhere, () => true)).toBe(audit)
  expect(stillRun([audit], elsewhere, () => false)).toBeUndefined()
})

test('a checkpoint that was moved by hand does not tell who is at work', () => {
  expect(stillRun([audit], [audit, written('global', 'seek:x', false)], () => true)).toBe(audit)
})
