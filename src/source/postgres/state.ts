/**
 * What a PostgreSQL reader finds again after a restart: the history that it reads (system, timeline, epoch) and the end of
 * the last transaction of which every record was recorded.
 */
import type { ReaderState } from '../../checkpoint/checkpoint.js'
import { TroupeError } from '../../world/error.js'
import { formatLsn, parseLsn } from './lsn.js'

export interface PostgresState {
  /** System identifier of the cluster (`IDENTIFY_SYSTEM`): the same for a primary and its standbys. */
  readonly system: string
  readonly timeline: number
  readonly epoch: bigint
  /** End LSN of a complete transaction, or a keepalive's position when nothing was outstanding: what may be confirmed. */
  readonly lsn: bigint
  /** Wall clock when `lsn` was reached, ms since the Unix epoch: where a loss window begins. */
  readonly at: number
}

export function toReaderState(state: PostgresState): ReaderState {
  return {
    version: 1,
    system: state.system,
    timeline: state.timeline,
    epoch: state.epoch.toString(),
    lsn: formatLsn(state.lsn),
    at: state.at,
  }
}

/** @throws TroupeError `checkpoint-unreadable` */
export function fromReaderState(state: ReaderState, place: string): PostgresState {
  const { version, system, timeline, epoch, lsn, at } = state
  if (
    version === 1 &&
    typeof system === 'string' &&
    typeof timeline === 'number' &&
    typeof epoch === 'string' &&
    /^\d{1,20}$/.test(epoch) &&
    typeof lsn === 'string' &&
    /^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/.test(lsn) &&
    typeof at === 'number'
  )
    return { system, timeline, epoch: BigInt(epoch), lsn: parseLsn(lsn), at }
  throw new TroupeError({
    code: 'checkpoint-unreadable',
    message: 'the stored checkpoint of this source is not one of a PostgreSQL reader',
    place,
    remedy:
      'if the name of the source was used for another kind of source before, give this one a new name; else restore the data directory',
    permanent: true,
  })
}
