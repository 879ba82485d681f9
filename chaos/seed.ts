/** A seeded generator of numbers: the same seed, the same run. Not for secrets. */
export interface Seeded {
  /** In [0, 1). */
  next(): number
  /** An integer in [0, below). */
  below(below: number): number
  pick<T>(from: readonly T[]): T
  /** A generator of its own, by name, that does not disturb this one. */
  fork(name: string): Seeded
}

export function seeded(seed: number): Seeded {
  let state = seed >>> 0
  // The splitmix32 step: an odd increment, then two rounds of xor-shift and multiply.
  const next = () => {
    state = (state + 0x9e3779b9) >>> 0
    let z = state
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b)
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
    return ((z ^ (z >>> 16)) >>> 0) / 4_294_967_296
  }
  const below = (limit: number) => Math.floor(next() * limit)
  return {
    next,
    below,
    pick: (from) => from[below(from.length)]!,
    fork(name) {
      let mixed = seed >>> 0
      for (const letter of name) mixed = Math.imul(mixed ^ letter.codePointAt(0)!, 0x01000193) >>> 0
      return seeded(mixed)
    },
  }
}
