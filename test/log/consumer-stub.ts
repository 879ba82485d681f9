/** Stands where a consumer stands, and where the control does, and finishes nothing by itself: a partition's log is told what the test says. */
import { defineActor } from '../../src/actor/actor.js'
import type { LogMessage, OwnerMessage } from '../../src/log/log.js'

export const heard: OwnerMessage[] = []

export type StubMessage =
  | OwnerMessage
  | { readonly type: 'tell-log'; readonly log: string; readonly message: LogMessage }
  | { readonly type: 'paused' }

export const consumerStub = defineActor<null, StubMessage>(
  { module: import.meta.url, export: 'consumerStub' },
  (context) => ({
    receive(message) {
      if (message.type === 'paused') return []
      if (message.type === 'tell-log') context.ref<LogMessage>(message.log).tell(message.message)
      else heard.push(message)
      return
    },
  }),
)
