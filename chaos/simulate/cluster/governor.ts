/**
 * Membership for a simulated cluster: the real control on each node, over the model of the store. What it decides is
 * carried out as units would be: started, restarted where they fail, closed when they are given away.
 */
import { createControl } from '../../../src/membership/control.js'
import type { Control } from '../../../src/membership/control-port.js'
import type { Units } from '../../../src/membership/port.js'
import type { SimulatedWorld } from '../../../src/world/simulated.js'
import { sleep } from '../../../src/world/sleep.js'
import type { ModelKv } from './kv-model.js'
import type { Life, SimulatedNode } from './node.js'
import { silent } from './silent.js'
import type { Unit } from './unit.js'

export interface GovernorInit {
  readonly world: SimulatedWorld
  readonly kv: ModelKv
  readonly resources: readonly string[]
  readonly start: (resource: string, node: SimulatedNode) => Unit
  readonly note: (text: string) => void
}

export interface Governor {
  /** A node has started: it joins. */
  join(node: SimulatedNode): void
  /** Gives everything away for so long. */
  drain(node: SimulatedNode, ms: number): void
  /** Whether a unit is one that its node was told to run. */
  governs(unit: Unit): boolean
}

const settings = {
  lease: 2_000,
  settle: 1_000,
  stopDeadline: 500,
  giveUp: 4_000,
  backoff: { initial: 50, most: 500 },
}

export function createGovernor(init: GovernorInit): Governor {
  const { world, kv, resources, note } = init
  const controls = new Map<Life, Control>()
  const governed = new WeakSet<Unit>()

  function unitsOf(node: SimulatedNode, life: Life): Units {
    const running = new Map<string, Unit>()
    const wanted = new Set<string>()

    function begin(resource: string, ended: (error: Error) => void): void {
      const unit = init.start(resource, node)
      governed.add(unit)
      running.set(resource, unit)
      watch(resource, unit, ended)
    }

    /** Now and then its own supervisor starts it again. */
    function watch(resource: string, unit: Unit, ended: (error: Error) => void): void {
      life.world.setTimer(5 + world.random() * 300, () => {
        if (running.get(resource) !== unit || !wanted.has(resource)) return
        if (!unit.over) watch(resource, unit, ended)
        else if (unit.failure?.permanent !== true) begin(resource, ended)
        else {
          wanted.delete(resource)
          running.delete(resource)
          ended(unit.failure)
        }
      })
    }

    function runs(resource: string): boolean {
      const unit = running.get(resource)
      return unit !== undefined && !unit.over && unit.state() !== 'sealing'
    }

    return {
      start(resource, ended) {
        wanted.add(resource)
        begin(resource, ended)
        return new Promise((resolve, reject) => {
          const look = (tries: number): void => {
            if (runs(resource)) resolve()
            else if (tries === 0 || !wanted.has(resource)) {
              // What could not be started does not run on.
              wanted.delete(resource)
              running.get(resource)?.kill()
              running.delete(resource)
              reject(new Error('it did not start'))
            } else life.world.setTimer(25, () => look(tries - 1))
          }
          look(80)
        })
      },
      async stop(resource, deadlineMs, closed) {
        wanted.delete(resource)
        const unit = running.get(resource)
        running.delete(resource)
        if (unit === undefined || unit.over) return
        if (await unit.close(deadlineMs)) closed()
        // Its actors are taken down one after the other.
        await sleep(life.world, world.random() * 200)
        if (!unit.over) unit.kill()
      },
      alive: async (resource) => runs(resource),
    }
  }

  return {
    join(node) {
      const { life } = node
      const boot = Buffer.from(world.randomBytes(6)).toString('hex')
      const control = createControl({
        kv: kv.port(life),
        units: unitsOf(node, life),
        world: life.world,
        log: silent,
        node: node.name,
        boot,
        version: '1',
        protocol: 1,
        resources,
        settings,
        onEvent: (event) => {
          if ('resource' in event) note(`${node.name}: ${event.type} ${event.resource}`)
          else if (event.type !== 'orders') note(`${node.name}: ${event.type}`)
        },
      })
      controls.set(life, control)
      const enter = (): void => {
        control.start().then(
          () => note(`${node.name} is a member`),
          (error) => {
            note(`${node.name} cannot join: ${error.message}`)
            if (!life.dead && controls.get(life) === control) {
              controls.delete(life)
              life.world.setTimer(300, () => this.join(node))
            }
          },
        )
      }
      enter()
    },
    drain(node, ms) {
      const control = controls.get(node.life)
      if (control === undefined) return
      control.drain()
      node.life.world.setTimer(ms, () => control.resume())
    },
    governs: (unit) => governed.has(unit),
  }
}
