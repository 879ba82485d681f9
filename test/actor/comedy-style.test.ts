import { afterEach, describe, expect, it } from 'vitest'
import { comedyRef } from '../../examples/comedy-style/adapter.js'
import { play, startGreeters } from '../../examples/comedy-style/main.js'
import type { ActorSystem } from '../../src/actor/actor.js'
import type { Logger } from '../../src/world/logger.js'
import { until } from './harness.js'

describe('a definition in the style of comedy', () => {
  const said: string[] = []
  const say = (_fields: object, message: string): void => {
    said.push(message)
  }
  const log: Logger = { debug: say, info: say, warn: say, error: say }
  let system: ActorSystem | undefined
  afterEach(async () => {
    await system?.stop()
    said.length = 0
  })

  it('runs on the kernel, in memory and on a thread, and is destroyed in the end', async () => {
    expect(await play(log)).toEqual(['Hello, Ada, from near!', 'Ahoy, Grace, from far!'])
    expect(said).toEqual(expect.arrayContaining(['near says goodbye', 'far says goodbye']))
  })

  it('is restarted when a method throws, on a thread too', async () => {
    system = await startGreeters(log)
    for (const name of ['near', 'far']) {
      const ref = comedyRef(system.ref(`/comedy/${name}`))
      await ref.sendAndReceive('greet', 'Ada')
      await expect(ref.sendAndReceive('stumble', null)).rejects.toThrow('stumbled')
      const count = await until(() =>
        ref.sendAndReceive<number>('count', null).then(
          (n) => n + 1,
          () => false as const,
        ),
      )
      expect(count - 1).toBe(0)
    }
    expect(system.counters.restarts).toBe(2)
  })

  it('refuses a topic that it has no method for', async () => {
    system = await startGreeters(log)
    const near = comedyRef(system.ref('/comedy/near'))
    await expect(near.sendAndReceive('dance', null)).rejects.toThrow("no topic 'dance'")
    expect(await near.sendAndReceive('count', null)).toBe(0)
  })
})
