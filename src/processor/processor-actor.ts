/**
 * The processor actor: one processor in one partition, with its handler's resources and its sink's connection.
 *
 * Everything that it needs is opened in `start` and closed in `stop`. A sink that fails, or a resource that cannot be
 * opened, ends the actor; its supervisor starts it again with back-off, and the consumer gives it what it had not finished.
 * A sink that stores the checkpoint is sealed before the consumer is asked for work, and tells it where the work begins.
 */
import { type ActorContext, defineActor } from '../actor/actor.js'
import { deadLetterPath, letterOf, openDeadLetters } from '../deadletter/store.js'
import type { ChangeEvent, Marker } from '../event/event.js'
import { createMatcher, type Filter } from '../partition/filter.js'
import { type ConsumerMessage, incarnationOf, type ProcessorMessage } from '../partition/owner.js'
import type { SinkDefinition } from '../sink/definition.js'
import { sinkDriver } from '../sink/drivers.js'
import type { FencedWriter, SinkContext } from '../sink/sink.js'
import { TroupeError } from '../world/error.js'
import type { World } from '../world/world.js'
import type { RetryDefinition } from './definition.js'
import { createExecutor } from './executor.js'
import { createFencedOutput, type FencedOutput } from './fenced-output.js'
import { type HandlerRef, loadHandler } from './load.js'
import { createOutput, type Output } from './output.js'
import type { ProcessorContext } from './processor.js'

export interface ProcessorArgs {
  readonly pipeline: string
  readonly processor: string
  readonly set: string
  readonly partition: number
  /** Of the set. */
  readonly partitions: number
  readonly order: 'key' | 'none' | 'global'
  readonly concurrency: number
  readonly filter: Filter
  /** Null: the event goes to the sink as it is. */
  readonly handler: HandlerRef | null
  readonly sink: SinkDefinition | null
  readonly retry: RetryDefinition
  readonly onFailure: 'dead-letter' | 'stop'
  readonly dataDirectory: string
  readonly consumer: string
  /**
   * Cluster: the actor that is asked, before anything is opened (modules are loaded meanwhile), whether this node still owns the partition. A zombie that
   * wakes with its connections closed must not open them anew, for that ends those of its successor.
   */
  readonly permit?: string | null
}

/** ms for a read of the checkpoint, behind an election of the log's leader. */
const permitWithin = 30_000

export const processor = defineActor<ProcessorArgs, ProcessorMessage>(
  { module: import.meta.url, export: 'processor' },
  async (context: ActorContext<ProcessorMessage>, args) => {
    const { world, log } = context
    const [handler, driver] = await Promise.all([
      args.handler === null ? null : loadHandler(args.handler),
      args.sink === null ? null : sinkDriver(args.sink.kind),
      typeof args.permit === 'string' ? context.ref(args.permit).ask({ type: 'still-owner' }, permitWithin) : null,
    ])
    const session = incarnationOf(world)
    const consumer = context.ref<ConsumerMessage>(args.consumer)
    const letters = openDeadLetters(deadLetterPath(args.dataDirectory, args.processor, args.set, args.partition))
    const about: ProcessorContext = {
      pipeline: args.pipeline,
      processor: args.processor,
      partition: args.partition,
      world,
      log,
      signal: context.signal,
    }
    const resources: unknown = handler?.open === undefined ? undefined : await handler.open(about)
    let deadLetters = 0
    let stoppedBy: string | null = null

    /** Dead-letters the event, or holds its key for ever, which stops the partition when its credits are used up. */
    async function giveUp(event: ChangeEvent, error: unknown, attempts: number, stage: 'handler' | 'sink') {
      if (args.onFailure === 'stop') {
        stoppedBy = `${event.id}: ${error instanceof Error ? error.message : String(error)}`
        log.error(
          { processor: args.processor, partition: args.partition, event: event.id, error },
          'the partition has stopped: an event failed and onFailure is stop; mend the cause and start again',
        )
        executor.halt()
        output?.halt()
        consumer.tell({ type: 'halted' })
        return new Promise<void>(() => {})
      }
      const letter = letterOf(event, error, {
        at: new Date(world.now()).toISOString(),
        pipeline: args.pipeline,
        processor: args.processor,
        set: args.set,
        partition: args.partition,
        stage,
        attempts,
      })
      await letters.append(letter)
      deadLetters++
      log.warn({ processor: args.processor, event: event.id, attempts, cause: letter.cause.message }, 'dead letter')
    }

    async function marked({ marker }: Marker): Promise<void> {
      if (marker.kind !== 'loss-window') return
      try {
        await handler!.lossWindow!(marker.window, resources, about)
      } catch (error) {
        log.error({ processor: args.processor, window: marker.window, error }, 'the handler of loss windows has failed')
      }
    }

    const opened = await openOutput()
    const output = opened?.output ?? null

    async function openOutput(): Promise<Opened | null> {
      if (args.sink === null || driver === null) return null
      const about: SinkContext = {
        world,
        log,
        pipeline: args.pipeline,
        processor: args.processor,
        set: args.set,
        partition: args.partition,
        partitions: args.partitions,
        fail: (error) => context.exit(error),
      }
      const handlers = {
        refused: (event: ChangeEvent, error: Error) => giveUp(event, error, 1, 'sink'),
        failed: (error: Error) => context.exit(error),
      }
      if (driver.guarantee(args.sink) === 'exactly-once') {
        const writer = await driver.openFenced!(args.sink, about)
        const committed = (frames: number) => executor.committed(frames)
        return { output: createFencedOutput({ writer, committed, ...handlers }), sealed: writer }
      }
      const writer = await driver.open!(args.sink, about)
      return { output: createOutput({ writer, settled: () => executor.settled(), ...handlers }), sealed: null }
    }

    const executor = createExecutor({
      world,
      order: args.order,
      concurrency: args.order === 'global' ? 1 : args.concurrency,
      matcher: createMatcher(args.filter),
      retry: args.retry,
      handle: handler === null ? null : (event) => handler.handle(event, resources, about),
      output,
      marked: handler?.lossWindow === undefined ? null : marked,
      finished: (sequence) => consumer.tell({ type: 'done', processor: args.processor, sequence, session }),
      exhausted: (event, error, attempts) => giveUp(event, error, attempts, 'handler'),
      failed: (error) => context.exit(error),
    })

    const sealed = opened?.sealed ?? null
    const join = { type: 'join', processor: args.processor, path: context.path, session } as const
    if (!consumer.tell(sealed === null ? join : { ...join, lanes: sealed.lanes }))
      throw new TroupeError({
        code: 'no-consumer',
        message: 'the consumer of the partition is gone',
        place: context.path,
      })

    /** A commit that is under way may name items that it could not write: their frames must still be open then. */
    async function settleOutput(): Promise<void> {
      if (output?.kind !== 'fenced') return
      output.halt()
      await output.settle()
    }

    return {
      receive(message) {
        if (message.session === session) executor.add(message.frames)
      },
      async stop() {
        // A handler that still runs must not land behind the event that follows it in the next incarnation.
        await withinLimit(world, executor.settle().then(settleOutput))
        executor.stop()
        output?.halt()
        await output?.close()
        if (handler?.close !== undefined) await handler.close(resources)
        await letters.close()
      },
      inspect: () => ({
        processor: args.processor,
        set: args.set,
        partition: args.partition,
        ...executor.figures(),
        emitted: output?.emitted ?? 0,
        sinkInFlight: output?.inFlight ?? 0,
        deadLetters,
        stoppedBy,
        sinkTerm: sealed?.term ?? null,
      }),
    }
  },
)

interface Opened {
  readonly output: Output | FencedOutput
  /** Of a sink that stores the checkpoint. */
  readonly sealed: FencedWriter | null
}

/** ms that running handlers get to end, less than the actor's own deadline: frames must be closed in any case. */
const settleWithin = 4_000

function withinLimit(world: World, work: Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    const timer = world.setTimer(settleWithin, resolve, { background: true })
    work.then(() => {
      timer.cancel()
      resolve()
    })
  })
}
