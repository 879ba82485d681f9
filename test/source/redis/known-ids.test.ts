/** Sets of entry ids: nothing is known that was not added, and nothing that was added is missed, whatever the order. */
import { describe, expect, test } from 'vitest'
import { idOfText } from '../../../src/source/redis/entry-id.js'
import { knownIds } from '../../../src/source/redis/known-ids.js'
import { simulatedWorld } from '../../../src/world/simulated.js'

const random = simulatedWorld(7)

describe('a set of ids', () => {
  test('knows exactly what was added, in any order, of any size, stream by stream', () => {
    const known = knownIds()
    const added = new Set<string>()
    const anId = () => {
      const huge = random.pick(50) === 0
      const major = huge ? 2n ** 44n + BigInt(random.pick(50)) : 1_764_000_000_000n + BigInt(random.pick(400))
      const minor = random.pick(40) === 0 ? 2n ** 20n + BigInt(random.pick(50)) : BigInt(random.pick(6))
      return `${major}-${minor}`
    }
    const streams = ['a', 'b']
    for (let turn = 0; turn < 4_000; turn++) {
      const stream = streams[random.pick(2)]!
      const id = anId()
      expect(known.has(stream, idOfText(id))).toBe(added.has(`${stream} ${id}`))
      if (random.pick(3) === 0) continue
      known.add(stream, idOfText(id))
      added.add(`${stream} ${id}`)
    }
    for (const one of added) {
      const [stream, id] = one.split(' ') as [string, string]
      expect(known.has(stream, idOfText(id))).toBe(true)
    }
    expect(known.has('c', idOfText('1-0'))).toBe(false)
  })

  test('takes more than a Set does', () => {
    const known = knownIds()
    const many = 2 ** 24 + 16
    const id = idOfText('1764000000000-0')
    for (let n = 0; n < many; n++) {
      id.minorLow = n % 1_000
      id.majorLow = (id.majorLow + (n % 1_000 === 0 ? 1 : 0)) >>> 0
      known.add('s', id)
    }
    expect(known.has('s', id)).toBe(true)
    id.minorLow++
    expect(known.has('s', id)).toBe(false)
    expect(known.has('s', idOfText('1764000000001-0'))).toBe(true)
  })
})
