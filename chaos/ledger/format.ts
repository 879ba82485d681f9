/**
 * The ledger: what a writer meant to write and what became of it, one JSON object a line, append-only.
 *
 *     {"writer":"w1","lane":"w1/pg0","source":"postgres"}       once for each lane, before its first intent
 *     {"intent":7,"lane":"w1/pg0","changes":[["w1/pg0/c3",2,"update"]]}
 *     {"outcome":7,"committed":true}
 *
 * An intent is on its way to the operating system before the write is sent, so a writer that is killed leaves at worst
 * an intent without outcome: it is *open*, and settled by asking the source (settle.ts). A line without its newline was
 * never followed by a write and is ignored; any other line that cannot be read is an error.
 */
import { readFileSync } from 'node:fs'

export type ChangeKind = 'insert' | 'update' | 'delete' | 'append'

/** Key, number of the change of that key (1, 2, 3, …), kind. */
export type LedgerChange = readonly [key: string, counter: number, kind: ChangeKind]

export type LedgerSource = 'postgres' | 'redis'

export interface LaneLine {
  readonly writer: string
  /** One connection that writes serially; it alone writes its keys. */
  readonly lane: string
  readonly source: LedgerSource
}

export interface IntentLine {
  /** Unique in the ledger, ascending within a lane. */
  readonly intent: number
  readonly lane: string
  readonly changes: readonly LedgerChange[]
}

export interface OutcomeLine {
  readonly outcome: number
  readonly committed: boolean
}

export type LedgerLine = LaneLine | IntentLine | OutcomeLine

/** A ledger as it was read: intents by number, and the outcome where there is one. */
export interface LedgerContents {
  readonly lanes: ReadonlyMap<string, LaneLine>
  readonly intents: readonly IntentLine[]
  readonly outcomes: ReadonlyMap<number, boolean>
}

/** @throws Error with file and line where a complete line is not of the ledger */
export function readLedger(path: string): LedgerContents {
  const text = readFileSync(path, 'utf8')
  const lanes = new Map<string, LaneLine>()
  const intents: IntentLine[] = []
  const outcomes = new Map<number, boolean>()
  let number = 0
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\n', at)
    if (end < 0) break
    number++
    const line = parseLine(text.slice(at, end), `${path}:${number}`)
    if ('source' in line) lanes.set(line.lane, line)
    else if ('intent' in line) intents.push(line)
    else outcomes.set(line.outcome, line.committed)
    at = end + 1
  }
  return { lanes, intents, outcomes }
}

function parseLine(text: string, place: string): LedgerLine {
  let line: unknown
  try {
    line = JSON.parse(text)
  } catch (error) {
    throw new Error(`${place}: not a line of a ledger`, { cause: error })
  }
  if (typeof line !== 'object' || line === null || !('source' in line || 'intent' in line || 'outcome' in line))
    throw new Error(`${place}: not a line of a ledger`)
  return line as LedgerLine
}

/** Intents without an outcome. */
export function openIntents(ledger: LedgerContents): readonly IntentLine[] {
  return ledger.intents.filter((intent) => !ledger.outcomes.has(intent.intent))
}
