/**
 * A set of entry ids of some streams, eight bytes an id: millions wait for a holdback, more than a Set takes.
 *
 * Ids come mostly in order, so each stream has a few ascending runs: an id is appended to the last run, or begins one, and runs
 * of like size are merged. Ids that do not fit eight bytes (a first number of 2^44 or more, a second of 2^20) are kept as text.
 */
import { type EntryId, idText, isPlain, plainMajor, plainMinor } from './entry-id.js'

export interface KnownIds {
  add(stream: string, id: EntryId): void
  has(stream: string, id: EntryId): boolean
}

/** Ascending; a key is two words, the higher behind the lower, as BigUint64Array reads them. */
interface Run {
  words: Uint32Array
  length: number
}

const smallest = 256
/** Bits of the second number in a key, and of the first beside it in the lower word. */
const minorBits = 20
const majorBits = 32 - minorBits
const minorLimit = 2 ** minorBits
const majorLimit = 2 ** (32 + majorBits)

export function knownIds(): KnownIds {
  const streams = new Map<string, Run[]>()
  const others = new Set<string>()

  return {
    add(stream, id) {
      if (!fits(id)) {
        others.add(`${stream}\0${idText(id)}`)
        return
      }
      let runs = streams.get(stream)
      if (runs === undefined) {
        runs = []
        streams.set(stream, runs)
      }
      add(runs, highOf(id), lowOf(id))
    },
    has(stream, id) {
      if (!fits(id)) return others.has(`${stream}\0${idText(id)}`)
      const high = highOf(id)
      const low = lowOf(id)
      return streams.get(stream)?.some((run) => isIn(run, high, low)) === true
    },
  }
}

function fits(id: EntryId): boolean {
  return isPlain(id) && plainMajor(id) < majorLimit && plainMinor(id) < minorLimit
}

function highOf(id: EntryId): number {
  return Math.floor(plainMajor(id) / 2 ** majorBits)
}

function lowOf(id: EntryId): number {
  return (plainMajor(id) % 2 ** majorBits) * minorLimit + plainMinor(id)
}

function add(runs: Run[], high: number, low: number): void {
  const last = runs.at(-1)
  if (last !== undefined && compare(last, last.length - 1, high, low) < 0) {
    push(last, high, low)
    return
  }
  while (runs.length > 1 && runs.at(-2)!.length <= 2 * runs.at(-1)!.length) {
    const upper = runs.pop()!
    runs.push(merged(runs.pop()!, upper))
  }
  const run: Run = { words: new Uint32Array(2 * smallest), length: 0 }
  push(run, high, low)
  runs.push(run)
}

function push(run: Run, high: number, low: number): void {
  const at = 2 * run.length
  if (at === run.words.length) {
    const larger = new Uint32Array(2 * run.words.length)
    larger.set(run.words)
    run.words = larger
  }
  run.words[at] = low
  run.words[at + 1] = high
  run.length++
}

function merged(one: Run, other: Run): Run {
  const length = one.length + other.length
  const words = new Uint32Array(2 * length)
  words.set(one.words.subarray(0, 2 * one.length))
  words.set(other.words.subarray(0, 2 * other.length), 2 * one.length)
  new BigUint64Array(words.buffer).sort()
  return { words, length }
}

function isIn(run: Run, high: number, low: number): boolean {
  let from = 0
  let to = run.length
  while (from < to) {
    const middle = (from + to) >>> 1
    const order = compare(run, middle, high, low)
    if (order === 0) return true
    if (order < 0) from = middle + 1
    else to = middle
  }
  return false
}

/** The key at a place against another. */
function compare({ words }: Run, index: number, high: number, low: number): number {
  const own = words[2 * index + 1]!
  return own !== high ? own - high : words[2 * index]! - low
}
