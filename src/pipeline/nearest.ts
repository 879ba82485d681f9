/** The valid name that a misspelt one was probably meant to be: fewest edits, a swap of neighbours counting as one. */

/** Null where nothing is near: more than two fifths of the letters would have to change (at least 1, at most 3). */
export function nearest(name: string, candidates: Iterable<string>): string | null {
  let best: string | null = null
  let bestDistance = Number.POSITIVE_INFINITY
  const wanted = name.toLowerCase()
  for (const candidate of candidates) {
    const bound = Math.min(3, Math.max(1, Math.floor(Math.max(name.length, candidate.length) * 0.4)))
    if (Math.abs(candidate.length - name.length) > bound) continue
    const distance = edits(wanted, candidate.toLowerCase())
    if (distance > bound || distance >= bestDistance) continue
    best = candidate
    bestDistance = distance
  }
  return best
}

/** Optimal string alignment distance. Names are short, so three rows suffice and nothing is bounded further. */
function edits(a: string, b: string): number {
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const cost = a[row - 1] === b[column - 1] ? 0 : 1
      let value = Math.min(last[column]! + 1, current[column - 1]! + 1, last[column - 1]! + cost)
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      if (swapped) value = Math.min(value, before[column - 2]! + 1)
      current.push(value)
    }
    before = last
    last = current
  }
  return last[b.length]!
}
