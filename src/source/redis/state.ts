/** The reader's state: what it needs to go on, and to know whether the streams are still the ones that it left. JSON. */
import type { ReaderState } from '../../checkpoint/checkpoint.js'
import { TroupeError } from '../../world/error.js'
import { idOfText, idText } from './entry-id.js'
import type { LaneMemory } from './history.js'

export interface StoredState {
  readonly replication: string
  /** Wall clock, ms, when this was written. */
  readonly at: number
  readonly lanes: ReadonlyMap<string, LaneMemory>
}

interface LaneJson {
  readonly epoch: string
  readonly id: string
  readonly hash: number | null
  readonly added: number | null
}

export function writeState(
  replication: string,
  at: number,
  lanes: readonly (LaneMemory & { readonly stream: string })[],
): ReaderState {
  const json: Record<string, LaneJson> = {}
  for (const { stream, epoch, id, hash, added } of lanes)
    json[stream] = { epoch: String(epoch), id: idText(id), hash, added }
  return { version: 1, replication, at, lanes: json }
}

/** @throws TroupeError `state-unreadable` */
export function readState(state: ReaderState | null, place: string): StoredState | null {
  if (state === null) return null
  try {
    if (state.version !== 1) throw new RangeError(`version ${String(state.version)}`)
    const lanes = new Map<string, LaneMemory>()
    for (const [stream, lane] of Object.entries(state.lanes as Record<string, LaneJson>))
      lanes.set(stream, { epoch: BigInt(lane.epoch), id: idOfText(lane.id), hash: lane.hash, added: lane.added })
    return { replication: String(state.replication), at: Number(state.at), lanes }
  } catch (cause) {
    throw new TroupeError({
      code: 'state-unreadable',
      message: `the stored state of the reader cannot be read: ${String(cause)}`,
      place,
      remedy: 'use the version of Troupe that wrote it, or begin with an empty data directory',
      permanent: true,
      cause,
    })
  }
}
