/** What has happened so far, for `troupe status` and the metrics. */
import type { OwnershipEvent } from './ownership-port.js'

export interface Durations {
  readonly count: number
  readonly lastMs: number
  readonly mostMs: number
}

export interface MembershipCounters {
  readonly acquisitions: number
  /** CAS writes that came too late. */
  readonly refused: number
  /** Given away on purpose: from the decision to the release. */
  readonly handoffs: Durations
  /** Received on purpose: from the release that was seen until the unit runs. */
  readonly received: Durations
  /** Taken from the dead: from the last sign of life until the unit runs. */
  readonly takeovers: Durations
  /** Taken from us. */
  readonly taken: number
  readonly startFailures: number
  readonly givenUp: number
}

export interface Counting {
  count(event: OwnershipEvent): void
  counters(): MembershipCounters
}

const none: Durations = { count: 0, lastMs: 0, mostMs: 0 }

export function createCounting(): Counting {
  const sums = { acquisitions: 0, refused: 0, taken: 0, startFailures: 0, givenUp: 0 }
  let handoffs = none
  let received = none
  let takeovers = none
  return {
    count(event) {
      switch (event.type) {
        case 'acquired':
          sums.acquisitions++
          return
        case 'refused':
          sums.refused++
          return
        case 'released':
          if (event.to !== null) handoffs = add(handoffs, event.ms)
          return
        case 'running':
          if (event.how === 'handoff') received = add(received, event.ms)
          else if (event.how === 'takeover') takeovers = add(takeovers, event.ms)
          return
        case 'taken':
          sums.taken++
          return
        case 'start-failed':
          sums.startFailures++
          return
        case 'given-up':
          sums.givenUp++
          return
        case 'ended':
        case 'silent':
          return
      }
    },
    counters: () => ({ ...sums, handoffs, received, takeovers }),
  }
}

function add(durations: Durations, ms: number): Durations {
  return { count: durations.count + 1, lastMs: ms, mostMs: Math.max(durations.mostMs, ms) }
}
