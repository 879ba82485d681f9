/** An owner of a partition in the simulated cluster: the real partition log, and models of its processors. */
import type { LaneVector } from '../../../src/checkpoint/checkpoint.js'
import type { FrameHeader } from '../../../src/event/frame.js'
import { dataView, head, headerBytes } from '../../../src/event/layout.js'
import { readFrameHeader } from '../../../src/event/open.js'
import { comparePositions, type Position } from '../../../src/event/position.js'
import type { StreamNames } from '../../../src/log/jetstream/names.js'
import { createPartitionLog, type PartitionLog } from '../../../src/log/jetstream/partition.js'
import { nothingLeft } from '../../../src/log/jetstream/partition-actor.js'
import type { StreamPort } from '../../../src/log/jetstream/port.js'
import type { DeliveredFrame } from '../../../src/log/log.js'
import { afterFrame, placeFrame } from '../../../src/partition/progress.js'
import { TroupeError } from '../../../src/world/error.js'
import type { SimulatedWorld } from '../../../src/world/simulated.js'
import type { Target } from './effects.js'
import type { Life } from './node.js'
import { silent } from './silent.js'
import type { Change, Truth } from './sources.js'
import { type Unit, watched } from './unit.js'

export interface OwnerUnitInit {
  readonly resource: string
  readonly scope: string
  readonly partition: number
  readonly life: Life
  readonly owner: string
  readonly world: SimulatedWorld
  readonly stream: StreamPort
  readonly names: StreamNames
  readonly targets: readonly Target[]
  readonly truth: Truth
  readonly holdback: number
  readonly retain: number
  readonly window: number
  readonly checkpointInterval: number
  readonly planted: readonly string[]
  readonly ended: (error: Error | null) => void
}

/** Frames that a processor takes in one step. */
const stepFrames = 8

interface Worker {
  readonly target: Target
  deliver(frames: readonly DeliveredFrame[]): void
  readonly busy: boolean
  stop(): void
}

export function startOwner(init: OwnerUnitInit): Unit {
  const { life, targets, world } = init
  const { port, busy } = watched(init.stream)
  const workers = new Map<string, Worker>()
  let over = false
  let failure: TroupeError | null = null
  let closing = false
  let opened = false
  let slowness = 1

  function end(error: Error | null): void {
    if (over) return
    over = true
    failure = error instanceof TroupeError ? error : null
    for (const worker of workers.values()) worker.stop()
    void log.close(0)
    init.ended(error)
  }

  const log: PartitionLog = createPartitionLog({
    world: life.world,
    log: silent,
    stream: port,
    names: init.names,
    scope: init.scope,
    partition: init.partition,
    processors: targets.map(({ processor }) => ({ name: processor, start: 'earliest' as const })),
    owner: init.owner,
    checkpointInterval: init.checkpointInterval,
    holdback: init.holdback,
    retain: init.retain,
    window: init.window,
    deliver: (processor, frames) => workers.get(processor)?.deliver(frames),
    failed: end,
    planted: init.planted,
  })

  let incarnations = 0
  function startWorker(target: Target): void {
    const worker = createWorker({
      ...init,
      target,
      incarnation: `${init.owner}.${++incarnations}`,
      slowness: () => slowness,
      attach: () => log.attach(target.processor),
      finished: (sequence) => {
        if (!over) log.finished(target.processor, sequence)
      },
      fenced: () => end(new TroupeError({ code: 'fenced', message: 'the target was sealed by another owner' })),
      failed: end,
    })
    workers.set(target.processor, worker)
  }

  log.open().then(() => {
    if (over) return
    opened = true
    for (const target of targets) startWorker(target)
  }, end)

  return {
    resource: init.resource,
    life,
    owner: init.owner,
    get over() {
      return over || life.dead
    },
    get failure() {
      return failure
    },
    state() {
      if (closing) return 'handing-over'
      if (!opened) return 'sealing'
      if (busy()) return 'checkpointing'
      for (const worker of workers.values()) if (worker.busy) return 'processing'
      return 'idle'
    },
    async close(deadlineMs) {
      if (over || closing) return false
      closing = true
      await log.close(deadlineMs)
      const clean = nothingLeft(log.figures())
      end(null)
      return clean
    },
    kill: () => end(new Error('killed')),
    hurry: () => void log.checkpoint(),
    disturb() {
      if (!opened || over) return false
      const target = targets[world.pick(targets.length)]!
      workers.get(target.processor)?.stop()
      workers.delete(target.processor)
      life.world.setTimer(20 + world.random() * 300, () => {
        if (!over) startWorker(target)
      })
      return true
    },
    slow(factor) {
      slowness = factor
      return true
    },
  }
}

interface WorkerInit {
  readonly target: Target
  readonly life: Life
  readonly world: SimulatedWorld
  readonly truth: Truth
  readonly incarnation: string
  readonly slowness: () => number
  readonly attach: () => ReturnType<PartitionLog['attach']>
  readonly finished: (sequence: number) => void
  readonly fenced: () => void
  readonly failed: (error: Error) => void
}

/** A processor: places each frame, writes its changes to the target, then says that it has finished. */
function createWorker(init: WorkerInit): Worker {
  const { target, life, world, truth, incarnation } = init
  const queue: DeliveredFrame[] = []
  let lanes: LaneVector = {}
  let busy = false
  let stopped = false
  let ready = false
  const hop = (): number => 0.2 + world.random() * 3

  function work(): void {
    if (busy || stopped || !ready || queue.length === 0) return
    busy = true
    const frames = queue.splice(0, 1 + world.pick(stepFrames))
    const changes: Change[] = []
    for (const frame of frames) {
      const header = readFrameHeader(Buffer.from(frame.memory), frame.offset)
      const placed = place(header, frame.mark!, lanes)
      if (placed === 'gap') {
        init.failed(new TroupeError({ code: 'log-gap', message: `a frame of ${header.lane.source} does not join on` }))
        return
      }
      if (placed === null) continue
      collect(frame, header, placed, truth, changes)
      lanes = afterFrame(header, lanes, frame.mark)
    }
    const after = lanes
    const last = frames.at(-1)!.sequence
    // On the way, at the target, and back.
    life.world.setTimer(world.random() * 12 * init.slowness(), () => {
      if (stopped) return
      world.setTimer(hop(), () => {
        const taken = target.write(incarnation, changes, after)
        world.setTimer(hop(), () =>
          life.arrive(() => {
            if (stopped) return
            busy = false
            if (!taken) return init.fenced()
            report(last)
            work()
          }),
        )
      })
    })
  }

  /** Reports are late, and keep their order. */
  let due = 0
  function report(sequence: number): void {
    due = Math.max(due, life.world.monotonic() + world.random() * 20)
    life.world.setTimer(due - life.world.monotonic(), () => {
      if (!stopped) init.finished(sequence)
    })
  }

  function begin(known: LaneVector): void {
    const attached = init.attach()
    lanes = target.kind === 'fenced' ? known : attached.lanes
    queue.push(...attached.frames)
    ready = true
    work()
  }

  if (target.kind === 'plain') life.world.defer(() => !stopped && begin({}))
  else
    world.setTimer(hop(), () => {
      const known = target.seal(incarnation)
      world.setTimer(hop(), () => life.arrive(() => !stopped && begin(known)))
    })

  return {
    target,
    deliver(frames) {
      if (!ready || stopped) return
      queue.push(...frames)
      work()
    },
    get busy() {
      return busy
    },
    stop() {
      stopped = true
    },
  }
}

/** Null: nothing of it is new. A position: what is behind it is new. */
function place(header: FrameHeader, mark: Position, lanes: LaneVector): Position | 'all' | 'gap' | null {
  const placement = placeFrame(header, lanes, mark)
  if (placement.kind === 'gap') return 'gap'
  if (placement.kind === 'none') return null
  return placement.kind === 'all' ? 'all' : placement.after
}

function collect(
  frame: DeliveredFrame,
  header: FrameHeader,
  from: Position | 'all',
  truth: Truth,
  into: Change[],
): void {
  const view = dataView(new Uint8Array(frame.memory, frame.offset, frame.length))
  for (let index = 0, at = headerBytes; index < header.count; index++) {
    const major = view.getUint32(at + head.major, true)
    const minor = view.getUint32(at + head.minor, true)
    at += view.getUint32(at + head.length, true)
    if (from !== 'all' && comparePositions({ major: BigInt(major), minor: BigInt(minor), part: 0 }, from) <= 0) continue
    into.push(truth.at(header.lane.source, major, minor)!)
  }
}
