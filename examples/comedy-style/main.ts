/** Two greeters, one of them on its own thread, under one supervisor: `node dist/examples/comedy-style/main.js`. */
import { fileURLToPath } from 'node:url'
import type { ActorSystem } from '../../src/actor/actor.js'
import { childOf } from '../../src/actor/child.js'
import { supervisor } from '../../src/actor/supervisor.js'
import { createSystem } from '../../src/actor/system.js'
import type { Logger } from '../../src/world/logger.js'
import { realWorld } from '../../src/world/real.js'
import { comedyChild, comedyRef } from './adapter.js'
import { greeter } from './greeter.js'

export async function startGreeters(log: Logger): Promise<ActorSystem> {
  const system = createSystem({ world: realWorld, log })
  await system.start(
    childOf(supervisor, {
      id: 'comedy',
      args: {
        strategy: 'one-for-one',
        backoff: { initialMs: 10 },
        children: [
          comedyChild(greeter, { name: 'near' }),
          comedyChild(greeter, { name: 'far', mode: 'threaded', parameters: { greeting: 'Ahoy' } }),
        ],
      },
    }),
  )
  return system
}

/** What the example prints. */
export async function play(log: Logger): Promise<readonly string[]> {
  const system = await startGreeters(log)
  const near = comedyRef(system.ref('/comedy/near'))
  const lines = [
    await near.sendAndReceive<string>('greet', 'Ada'),
    await near.sendAndReceive<string>('relay', { to: '/comedy/far', name: 'Grace' }),
  ]
  await system.stop()
  return lines
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const log: Logger = {
    debug: () => {},
    info: (_fields, message) => console.log(message),
    warn: (_fields, message) => console.error(message),
    error: (_fields, message) => console.error(message),
  }
  for (const line of await play(log)) console.log(line)
}
