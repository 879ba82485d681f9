/** A unit, and an actor that has `Units` over its supervisor, as the control of a node has. */
import { defineActor } from '../../src/actor/actor.js'
import { childOf } from '../../src/actor/child.js'
import { later } from '../../src/actor/later.js'
import { supervisor } from '../../src/actor/supervisor.js'
import type { Resource } from '../../src/membership/port.js'
import { createUnits } from '../../src/membership/units.js'
import { messageOf, TroupeError } from '../../src/world/error.js'
import { sleep } from '../../src/world/sleep.js'

export interface UnitArgs {
  readonly startMs?: number
  readonly stopMs?: number
  readonly failStart?: boolean
  /** ms until `close` is answered, and the answer. */
  readonly closeMs?: number
  readonly clean?: boolean
}

export type UnitMessage =
  | { readonly type: 'alive' }
  | { readonly type: 'mute' }
  | { readonly type: 'crash' }
  | { readonly type: 'close' }
  | { readonly type: 'fence' }

export const unit = defineActor<UnitArgs, UnitMessage>(
  { module: import.meta.url, export: 'unit' },
  async (context, args) => {
    const pause = (ms: number): Promise<void> => sleep(context.world, ms)
    if (args.startMs !== undefined) await pause(args.startMs)
    if (args.failStart) throw new Error('the server is away')
    let mute = false
    return {
      receive(message) {
        if (message.type === 'crash') throw new Error('asked to crash')
        if (message.type === 'fence')
          context.exit(new TroupeError({ code: 'fenced', message: 'another has sealed', permanent: true }))
        if (message.type === 'close') mute = true
        if (message.type === 'close') return later(pause(args.closeMs ?? 0).then(() => args.clean ?? true))
        if (message.type === 'mute') mute = true
        return !mute
      },
      stop: () => pause(args.stopMs ?? 0),
    }
  },
)

export type HolderMessage =
  | { readonly do: 'start'; readonly resource: Resource }
  | { readonly do: 'alive'; readonly resource: Resource }
  /** What ended without having been asked to. */
  | { readonly do: 'ended' }
  /** What had nothing left when it was stopped. */
  | { readonly do: 'closed' }
  | { readonly do: 'stop'; readonly resource: Resource; readonly deadlineMs: number }

export interface HolderArgs {
  readonly units: Readonly<Record<Resource, UnitArgs>>
  readonly startDeadline: number
}

export const holder = defineActor<HolderArgs, HolderMessage>(
  { module: import.meta.url, export: 'holder' },
  (context, args) => {
    const plans = new Map(
      Object.entries(args.units).map(([resource, unitArgs]) => [
        resource,
        {
          supervisor: '/node/units',
          spec: childOf(supervisor, {
            id: resource,
            restart: 'temporary',
            args: {
              strategy: 'rest-for-one',
              backoff: { initialMs: 1, maxMs: 5 },
              children: [childOf(unit, { id: 'log', args: unitArgs, shutdownMs: 2_000 })],
            },
          }),
          probe: `/node/units/${resource}/log`,
          closes: unitArgs.closeMs !== undefined,
        },
      ]),
    )
    const units = createUnits({ context, plans, startDeadline: args.startDeadline })
    const ended: string[] = []
    const closed: Resource[] = []
    return {
      receive(message) {
        if (message.do === 'ended') return [...ended]
        if (message.do === 'closed') return [...closed]
        if (message.do === 'start') {
          const { resource } = message
          return later(
            units.start(resource, (error) => ended.push(`${resource}: ${messageOf(error)}`)).then(() => 'runs'),
          )
        }
        if (message.do === 'alive') return later(units.alive(message.resource, 200))
        const { resource } = message
        return later(units.stop(resource, message.deadlineMs, () => closed.push(resource)).then(() => 'stopped'))
      },
      down: (down) => units.down(down),
    }
  },
)
