/** An actor of the simulated nodes, and what those of its kind have heard: they all run in this process. */
import { type Down, defineActor } from '../../src/actor/actor.js'

export interface Heard {
  readonly downs: Down[]
  readonly numbers: Map<string, number[]>
}

/** By the key that each was started with. */
export const heard = new Map<string, Heard>()

type EarMessage = { readonly watch: string } | { readonly number: number; readonly from: string } | 'get'

/** Watches what it is told to, and keeps the numbers that it is sent. */
export const ear = defineActor<{ readonly key: string }, EarMessage>(
  { module: import.meta.url, export: 'ear' },
  (context, { key }) => {
    const mine: Heard = { downs: [], numbers: new Map() }
    heard.set(key, mine)
    return {
      receive(message) {
        if (message === 'get') return context.path
        if ('watch' in message) return context.watch(context.ref(message.watch))
        const list = mine.numbers.get(message.from) ?? []
        mine.numbers.set(message.from, list)
        list.push(message.number)
        return undefined
      },
      down: (down) => void mine.downs.push(down),
    }
  },
  { messages: { parse: (value) => value as EarMessage }, args: { parse: (value) => value as { key: string } } },
)
