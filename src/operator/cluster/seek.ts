/**
 * Puts a processor elsewhere in the log: its checkpoints are written anew, all partitions in one atomic batch, each over the
 * very checkpoint that was looked at. An owner that is at work can not write over them any more: it finishes what the
 * other processors have in hand, and begins anew from there.
 *
 * Only a paused processor is moved. Refused where it would lose events: going on beyond what was finished takes a count, and
 * back beyond what the log retains is impossible. A sink that stores the checkpoint itself cannot be moved from here.
 */
import { comparePositions, formatPosition } from '../../event/position.js'
import { seekOwner } from '../../log/jetstream/fence.js'
import { decodeOwnership } from '../../log/jetstream/stored.js'
import { partitionKey } from '../../log/log.js'
import { partitionResource } from '../../membership/port.js'
import { partitionSets } from '../../pipeline/graph.js'
import { sinkDriver } from '../../sink/drivers.js'
import { messageOf, TroupeError } from '../../world/error.js'
import { sleep } from '../../world/sleep.js'
import { type FoundCheckpoint, readCheckpoints } from './checkpoints.js'
import { answerWithin, type ClusterAccess } from './connect.js'
import { mustHaveProcessor } from './orders.js'
import { readRetained } from './retained.js'
import { placeIn, type Retained, type RetainedFrame, type SeekTarget, slowestOf } from './seek-target.js'
import { unseen, writePlaces } from './seek-write.js'
import { lookAtBucket, type Snapshot } from './snapshot.js'

export interface SeekRequest {
  readonly processor: string
  readonly to: SeekTarget
  /** Most events that may be passed over. */
  readonly skip: number
}

export interface Sought {
  readonly processor: string
  readonly partitions: readonly {
    /** `set.partition`. */
    readonly partition: string
    readonly from: number
    readonly to: number
    /** Events that come again, and that never come. */
    readonly again: number
    readonly skipped: number
    /** `owner`: it has begun anew; `free`: whoever takes it will; `unanswered`: its owner has not said so in time. */
    readonly takenUp: 'owner' | 'free' | 'unanswered' | 'unchanged'
  }[]
}

interface Move {
  readonly key: string
  readonly set: string
  readonly partition: number
  readonly subject: string
  readonly found: FoundCheckpoint | undefined
  readonly from: number
  readonly to: number
  readonly again: number
  readonly skipped: number
  /** The first that comes again; it must still be there when the owner has begun anew. */
  readonly next: number | null
}

const attempts = 5
/** ms that the owners have to begin anew. */
const takeUpWithin = 20_000
const lookEvery = 250

/** @throws TroupeError `unknown-processor`, `processor-not-paused`, `sink-has-checkpoint`, `seek-outside`, `seek-skips`, … */
export async function seek(access: ClusterAccess, request: SeekRequest): Promise<Sought> {
  const owner = `${seekOwner}${Buffer.from(access.world.randomBytes(9)).toString('base64url')}`
  for (let attempt = 0; attempt < attempts; attempt++) {
    const snapshot = await mayMove(access, request.processor)
    const moves = await plan(access, request, snapshot)
    const changed = moves.filter(({ from, to }) => from !== to)
    if (changed.length > 0 && !(await writePlaces(access, changed, owner))) continue
    return await takenUp(access, request.processor, moves, snapshot)
  }
  throw new TroupeError({
    code: 'order-contended',
    message: 'the checkpoints moved each time between the look and the write',
    place: `processor ${request.processor}`,
    remedy: 'wait until it rests: `troupe status` shows whether its checkpoints move; then seek again',
  })
}

async function mayMove(access: ClusterAccess, processor: string): Promise<Snapshot> {
  const { definition } = access
  const place = `processor ${processor}`
  mustHaveProcessor(access, processor)
  const { sink } = definition.processors[processor]!
  if (sink !== null && (await sinkDriver(sink.kind)).guarantee(sink) === 'exactly-once')
    throw new TroupeError({
      code: 'sink-has-checkpoint',
      message:
        'its sink stores the checkpoint with the work, and that alone says what it takes: a seek would change nothing, or leave a gap',
      place,
      remedy: 'to fill a target anew, give the processor a new name and a new target (docs/cli.md)',
      exitCode: 2,
    })
  const snapshot = await lookAtBucket(access)
  const orders = snapshot.observer.orders()
  if (!orders.pausePipeline && !orders.pausedProcessors.has(processor))
    throw new TroupeError({
      code: 'processor-not-paused',
      message: 'only a paused processor can be put elsewhere',
      place,
      remedy: `troupe pause FILE ${processor}, then seek, then troupe resume FILE ${processor}`,
      exitCode: 2,
    })
  return snapshot
}

async function plan(access: ClusterAccess, request: SeekRequest, { serverTime }: Snapshot): Promise<Move[]> {
  const { definition, names } = access
  const { processor } = request
  const target = withSource(access, request)
  const checkpoints = await readCheckpoints(access)
  const moves: Move[] = []
  const refused: string[] = []
  let last: RetainedFrame | null = null
  for (const { name: set, partitions, processors } of partitionSets(definition)) {
    if (!processors.includes(processor)) continue
    for (let partition = 0; partition < partitions; partition++) {
      const here = checkpoints.filter((one) => one.set === set && one.partition === partition)
      const found = here.find((one) => one.processor === processor)
      const from = found?.stored.sequence ?? 0
      const frames = await readRetained(access, processor, set, partition)
      const retained: Retained = {
        frames,
        checkpoint: from,
        slowest: slowestOf(here.map(({ stored }) => stored.sequence)),
        finishedOf: new Set(here.flatMap(({ stored }) => Object.keys(stored.marks))),
      }
      for (const frame of frames)
        if (target.kind === 'position' && frame.source === target.source)
          if (last === null || comparePositions(frame.last, last.last) > 0) last = frame
      const placed = placeIn(retained, target, serverTime)
      const key = partitionKey(set, partition)
      if (placed.kind === 'outside') {
        refused.push(`partition ${key}: ${placed.why}`)
        continue
      }
      const subject = names.processor(processor, set, partition)
      moves.push({ key, set, partition, subject, found, ...moveOf(frames, from, placed.sequence) })
    }
  }
  if (target.kind === 'position' && (last === null || comparePositions(last.last, target.position) < 0))
    refused.push(
      last === null
        ? `nothing of source ${target.source} is in the log`
        : `source ${target.source} is in the log up to ${formatPosition(last.last)}`,
    )
  if (refused.length > 0) throw outsideError(processor, refused)
  const skipped = moves.reduce((sum, move) => sum + move.skipped, 0)
  if (skipped > request.skip) throw skipsError(processor, skipped, moves)
  return moves
}

/** Between two places without a frame there is no difference. */
function moveOf(frames: readonly RetainedFrame[], from: number, sequence: number) {
  const between = frames.filter(
    (frame) => frame.sequence > Math.min(from, sequence) && frame.sequence <= Math.max(from, sequence),
  )
  const events = between.reduce((sum, frame) => sum + frame.events, 0)
  const to = between.length === 0 ? from : sequence
  const back = to < from
  return {
    from,
    to,
    again: back ? events : 0,
    skipped: to > from ? events : 0,
    next: back ? between[0]!.sequence : null,
  }
}

function withSource({ definition }: ClusterAccess, { processor, to }: SeekRequest): SeekTarget {
  if (to.kind !== 'position') return to
  const { from } = definition.processors[processor]!
  const sources = from.length === 0 ? Object.keys(definition.sources) : from
  const source = to.source ?? (sources.length === 1 ? sources[0]! : null)
  if (source !== null && sources.includes(source)) return { ...to, source }
  throw new TroupeError({
    code: 'usage',
    message: source === null ? 'the position is of which source?' : `the processor reads no source '${source}'`,
    place: `processor ${processor}`,
    remedy: `write SOURCE:POSITION; it reads ${sources.join(', ')}`,
    exitCode: 2,
  })
}

/** Tells the owners, and waits until they have begun anew. */
async function takenUp(
  access: ClusterAccess,
  processor: string,
  moves: readonly Move[],
  { observer, now }: Snapshot,
): Promise<Sought> {
  const { link, names, stream, world } = access
  const changed = moves.filter(({ from, to }) => from !== to)
  const held = changed.filter(
    ({ set, partition }) => observer.lease(partitionResource(set, partition), now).state === 'held',
  )
  const until = world.monotonic() + takeUpWithin
  let open = held
  try {
    while (open.length > 0 && world.monotonic() < until) {
      link.connection.publish(names.sought)
      await sleep(access.world, lookEvery)
      const still: Move[] = []
      for (const move of open) {
        const found = await stream.last(move.subject, answerWithin)
        if (found !== null && decodeOwnership(found.payload, found.subject).owner.startsWith(seekOwner))
          still.push(move)
      }
      open = still
    }
    await mustBeThere(access, processor, changed)
  } catch (error) {
    if (error instanceof TroupeError && error.code === 'seek-overtaken') throw error
    throw unseen(
      `processor ${processor}`,
      'it was moved, and whether its owners have begun anew is not known',
      messageOf(error),
    )
  }
  return {
    processor,
    partitions: moves.map((move) => ({
      partition: move.key,
      from: move.from,
      to: move.to,
      again: move.again,
      skipped: move.skipped,
      takenUp: !changed.includes(move)
        ? 'unchanged'
        : open.includes(move)
          ? 'unanswered'
          : held.includes(move)
            ? 'owner'
            : 'free',
    })),
  }
}

/** An owner may have trimmed while it did not know. */
async function mustBeThere({ stream, names }: ClusterAccess, processor: string, moves: readonly Move[]): Promise<void> {
  const gone: string[] = []
  for (const { key, set, partition, next } of moves)
    if (next !== null && (await stream.at(next, answerWithin))?.subject !== names.frames(set, partition)) gone.push(key)
  if (gone.length === 0) return
  throw new TroupeError({
    code: 'seek-overtaken',
    message: `it was put back, but meanwhile the log was trimmed in ${gone.join(', ')}: part of what was to come again does not`,
    place: `processor ${processor}`,
    remedy: 'set cluster.retain, so that the log keeps what is finished',
  })
}

function outsideError(processor: string, refused: readonly string[]): TroupeError {
  return new TroupeError({
    code: 'seek-outside',
    message: ['the log does not hold everything behind that place, and nothing was moved:', ...refused].join('\n  '),
    place: `processor ${processor}`,
    remedy: '`--to earliest` goes back as far as the log does; cluster.retain keeps what is finished',
    exitCode: 2,
  })
}

function skipsError(processor: string, skipped: number, moves: readonly Move[]): TroupeError {
  const where = moves.filter((move) => move.skipped > 0).map((move) => `${move.skipped} in ${move.key}`)
  return new TroupeError({
    code: 'seek-skips',
    message: `${skipped} events that it has not finished would be lost to it (${where.join(', ')}); nothing was moved`,
    place: `processor ${processor}`,
    remedy: `--skip ${skipped} if that is what you want`,
    exitCode: 2,
  })
}
