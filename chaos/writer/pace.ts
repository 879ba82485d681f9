/**
 * An open-loop schedule: the n-th change is due at `start + n / rate`, whatever happened to the ones before it. A stall
 * is made up for as fast as the source allows, so that it cannot hide.
 */
export interface Pace {
  /** How many of the scheduled changes are due now and not yet taken. */
  due(): number
  take(changes: number): void
  behindMs(): number
  /** Resolves when at least one change is due, at the latest when the signal is aborted. */
  wait(signal: AbortSignal): Promise<void>
}

const longestSleepMs = 50

export function createPace(rate: number): Pace {
  const start = performance.now()
  let taken = 0
  const due = () => Math.floor(((performance.now() - start) * rate) / 1000) - taken
  return {
    due,
    take(changes) {
      taken += changes
    },
    behindMs: () => Math.max(0, performance.now() - start - (taken * 1000) / rate),
    async wait(signal) {
      while (!signal.aborted) {
        const wait = start + ((taken + 1) * 1000) / rate - performance.now()
        if (wait <= 0) return
        await new Promise((resolve) => setTimeout(resolve, Math.min(wait, longestSleepMs)))
      }
    },
  }
}
