/**
 * The writing side of the ledger: one file, appended to with synchronous writes.
 *
 * Promises that an intent has left the process before `intend` returns, so that SIGKILL cannot lose it. Does not fsync:
 * the ledger survives the death of the writer, not that of the machine.
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import type { LaneLine, LedgerChange, LedgerLine } from './format.js'

export interface Ledger {
  lane(line: LaneLine): void
  /** Gives the number of the intent. Call before the write is sent. */
  intend(lane: string, changes: readonly LedgerChange[]): number
  settle(intent: number, committed: boolean): void
  close(): void
}

export function openLedger(path: string): Ledger {
  const file = openSync(path, 'a')
  let next = 1
  const append = (line: LedgerLine) => {
    writeSync(file, `${JSON.stringify(line)}\n`)
  }
  return {
    lane: append,
    intend(lane, changes) {
      const intent = next++
      append({ intent, lane, changes })
      return intent
    },
    settle: (outcome, committed) => append({ outcome, committed }),
    close: () => closeSync(file),
  }
}
