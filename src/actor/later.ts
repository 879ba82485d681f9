/**
 * An answer that comes later: `receive` returns `later(promise)` and goes on with its next message, while the asker waits
 * for the promise. (A plain promise makes the actor wait too.)
 */
const LATER = Symbol.for('troupe.later')

export interface Later {
  readonly [LATER]: Promise<unknown>
}

export function later(promise: Promise<unknown>): Later {
  return { [LATER]: promise }
}

/** The promise inside, or undefined if this is an ordinary result. */
export function laterOf(result: unknown): Promise<unknown> | undefined {
  return typeof result === 'object' && result !== null ? (result as Partial<Later>)[LATER] : undefined
}
