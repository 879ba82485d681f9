/**
 * The embedded log as an actor: drives the state machine of memory.ts and is the one writer of the checkpoints.
 *
 * A checkpoint is written at most once an interval, or at once when 64 MiB were finished, when a barrier or the end of
 * the pipeline is waiting for it. Sources hear of a confirmation only after the store has said `durable`.
 */
import { type ActorContext, defineActor, type Ref } from '../actor/actor.js'
import type { CheckpointStore, ProcessorCheckpoint, ReaderCheckpoint } from '../checkpoint/checkpoint.js'
import { openLmdbStore } from '../checkpoint/lmdb.js'
import { readFrameHeader } from '../event/open.js'
import { comparePositions, formatPosition } from '../event/position.js'
import { TroupeError } from '../world/error.js'
import { sleep } from '../world/sleep.js'
import type { LogMessage, OwnerMessage, PartitionSet, ReaderMessage } from './log.js'
import { partitionKey } from './log.js'
import { createMemoryLog, type Delivery, type MemoryLog, type Return } from './memory.js'

export interface LogArgs {
  readonly dataDirectory: string
  readonly sets: readonly PartitionSet[]
  readonly sources: readonly string[]
  /** ms between checkpoints. */
  readonly checkpointInterval: number
  /** For chaos: ms that every flush is late. */
  readonly flushDelay: number
}

/** A checkpoint is due when this much was finished since the last one. */
const checkpointBytes = 64 * 1024 * 1024

export const log = defineActor<LogArgs, LogMessage>(
  { module: import.meta.url, export: 'log' },
  async (context, args) => {
    const store = openLmdbStore(args.dataDirectory)
    const machine = await load(store, args, context)
    const readers = new Map<string, Ref<ReaderMessage>>()
    const owners = new Map<string, { readonly ref: Ref<OwnerMessage>; readonly session: number }>()
    let sessions = 0
    /** Somebody waits for this append to be confirmed: until then checkpoints follow each other. */
    let hurriedFor = 0
    const hurried = () => machine.oldestReceipt <= hurriedFor
    let appends = 0
    let checkpoints = 0
    let durableAt: number | null = null

    const toReader = (source: string, message: ReaderMessage) => {
      readers.get(source)?.tell(message)
    }
    const toOwner = (key: string, message: OwnerMessage) => {
      owners.get(key)?.ref.tell(message)
    }
    const deliver = (deliveries: readonly Delivery[]) => {
      for (const { set, partition, frames } of deliveries)
        toOwner(partitionKey(set, partition), { type: 'frames', frames })
    }
    const giveBack = (returns: readonly Return[]) => {
      for (const { source, term, bytes, slabs } of returns) toReader(source, { type: 'returned', term, bytes, slabs })
    }

    function checkpoint(): void {
      const flush = machine.beginFlush()
      if (flush === null) return
      const write = async () => {
        if (args.flushDelay > 0) await sleep(context.world, args.flushDelay)
        await store.commit(flush.batch)
      }
      write().then(
        () => context.self.tell({ type: 'flushed', number: flush.number }),
        (error: Error) => context.self.tell({ type: 'flush-failed', error }),
      )
    }

    function schedule(): void {
      context.startTimer('checkpoint', args.checkpointInterval, { type: 'checkpoint-due' })
    }
    schedule()

    return {
      receive(message) {
        switch (message.type) {
          case 'append': {
            const headers = message.frames.map((place) =>
              readFrameHeader(Buffer.from(message.slab!.memory), place.offset),
            )
            const deliveries = machine.append(message, headers)
            if (deliveries === null) {
              context.log.warn(
                { source: message.source, term: message.term },
                'an append was refused: it comes from an older reader, or one before it is missing',
              )
              return
            }
            appends++
            deliver(deliveries)
            if (hurried()) checkpoint()
            return
          }
          case 'finished':
            if (owners.get(partitionKey(message.set, message.partition))?.session !== message.session) return
            giveBack(machine.finished(message.set, message.partition, message.processor, message.sequence))
            if (hurried() || machine.finishedBytes >= checkpointBytes) checkpoint()
            return
          case 'halted':
            if (owners.get(partitionKey(message.set, message.partition))?.session !== message.session) return
            machine.halted(message.set, message.partition)
            return
          case 'attach': {
            const session = ++sessions
            owners.set(partitionKey(message.set, message.partition), {
              ref: context.ref(message.owner),
              session,
            })
            const attached = machine.attach(message.set, message.partition)
            context
              .ref<OwnerMessage>(message.owner)
              .tell({ type: 'attached', token: message.token, session, ...attached })
            return
          }
          case 'open-reader': {
            const { opened, batch } = machine.openReader(message.source)
            readers.set(message.source, context.ref(message.reader))
            return store.commit(batch).then(() => opened)
          }
          // One process, one log: who could ask is the one reader.
          case 'still-owner':
            return true
          case 'discharge':
            machine.discharge(message.source, message.term, message.receipts)
            return
          case 'hurry':
            hurriedFor = machine.lastReceipt
            checkpoint()
            return
          case 'checkpoint-due':
            checkpoint()
            schedule()
            return
          case 'flushed':
            checkpoints++
            durableAt = context.world.monotonic()
            for (const { source, ...confirmation } of machine.completeFlush(message.number))
              toReader(source, { type: 'confirmed', ...confirmation })
            if (hurried()) checkpoint()
            return
          case 'flush-failed':
            throw new TroupeError({
              code: 'checkpoint-failed',
              message: `a checkpoint could not be written: ${message.error.message}`,
              place: args.dataDirectory,
              remedy: 'look at the free space and the permissions of the data directory',
              cause: message.error,
            })
          case 'drain':
            hurriedFor = machine.lastReceipt
            checkpoint()
            return machine.drained
        }
      },
      async stop() {
        await store.close()
      },
      inspect() {
        return {
          appends,
          checkpoints,
          checkpointAgeMs: durableAt === null ? null : context.world.monotonic() - durableAt,
          ...machine.figures(),
        }
      },
    }
  },
)

async function load(store: CheckpointStore, args: LogArgs, context: ActorContext<LogMessage>): Promise<MemoryLog> {
  const layout = Object.fromEntries(args.sets.map((set) => [set.name, set.partitions]))
  const known = await store.layout()
  if (!sameLayout(known, layout)) {
    if (known !== null)
      context.log.warn(
        { before: known, now: layout },
        'the partitions have changed: unconfirmed events will come again',
      )
    await store.relayout(layout)
  }
  const readers: ReaderCheckpoint[] = []
  for (const source of args.sources) {
    const reader = await store.reader(source)
    if (reader !== null) readers.push(reader)
  }
  const processors = await store.processors()
  refuseReturned(processors, args.sets, readers)
  return createMemoryLog({ sets: args.sets, processors, readers })
}

/**
 * A processor that was left out for a while and comes back under its old name: what passed meanwhile is confirmed and
 * gone. To go on silently would hide that.
 */
function refuseReturned(
  processors: readonly ProcessorCheckpoint[],
  sets: readonly PartitionSet[],
  readers: readonly ReaderCheckpoint[],
): void {
  for (const { processor, set, partition, lanes } of processors) {
    if (!sets.some((one) => one.name === set && one.processors.includes(processor))) continue
    for (const { previous, source } of readers)
      for (const [lane, confirmed] of Object.entries(previous[partitionKey(set, partition)] ?? {})) {
        const own = lanes[lane]
        if (own === undefined || own.epoch !== confirmed.epoch) continue
        if (comparePositions(own.position, confirmed.position) >= 0) continue
        throw new TroupeError({
          code: 'processor-was-away',
          message: `it ended at ${formatPosition(own.position)} of ${lane}; events up to ${formatPosition(confirmed.position)} passed without it and are gone`,
          place: `processor ${processor}, source ${source}`,
          remedy: 'give it a new name to begin at the present; a name stands for what was processed under it',
          exitCode: 2,
          permanent: true,
        })
      }
  }
}

function sameLayout(a: Readonly<Record<string, number>> | null, b: Readonly<Record<string, number>>): boolean {
  if (a === null) return false
  const names = Object.keys(a)
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name])
}
