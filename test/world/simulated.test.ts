import { describe, expect, it } from 'vitest'
import { realWorld } from '../../src/world/real.js'
import { simulatedWorld } from '../../src/world/simulated.js'

describe('a simulated World', () => {
  it('fires timers by due time, those of one time in the order of their setting', async () => {
    const world = simulatedWorld(1)
    const fired: string[] = []
    const note = (name: string) => () => fired.push(`${name}@${world.monotonic()}`)
    world.setTimer(20, note('late'))
    world.setTimer(10, note('a'))
    world.setTimer(10, note('b'))
    world.setTimer(5, note('never')).cancel()
    world.defer(note('now'))
    expect(await world.run(() => false)).toBe(false)
    expect(fired).toEqual(['now@0', 'a@10', 'b@10', 'late@20'])
  })

  it('lets promises settle between two events', async () => {
    const world = simulatedWorld(1)
    const order: string[] = []
    world.setTimer(1, () => {
      void Promise.resolve()
        .then(() => Promise.resolve())
        .then(() => order.push('promise'))
    })
    world.setTimer(1, () => order.push('second'))
    await world.run(() => order.length === 2)
    expect(order).toEqual(['promise', 'second'])
  })

  it('gives the same numbers for the same seed, and others for another', () => {
    const numbers = (seed: number) => Array.from({ length: 5 }, simulatedWorld(seed).random)
    expect(numbers(7)).toEqual(numbers(7))
    expect(numbers(7)).not.toEqual(numbers(8))
    expect([...simulatedWorld(3).randomBytes(4)]).toEqual([...simulatedWorld(3).randomBytes(4)])
  })

  it('refuses to run for ever', async () => {
    const world = simulatedWorld(1)
    const again = (): void => {
      world.setTimer(1, again)
    }
    again()
    await expect(world.run(() => false, 100)).rejects.toMatchObject({ code: 'simulation-endless' })
  })

  it('keeps its order with many timers', async () => {
    const world = simulatedWorld(2)
    const fired: number[] = []
    for (let i = 0; i < 1_000; i++) world.setTimer(world.random() * 100, () => fired.push(world.monotonic()))
    await world.run(() => false)
    expect(fired).toHaveLength(1_000)
    expect(fired).toEqual([...fired].sort((a, b) => a - b))
  })
})

describe('the real World', () => {
  it('fires a timer, and not one that was cancelled', async () => {
    const fired: string[] = []
    await new Promise<void>((resolve) => {
      realWorld.setTimer(0, () => fired.push('cancelled')).cancel()
      realWorld.setTimer(5, () => {
        fired.push('timer')
        resolve()
      })
    })
    expect(fired).toEqual(['timer'])
  })

  it('gives as many random bytes as asked for, within its bounds', () => {
    expect(realWorld.randomBytes(0)).toHaveLength(0)
    expect(realWorld.randomBytes(65_536)).toHaveLength(65_536)
    expect(() => realWorld.randomBytes(65_537)).toThrow(/65536/)
  })
})
