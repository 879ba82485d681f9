/**
 * A place in the order of one lane. Positions of one lane and epoch are totally ordered, field by field.
 *
 * | source | major | minor | part |
 * |---|---|---|---|
 * | PostgreSQL | commit LSN | ordinal in the transaction, from 1, before any filter | 1 for the insert half of a key change |
 * | Redis stream | milliseconds of the entry id | sequence of the entry id | 0 |
 * | subscription | number of the connection | counter | 0 |
 */
export interface Position {
  /** 0 to 2^64-1 */
  readonly major: bigint
  /** 0 to 2^64-1 */
  readonly minor: bigint
  readonly part: 0 | 1
}

export const beginning: Position = { major: 0n, minor: 0n, part: 0 }

const highest = 2n ** 64n - 1n

/** Negative, zero or positive, as `a` stands before, at or after `b`. */
export function comparePositions(a: Position, b: Position): number {
  if (a.major !== b.major) return a.major < b.major ? -1 : 1
  if (a.minor !== b.minor) return a.minor < b.minor ? -1 : 1
  return a.part - b.part
}

/** `major-minor[.part]` in decimal: the same for every source, sortable only through `comparePositions`. */
export function formatPosition(position: Position): string {
  return position.part === 0
    ? `${position.major}-${position.minor}`
    : `${position.major}-${position.minor}.${position.part}`
}

/** @throws RangeError where the text is no position */
export function parsePosition(text: string): Position {
  const match = /^(\d{1,20})-(\d{1,20})(\.1)?$/.exec(text)
  const major = BigInt(match?.[1] ?? -1)
  const minor = BigInt(match?.[2] ?? -1)
  if (match === null || major > highest || minor > highest)
    throw new RangeError(`not a position: ${JSON.stringify(text.slice(0, 64))}`)
  return { major, minor, part: match[3] === undefined ? 0 : 1 }
}
