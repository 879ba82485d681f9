/** Behaviours that the tests of the kernel start, here and on threads. */
import { z } from 'zod'
import {
  type ActorContext,
  type Check,
  type ChildSpec,
  type Down,
  defineActor,
  type Ref,
} from '../../src/actor/actor.js'
import { TroupeError } from '../../src/world/error.js'

export interface CounterArgs {
  readonly from?: number
  /** Path that hears `started` and `stopped` of this actor. */
  readonly report?: string
  /** `start` fails this way. */
  readonly failStart?: 'error' | 'permanent'
  /** `stop` takes this long, or never ends. */
  readonly stopMs?: number | 'never'
}

export type CounterMessage =
  | 'add'
  | 'get'
  | 'throw'
  | 'reject'
  | 'permanent'
  | 'exit'
  | 'hang'
  | 'oom'
  | 'spin'
  | 'uncaught'
  | 'unhandled'
  | 'refuse'
  | 'async'
  | 'path'
  | { readonly echo: unknown }

const counterMessages: Check<CounterMessage> = z.union([
  z.enum([
    'add',
    'get',
    'throw',
    'reject',
    'permanent',
    'exit',
    'hang',
    'oom',
    'spin',
    'uncaught',
    'unhandled',
    'refuse',
    'async',
    'path',
  ]),
  z.strictObject({ echo: z.unknown() }),
])

/** An actor that counts, and fails in every way on demand. */
export const counter = defineActor<CounterArgs, CounterMessage>(
  { module: import.meta.url, export: 'counter' },
  (context, args) => {
    let count = args.from ?? 0
    const report = (event: string): void => {
      if (args.report !== undefined) context.ref(args.report).tell({ event: `${event} ${context.path}` })
    }
    if (args.failStart === 'error') throw new Error('cannot start')
    if (args.failStart === 'permanent') throw permanent()
    report('started')
    return {
      receive(message) {
        if (typeof message === 'object') return message.echo
        switch (message) {
          case 'add':
            count++
            return undefined
          case 'get':
            return count
          case 'path':
            return context.path
          case 'async':
            return Promise.resolve(count)
          case 'throw':
            throw new RangeError('asked to throw')
          case 'reject':
            return Promise.reject(new Error('asked to reject'))
          case 'permanent':
            throw permanent()
          case 'refuse':
            return new TroupeError({ code: 'refused', message: 'not today', remedy: 'ask tomorrow' })
          case 'exit':
            context.exit()
            return undefined
          case 'hang':
            return new Promise(() => {})
          case 'spin':
            for (;;);
          case 'oom': {
            const hoard: unknown[] = []
            for (;;) hoard.push(new Array(100_000).fill({}))
          }
          case 'uncaught':
            queueMicrotask(() => {
              throw new Error('thrown past the actor')
            })
            return undefined
          case 'unhandled':
            void Promise.reject(new Error('rejected past the actor'))
            return undefined
        }
      },
      async stop() {
        if (args.stopMs === 'never') await new Promise(() => {})
        if (typeof args.stopMs === 'number')
          await new Promise<void>((resolve) => {
            context.world.setTimer(args.stopMs as number, resolve)
          })
        report('stopped')
      },
      inspect: () => ({ count }),
    }
  },
  { messages: counterMessages, args: z.custom<CounterArgs>((value) => typeof value === 'object' && value !== null) },
)

function permanent(): TroupeError {
  return new TroupeError({ code: 'wrong', message: 'cannot be healed', permanent: true })
}

export type ProbeMessage =
  | 'seen'
  | 'downs'
  | { readonly watch: string }
  | { readonly unwatch: string }
  | { readonly spawn: ChildSpec }
  | { readonly stopChild: string }
  | { readonly ask: string; readonly message: unknown; readonly deadlineMs: number }
  | { readonly tell: string; readonly times: number }
  | { readonly timer: { readonly key: string; readonly ms: number; readonly message: unknown } }
  | { readonly cancel: string }
  | { readonly event: unknown }

/** An actor that does what it is told and remembers what it hears. */
export const probe = defineActor<null, ProbeMessage>(
  { module: import.meta.url, export: 'probe' },
  (context) => {
    const seen: unknown[] = []
    const downs: { path: string; kind: string; detail: string }[] = []
    return {
      receive(message) {
        if (message === 'seen') return seen
        if (message === 'downs') return downs
        return obey(context, message, seen)
      },
      down(down) {
        downs.push(plain(down))
      },
    }
  },
  { messages: anything(), args: z.null() },
)

/** A test's own actors believe each other. */
function anything<T>(): Check<T> {
  return { parse: (value) => value as T }
}

function plain(down: Down): { path: string; kind: string; detail: string } {
  const { reason } = down
  const detail = reason.kind === 'error' ? reason.error.message : 'detail' in reason ? reason.detail : ''
  return { path: down.path, kind: reason.kind, detail }
}

function obey(context: ActorContext<ProbeMessage>, message: Exclude<ProbeMessage, string>, seen: unknown[]): unknown {
  if ('watch' in message) return context.watch(context.ref(message.watch))
  if ('unwatch' in message) return context.unwatch(context.ref(message.unwatch))
  if ('spawn' in message) return context.spawn(message.spawn).then((ref: Ref) => ref.path)
  if ('stopChild' in message) return context.stopChild(message.stopChild)
  if ('ask' in message) return context.ref(message.ask).ask(message.message, message.deadlineMs)
  if ('timer' in message)
    return context.startTimer(message.timer.key, message.timer.ms, { event: message.timer.message })
  if ('cancel' in message) return context.cancelTimer(message.cancel)
  if ('tell' in message) {
    const target = context.ref<number>(message.tell)
    let refused = 0
    for (let i = 0; i < message.times; i++) if (!target.tell(i)) refused++
    return refused
  }
  seen.push(message.event)
  return undefined
}

/** Gathers numbers and says whether they came in order. */
export const sequence = defineActor<null, number | 'state'>(
  { module: import.meta.url, export: 'sequence' },
  () => {
    let next = 0
    let ordered = true
    return {
      receive(message) {
        if (message === 'state') return { next, ordered }
        if (message !== next) ordered = false
        next = message + 1
        return undefined
      },
    }
  },
  { messages: z.union([z.number(), z.literal('state')]), args: z.null() },
)

/** Says nothing of other nodes, so none can reach it. */
export const hermit = defineActor<null, unknown>({ module: import.meta.url, export: 'hermit' }, () => ({
  receive: (message) => message,
}))
