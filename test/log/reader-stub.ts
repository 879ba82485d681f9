/** Stands where a reader stands: opens its log, reads nothing, and hangs or falls when it is told to. */
import { defineActor } from '../../src/actor/actor.js'
import type { LogMessage } from '../../src/log/log.js'

/** While it is broken no reader can start. */
export const readers = { broken: false }

export type ReaderStubMessage = { readonly type: 'alive' | 'hang' | 'fall' }

export const readerStub = defineActor<{ readonly log: string }, ReaderStubMessage>(
  { module: import.meta.url, export: 'readerStub' },
  async (context, { log }) => {
    if (readers.broken) throw new Error('the source is away')
    await context
      .ref<LogMessage>(log)
      .ask({ type: 'open-reader', source: 'db', reader: context.path, obliges: true }, 30_000)
    return {
      receive(message) {
        if (message.type === 'hang') return new Promise(() => {})
        if (message.type === 'fall') throw new Error('told to fall')
        return true
      },
    }
  },
)
