// What the peers of `runtime` hand from thread to thread: one object for each event, ten columns, about 300 bytes.
export { peakRssMb, print } from '../../dist/bench/harness/finish.js'
export { cpuMs, now } from '../../dist/bench/harness/tally.js'

export const keys = 1_000
const pads = Object.fromEntries([...'abcdefg'].map((letter) => [letter, letter.repeat(33)]))

export function objectAt(sequence) {
  return { key: sequence % keys, sequence, amount: (sequence % 997) + 1, ...pads }
}

/** Reads two columns, checks the order of the key. */
export function createReader() {
  const last = new Map()
  const state = { count: 0, sum: 0, disorder: 0 }
  return {
    state,
    see(event) {
      const key = event.sequence % keys
      if (event.sequence >= keys && last.get(key) !== event.sequence - keys) state.disorder++
      last.set(key, event.sequence)
      state.sum += event.sequence + event.amount
      state.count++
    },
  }
}
