/**
 * What is true of the simulated sources: every change that was ever made, with the place where it must be found.
 * Known to the models and to the checker; the protocol sees only what its readers read.
 */

/** One change. */
export interface Change {
  readonly source: string
  /** Position: major and minor; small enough for plain numbers. */
  readonly major: number
  readonly minor: number
  readonly key: number
  /** Number of the change in its source, from 0, in the source's order. */
  readonly number: number
  /** Copies of it that the stream has, by scope; lost ones taken off. */
  readonly copies: Map<string, number>
  /** The stream once lost a copy of it. */
  lost: boolean
  /** The source was told that it may forget it. */
  forgotten: boolean
}

export interface Truth {
  readonly changes: ReadonlyMap<string, readonly Change[]>
  add(source: string, major: number, minor: number, key: number): Change
  at(source: string, major: number, minor: number): Change | undefined
}

export function createTruth(sources: readonly string[]): Truth {
  const changes = new Map<string, Change[]>(sources.map((source) => [source, []]))
  const places = new Map<string, Change>()
  return {
    changes,
    add(source, major, minor, key) {
      const list = changes.get(source)!
      const change: Change = {
        source,
        major,
        minor,
        key,
        number: list.length,
        copies: new Map(),
        lost: false,
        forgotten: false,
      }
      list.push(change)
      places.set(`${source}:${major}:${minor}`, change)
      return change
    },
    at: (source, major, minor) => places.get(`${source}:${major}:${minor}`),
  }
}
