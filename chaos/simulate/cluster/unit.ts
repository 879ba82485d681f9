/** What a node runs: a reader or the owner of a partition, from its seal to its end. */
import type { Outcome, StreamPort } from '../../../src/log/jetstream/port.js'
import type { TroupeError } from '../../../src/world/error.js'
import type { Life } from './node.js'

/** Where a fault can hit. */
export const unitStates = ['idle', 'sealing', 'storing', 'checkpointing', 'processing', 'handing-over'] as const
export type UnitState = (typeof unitStates)[number]

export interface Unit {
  readonly resource: string
  readonly life: Life
  readonly owner: string
  readonly over: boolean
  /** Why it ended; null: it has not, or was closed or killed. */
  readonly failure: TroupeError | null
  state(): UnitState
  /** Front to back, within the deadline; then it is over. True where it is known that nothing is left. */
  close(deadlineMs: number): Promise<boolean>
  /** At once, as the death of its actor. */
  kill(): void
  /** The owners' checkpoints are wanted now. */
  hurry(): void
  /** Its connection to the source, or a processor of it, is lost. Gives whether there was one. */
  disturb(): boolean
  /** Its processors take so many times longer. Gives whether it has any. */
  slow(factor: number): boolean
}

/** A port that knows whether a commit of this unit is under way. */
export function watched(port: StreamPort): { readonly port: StreamPort; readonly busy: () => boolean } {
  let under = 0
  return {
    port: {
      ...port,
      async commit(messages, deadlineMs): Promise<Outcome> {
        under++
        try {
          return await port.commit(messages, deadlineMs)
        } finally {
          under--
        }
      },
    },
    busy: () => under > 0,
  }
}
