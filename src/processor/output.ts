/**
 * The output of one processor instance: gathers what its handler emits into batches for the sink, in order, with a
 * bounded number of batches in flight, and tells whose events have arrived. (Before a sink that stores the checkpoint with
 * the work stands fenced-output.ts.)
 *
 * While a batch is on its way the next one grows: at low rates each event goes out at once, at high rates in full batches.
 */
import type { ChangeEvent } from '../event/event.js'
import type { SinkItem, SinkWriter } from '../sink/sink.js'
import { SinkRefusal } from '../sink/sink.js'

/** Something that counts the items it still waits for: a frame. */
export interface Holder {
  open: number
}

export interface OutputInit {
  readonly writer: SinkWriter
  /** Items of this holder have arrived at the sink: `open` was lowered. */
  readonly settled: () => void
  /** An item that the sink will never take. Resolves when it is dealt with; a rejection fails the processor. */
  readonly refused: (event: ChangeEvent, error: Error) => Promise<void>
  readonly failed: (error: Error) => void
}

export interface Output {
  readonly kind: 'plain'
  push(item: SinkItem, holder: Holder): void
  /** No more is coming for now: what is gathered may go. */
  flush(): void
  /** True while so much waits that the processor should stop scanning. */
  readonly full: boolean
  readonly emitted: number
  readonly inFlight: number
  /** Sends nothing more; what is in flight may arrive. */
  halt(): void
  close(): Promise<void>
}

interface Batch {
  items: SinkItem[]
  /** Runs of items of one holder. */
  holders: Holder[]
  counts: number[]
}

/** Full batches that may wait behind those in flight. */
const waitingBatches = 2

export function createOutput(init: OutputInit): Output {
  const { writer } = init
  const waiting: Batch[] = []
  let gathering = newBatch()
  let inFlight = 0
  let inFlightItems = 0
  let emitted = 0
  let halted = false

  function release(batch: Batch): void {
    for (let index = 0; index < batch.holders.length; index++) batch.holders[index]!.open -= batch.counts[index]!
  }

  /** What is refused is dealt with and never written again: its successors have taken effect. */
  async function write(batch: Batch): Promise<void> {
    try {
      await writer.write(batch.items)
      emitted += batch.items.length
    } catch (error) {
      if (!(error instanceof SinkRefusal)) throw error
      emitted += batch.items.length - error.refused.length
      for (const { index, message } of error.refused) {
        const item = batch.items[index]!
        await init.refused(item.type === 'record' ? item.event : item, new Error(message))
      }
    }
  }

  function send(batch: Batch): void {
    inFlight++
    inFlightItems += batch.items.length
    write(batch)
      .then(() => {
        inFlight--
        inFlightItems -= batch.items.length
        release(batch)
        next()
        init.settled()
      })
      .catch((error: Error) => {
        halted = true
        init.failed(error)
      })
  }

  function next(): void {
    if (halted) return
    while (waiting.length > 0 && inFlight < writer.maxInFlight) send(waiting.shift()!)
    if (waiting.length === 0 && inFlight === 0 && gathering.items.length > 0) {
      const batch = gathering
      gathering = newBatch()
      send(batch)
    }
  }

  return {
    kind: 'plain',
    push(item, holder) {
      holder.open++
      const last = gathering.holders.length - 1
      if (last >= 0 && gathering.holders[last] === holder) gathering.counts[last]!++
      else {
        gathering.holders.push(holder)
        gathering.counts.push(1)
      }
      gathering.items.push(item)
      if (gathering.items.length < writer.batchSize) return
      waiting.push(gathering)
      gathering = newBatch()
      next()
    },
    flush: next,
    get full() {
      return waiting.length >= waitingBatches
    },
    get emitted() {
      return emitted
    },
    get inFlight() {
      return inFlightItems + gathering.items.length + waiting.reduce((sum, batch) => sum + batch.items.length, 0)
    },
    halt() {
      halted = true
    },
    async close() {
      await writer.close()
    },
  }
}

function newBatch(): Batch {
  return { items: [], holders: [], counts: [] }
}
