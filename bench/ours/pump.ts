/** Stands where a reader stands: sends prepared frames to the log, as fast as credits come back, round by round. */
import { defineActor } from '../../src/actor/actor.js'
import type { LogMessage, Opened, ReaderMessage } from '../../src/log/log.js'
import { cpuMs, now } from '../harness/tally.js'
import { buildFrames, runtimeSource, stampEpoch } from '../workload/frames.js'

export interface PumpArgs {
  readonly log: string
  readonly events: number
}

export interface Round {
  readonly elapsedMs: number
  readonly cpuMs: number
}

export type PumpMessage =
  | ReaderMessage
  /** Sends all frames once. */
  | { readonly type: 'round' }
  /** Ask: the round, when every processor has finished all frames of it; null before. */
  | { readonly type: 'result' }

/** Bytes that may be unfinished at once: what a pipeline of this many partitions allows a reader. */
const credits = 24 * 1024 * 1024

export const pump = defineActor<PumpArgs, PumpMessage>(
  { module: import.meta.url, export: 'pump' },
  async (context, args) => {
    const log = context.ref<LogMessage>(args.log)
    const opened = await log.ask<Opened>(
      { type: 'open-reader', source: runtimeSource, reader: context.path, obliges: false },
      30_000,
    )
    const flushes = buildFrames(args.events)
    let epoch = 0n
    let number = 0
    let next = flushes.length
    let outstanding = 0
    let began = { at: 0, cpu: 0 }
    let result: Round | null = null

    function send(): void {
      while (next < flushes.length && outstanding < credits) {
        const { slab, frames, bytes } = flushes[next++]!
        outstanding += bytes
        log.tell({
          type: 'append',
          source: runtimeSource,
          term: opened.term,
          number: ++number,
          slab,
          frames,
          state: { number },
          obligation: null,
        })
      }
      if (next === flushes.length && outstanding === 0)
        result = { elapsedMs: now() - began.at, cpuMs: cpuMs() - began.cpu }
    }

    return {
      receive(message) {
        switch (message.type) {
          case 'round':
            stampEpoch(flushes, ++epoch)
            next = 0
            result = null
            began = { at: now(), cpu: cpuMs() }
            send()
            return
          case 'result':
            return result
          case 'returned':
            for (const { bytes } of message.bytes) outstanding -= bytes
            send()
            return
          case 'confirmed':
            return
        }
      },
    }
  },
)
