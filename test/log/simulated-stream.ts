/** The model of JetStream that the simulation uses, with one node on it, for tests in which an hour must not take one. */
import { createBroker } from '../../chaos/simulate/cluster/jetstream-model.js'
import { createNode } from '../../chaos/simulate/cluster/node.js'
import type { StreamPort } from '../../src/log/jetstream/port.js'
import { type SimulatedWorld, simulatedWorld } from '../../src/world/simulated.js'

export interface SimulatedStream {
  readonly world: SimulatedWorld
  readonly stream: StreamPort
  /** Lets time pass until this is settled. */
  through<T>(work: Promise<T>): Promise<T>
  /** Lets time pass until then, or for so many ms at most; gives whether it came to that. */
  until(done: () => boolean, ms?: number): Promise<boolean>
}

export function simulatedStream(seed = 1): SimulatedStream {
  const world = simulatedWorld(seed)
  const observer = { stored() {}, lost() {}, purged() {} }
  const broker = createBroker({ world, observer, syncInterval: 0 })
  const stream = broker.port(createNode(world, 'n').life, 'n1')
  return {
    world,
    stream,
    async through(work) {
      let over = false
      const done = () => {
        over = true
      }
      work.then(done, done)
      await world.run(() => over)
      return work
    },
    async until(done, ms = 60_000) {
      let late = false
      const timer = world.setTimer(ms, () => {
        late = true
      })
      await world.run(() => late || done())
      timer.cancel()
      return done()
    },
  }
}
