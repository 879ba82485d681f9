/**
 * Which behaviours other nodes may start here, and under which names.
 *
 * On the network a behaviour is named relative to the package (`troupe:src/actor/supervisor`), so that nodes that are
 * installed in different places, compiled or not, mean the same; a module outside of it is named by its URL. A name is
 * only ever looked up in the list of what this node has registered.
 */
import { messageOf, TroupeError } from '../../world/error.js'
import type { Behavior, BehaviorRef } from '../actor.js'
import { loadBehavior, packagePath } from '../loader.js'

/** Name → what this node loads for it. */
export type Registered = ReadonlyMap<string, BehaviorRef>

/** The same behaviour, named so that every node understands it. */
export function portable(ref: BehaviorRef): BehaviorRef {
  const inside = packagePath(ref.module)
  return inside === undefined ? ref : { module: `troupe:${inside}`, export: ref.export }
}

function nameOf(ref: BehaviorRef): string {
  const { module, export: name } = portable(ref)
  return `${module}#${name}`
}

export function register(behaviors: readonly BehaviorRef[]): Registered {
  return new Map(behaviors.map((ref) => [nameOf(ref), ref]))
}

/**
 * The behaviour of an actor that lives among another node's names, with its arguments checked at its start.
 * @throws TroupeError `behavior-not-registered`, `not-startable`, `bad-arguments`, `no-behavior`; all permanent
 */
export async function loadGuest(registered: Registered, path: string, ref: BehaviorRef): Promise<Behavior> {
  const known = registered.get(nameOf(ref))
  if (known === undefined)
    throw refusal('behavior-not-registered', path, `this node has not registered '${ref.export}' for other nodes`)
  const behavior = await loadBehavior(known)
  const check = behavior.remote?.args
  if (check === undefined)
    throw refusal('not-startable', path, `'${ref.export}' has no check for arguments from other nodes`)
  return {
    ...behavior,
    start(context, args) {
      let checked: unknown
      try {
        checked = check.parse(args)
      } catch (thrown) {
        throw refusal(
          'bad-arguments',
          path,
          `what it is started with does not pass: ${messageOf(thrown).slice(0, 500)}`,
        )
      }
      return behavior.start(context, checked)
    },
  }
}

function refusal(code: string, place: string, message: string): TroupeError {
  return new TroupeError({
    code,
    message,
    place,
    remedy: "list it in the node's `behaviors`, and give its defineActor a check: { args: schema }",
    permanent: true,
  })
}
