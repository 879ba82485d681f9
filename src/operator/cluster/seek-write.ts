/**
 * Writes the checkpoints of a seek: all in one atomic batch, each over the very one that was looked at.
 *
 * Promises: what it tells is so. Where nobody says whether the batch was stored, a read decides, and where that fails too,
 * the error says that it is not known.
 */
import { batchLimits } from '../../log/jetstream/port.js'
import { decodeOwnership, encodeProcessor } from '../../log/jetstream/stored.js'
import { messageOf, TroupeError } from '../../world/error.js'
import { sleep } from '../../world/sleep.js'
import type { FoundCheckpoint } from './checkpoints.js'
import { answerWithin, type ClusterAccess } from './connect.js'

export interface NewPlace {
  readonly subject: string
  readonly found: Pick<FoundCheckpoint, 'stored' | 'revision'> | undefined
  readonly to: number
}

const attempts = 5
const writeWithin = 15_000
/** ms for room, a leader, or an attempt without an answer to come. */
const pauseMs = 1_000

/**
 * False: somebody wrote one of them meanwhile, and nothing was stored.
 * @throws TroupeError `seek-too-wide`, `stream-refused`, `seek-unseen`
 */
export async function writePlaces(
  access: Pick<ClusterAccess, 'stream' | 'world' | 'definition'>,
  places: readonly NewPlace[],
  owner: string,
): Promise<boolean> {
  const { stream, world } = access
  if (places.length > batchLimits.messages) throw tooWide(access, places.length)
  const { subject } = places[0]!
  const at = Math.floor(world.now())
  const messages = places.map(({ subject, found, to }) => ({
    subject,
    payload: encodeProcessor({
      term: (found?.stored.term ?? 0) + 1,
      owner,
      commit: 0,
      // As a new name that begins there: what it had seen before says nothing any more.
      lanes: {},
      marks: {},
      sequence: to,
      at,
    }),
    expect: found?.revision ?? 0,
    rollup: true,
  }))
  let unknown = false
  let why = ''
  for (let attempt = 0; attempt < attempts; attempt++) {
    const outcome = await stream.commit(messages, writeWithin)
    if (outcome.kind === 'committed') return true
    if (outcome.kind === 'misconfigured') throw refusedForGood(subject, outcome.why)
    if (outcome.kind === 'fenced' && !unknown) return false
    unknown ||= outcome.kind === 'ambiguous'
    await sleep(world, pauseMs)
    if (unknown && (await isOurs(stream, subject, owner))) return true
    if (outcome.kind === 'fenced') return false
    why = outcome.why
  }
  throw unknown ? unseen(subject, 'whether it was moved is not known', why) : refusedForNow(subject, why)
}

/** The batch is one: where the first of them stands, all do. */
async function isOurs(stream: ClusterAccess['stream'], subject: string, owner: string): Promise<boolean> {
  try {
    const now = await stream.last(subject, answerWithin)
    return now !== null && decodeOwnership(now.payload, subject).owner === owner
  } catch (error) {
    throw unseen(subject, 'whether it was moved is not known', messageOf(error))
  }
}

export function unseen(place: string, what: string, why: string): TroupeError {
  return new TroupeError({
    code: 'seek-unseen',
    message: `${what}: ${why}`,
    place,
    remedy: '`troupe status` shows where its checkpoints are, and `troupe why` what their owners do',
  })
}

function refusedForGood(place: string, why: string): TroupeError {
  return new TroupeError({
    code: 'stream-refused',
    message: `the checkpoints cannot be written: ${why}`,
    place,
    remedy: 'see which rights `troupe seek` needs in docs/nats.md',
    exitCode: 2,
  })
}

function refusedForNow(place: string, why: string): TroupeError {
  return new TroupeError({
    code: 'stream-refused',
    message: `the checkpoints cannot be written, and nothing was moved: ${why}`,
    place,
    remedy: 'see what the NATS servers lack (room, a leader), then seek again',
  })
}

/** A part of them alone would be neither here nor there. */
function tooWide({ definition }: Pick<ClusterAccess, 'definition'>, partitions: number): TroupeError {
  return new TroupeError({
    code: 'seek-too-wide',
    message: `${partitions} partitions would be moved, and one atomic batch holds ${batchLimits.messages}`,
    place: `pipeline ${definition.name}`,
    remedy: 'give the processor a new name, with `start` where it is to begin',
    exitCode: 2,
  })
}
