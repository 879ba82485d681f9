/** Stands where a processor stands: joins as it is told, keeps what it is given. */
import { defineActor } from '../../src/actor/actor.js'
import type { LaneVector } from '../../src/checkpoint/checkpoint.js'
import type { Assigned, ConsumerMessage, ProcessorMessage } from '../../src/partition/owner.js'

export const given: Assigned[] = []

export type ProcessorStubMessage =
  | ProcessorMessage
  | { readonly type: 'join-with'; readonly session: number; readonly lanes?: LaneVector | null }
  | { readonly type: 'end'; readonly session: number; readonly sequence: number }

export const processorStub = defineActor<{ readonly consumer: string }, ProcessorStubMessage>(
  { module: import.meta.url, export: 'processorStub' },
  (context, { consumer: path }) => {
    const consumer = context.ref<ConsumerMessage>(path)
    return {
      receive(message) {
        switch (message.type) {
          case 'work':
            given.push(...message.frames)
            return
          case 'join-with': {
            const { session, lanes } = message
            const join = { type: 'join', processor: 'p', path: context.path, session } as const
            consumer.tell(lanes === undefined ? join : { ...join, lanes })
            return
          }
          case 'end':
            consumer.tell({ type: 'done', processor: 'p', sequence: message.sequence, session: message.session })
            return
        }
      },
    }
  },
)
