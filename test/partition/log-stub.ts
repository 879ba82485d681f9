/** Stands where the log stands and keeps what it is told: an owner's side of the conversation, message by message. */
import { defineActor } from '../../src/actor/actor.js'
import type { LogMessage, OwnerMessage } from '../../src/log/log.js'

export const told: LogMessage[] = []

export type StubMessage = LogMessage | { readonly type: 'send'; readonly to: string; readonly message: OwnerMessage }

export const logStub = defineActor<null, StubMessage>({ module: import.meta.url, export: 'logStub' }, (context) => ({
  receive(message) {
    if (message.type === 'send') {
      context.ref<OwnerMessage>(message.to).tell(message.message)
      return
    }
    told.push(message)
  },
}))
