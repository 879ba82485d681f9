/**
 * The proof of work of every side that reads events: count, order within each key, sums over two columns, and the time
 * and CPU at the last event.
 *
 * The work is laid out so that event `s` (0, 1, 2, …) concerns key `s % keys` with counter `floor(s / keys) + 1`, as
 * one writer wrote it.
 */
export interface WorkShape {
  readonly keys: number
  readonly total: number
}

/** What one instance counted; several are joined by `join`. */
export interface Tally {
  readonly count: number
  readonly sumCounter: number
  readonly sumAmount: number
  /** Events that did not follow the one before them of their key. */
  readonly disorder: number
  /** Wall clock with fractions, ms, of the last event; 0 where it met none. */
  readonly endedAt: number
  /** CPU of the whole process, ms, at that moment. */
  readonly endedCpu: number
}

export interface Tallier {
  add(key: number, counter: number, amount: number): void
  result(): Tally
}

/** The last events are stamped one by one, so that the end is exact and the clock costs nothing before. */
const stampedTail = 4_096

export function amountOf(key: number, counter: number): number {
  return ((key * 31 + counter * 7) % 1_000) + 1
}

export function now(): number {
  return performance.timeOrigin + performance.now()
}

export function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

export function createTallier(shape: WorkShape): Tallier {
  const last = new Int32Array(shape.keys)
  const tailFrom = shape.total - stampedTail
  let count = 0
  let sumCounter = 0
  let sumAmount = 0
  let disorder = 0
  let endedAt = 0
  let endedCpu = 0
  return {
    add(key, counter, amount) {
      if (last[key] !== counter - 1) disorder++
      last[key] = counter
      count++
      sumCounter += counter
      sumAmount += amount
      const sequence = (counter - 1) * shape.keys + key
      if (sequence >= tailFrom) {
        endedAt = now()
        if (sequence % 64 === 0 || sequence >= shape.total - 64) endedCpu = cpuMs()
      }
    },
    result: () => ({ count, sumCounter, sumAmount, disorder, endedAt, endedCpu }),
  }
}

/** The whole of several instances that shared the work by key. */
export function join(parts: readonly Tally[]): Tally {
  const sum = (field: 'count' | 'sumCounter' | 'sumAmount' | 'disorder') =>
    parts.reduce((total, part) => total + part[field], 0)
  const ended = [...parts].sort((a, b) => b.endedAt - a.endedAt)[0]
  return {
    count: sum('count'),
    sumCounter: sum('sumCounter'),
    sumAmount: sum('sumAmount'),
    disorder: sum('disorder'),
    endedAt: ended?.endedAt ?? 0,
    endedCpu: ended?.endedCpu ?? 0,
  }
}

/** What the writer wrote: the sums that every side must arrive at. */
export function expectedSums(shape: WorkShape): { readonly sumCounter: number; readonly sumAmount: number } {
  let sumCounter = 0
  let sumAmount = 0
  for (let sequence = 0; sequence < shape.total; sequence++) {
    const key = sequence % shape.keys
    const counter = Math.floor(sequence / shape.keys) + 1
    sumCounter += counter
    sumAmount += amountOf(key, counter)
  }
  return { sumCounter, sumAmount }
}
