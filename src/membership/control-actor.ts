/**
 * The control of a node as an actor: its own connection, the bucket, and the units that it starts and stops under the
 * supervisors of the pipeline.
 *
 * When it fails (the store is away for long) its supervisor starts it again under the same boot, and it takes up what runs;
 * no unit stops for it. When it is stopped it hands everything off first.
 */
import { z } from 'zod'
import { type ActorContext, defineActor } from '../actor/actor.js'
import type { ControlTold } from '../log/jetstream/control-link.js'
import type { ClusterAddress } from '../log/jetstream/link.js'
import { connectNats, type NatsLink } from '../wire/nats/connect.js'
import { messageOf, TroupeError } from '../world/error.js'
import { sleep } from '../world/sleep.js'
import { createControl } from './control.js'
import { openNatsKv } from './nats-kv.js'
import type { Resource } from './port.js'
import { createRefusals } from './refusals.js'
import { createUnits, type UnitPlan } from './units.js'

/** How one resource is worked on here. */
export interface ResourcePlan extends UnitPlan {
  readonly resource: Resource
}

export interface ControlArgs {
  readonly address: ClusterAddress
  readonly boot: string
  readonly version: string
  readonly protocol: number
  readonly provision: boolean
  readonly replicas: number
  /** ms */
  readonly lease: number
  /** ms that the last handoff may take. */
  readonly leaveWithin: number
  readonly units: readonly ResourcePlan[]
  /** For chaos: faults planted on purpose. */
  readonly planted?: readonly string[]
}

export type ControlMessage =
  | ControlTold
  | { readonly type: 'view' }
  | { readonly type: 'why'; readonly resource: Resource }
  | { readonly type: 'drain' }
  | { readonly type: 'resume' }

export const control = defineActor<ControlArgs, ControlMessage>(
  { module: import.meta.url, export: 'control' },
  async (context: ActorContext<ControlMessage>, args) => {
    const { world, log } = context
    const { node } = args.address
    const { link, kv } = await openStore(context, args)
    let paused: readonly string[] = []
    const refusals = createRefusals()
    const units = createUnits({
      context,
      plans: new Map(args.units.map((plan) => [plan.resource, plan])),
      paused: () => paused,
    })
    const machine = createControl({
      kv,
      units,
      world,
      log,
      node,
      boot: args.boot,
      version: args.version,
      protocol: args.protocol,
      resources: args.units.map(({ resource }) => resource),
      settings: { lease: args.lease },
      status: refusals.status,
      ...(args.planted === undefined ? {} : { planted: args.planted }),
      onEvent: (event) => {
        if (event.type === 'orders') paused = [...event.orders.pausedProcessors].sort()
        if (event.type === 'name-lost') context.exit(event.error)
      },
    })
    try {
      await machine.start()
    } catch (error) {
      await link.close()
      throw error
    }
    return {
      receive(message) {
        switch (message.type) {
          case 'paused':
            return paused
          case 'commit-refused':
            refusals.note(message.resource, message.why)
            return
          case 'view':
            return machine.view()
          case 'why':
            return machine.why(message.resource)
          case 'drain':
            machine.drain()
            return
          case 'resume':
            machine.resume()
            return
        }
      },
      down: (down) => units.down(down),
      async stop(reason) {
        if (reason.kind === 'shutdown') await machine.leave(args.leaveWithin)
        else machine.halt()
        await link.close()
      },
      inspect: () => ({ ...machine.view() }),
    }
  },
  // Orders go through the store, where all nodes see them; from another node one may only look.
  {
    messages: z.discriminatedUnion('type', [
      z.object({ type: z.literal('view') }),
      z.object({ type: z.literal('why'), resource: z.string().max(200) }),
    ]),
  },
)

/** ms for which a node that starts waits for servers that are starting or electing a leader. */
const openWithin = 60_000
const openEvery = 500

async function openStore(context: ActorContext<ControlMessage>, args: ControlArgs) {
  const { world, log } = context
  const { pipeline, node, servers } = args.address
  const until = world.monotonic() + openWithin
  for (;;) {
    let link: NatsLink | null = null
    try {
      link = await connectNats({
        servers,
        name: `troupe.${pipeline}.${node}.control`,
        world,
        log,
        place: `the cluster of pipeline ${pipeline}`,
        onClosed: (error) => context.exit(error),
      })
      const kv = await openNatsKv({
        connection: link.connection,
        inbox: link.inbox,
        world,
        pipeline,
        replicas: args.replicas,
        provision: args.provision,
      })
      return { link, kv }
    } catch (error) {
      await link?.close()
      const final = error instanceof TroupeError && (error.code === 'bucket-missing' || error.permanent)
      if (final || world.monotonic() > until || context.signal.aborted) throw error
      log.warn({ cause: messageOf(error) }, 'the membership cannot be opened yet; tried again')
      await sleep(world, openEvery)
    }
  }
}
