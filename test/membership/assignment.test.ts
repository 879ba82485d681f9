import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  type Assignment,
  type AssignmentInput,
  assign,
  boundsOf,
  type Candidate,
  kindOf,
  type Standing,
} from '../../src/membership/assignment.js'
import { explainAssignment } from '../../src/membership/explanation.js'
import { partitionResource, type Resource, readerResource } from '../../src/membership/port.js'
import { moveBudget } from '../../src/membership/settings.js'

const settings: AssignmentInput['settings'] = { slack: 1.1 }

function resourcesOf(readers: number, partitions: number): Resource[] {
  return [
    ...Array.from({ length: readers }, (_, i) => readerResource(`source${i}`)),
    ...Array.from({ length: partitions }, (_, i) => partitionResource('key', i)),
  ]
}

const member = (node: string, state: Candidate['state'] = 'active', weight = 1): Candidate => ({ node, state, weight })
const nodes = (count: number): Candidate[] => Array.from({ length: count }, (_, i) => member(`n${i}`))

function inputOf(
  members: readonly Candidate[],
  resources: readonly Resource[],
  rest: Partial<AssignmentInput> = {},
): AssignmentInput {
  return { members, resources, standings: new Map(), paused: false, hold: null, settings, ...rest }
}

const ownersOf = (assignment: Assignment): Record<string, string | null> =>
  Object.fromEntries([...assignment.desired].map(([resource, { node }]) => [resource, node]))

const heldAs = (assignment: Assignment): Map<Resource, Standing> =>
  new Map([...assignment.desired].map(([resource, { node }]) => [resource, { holder: node }]))

/** Rounds until nothing moves. Each round's moves have been carried out before the next. */
function settle(input: AssignmentInput): { assignment: Assignment; moved: [Resource, string | null, string | null][] } {
  let current = input
  const moved: [Resource, string | null, string | null][] = []
  for (let round = 0; round < 500; round++) {
    const assignment = assign(current)
    const settled = moved.length
    for (const [resource, { node }] of assignment.desired) {
      const before = current.standings.get(resource)?.holder ?? null
      if (before !== node) moved.push([resource, before, node])
    }
    if (moved.length === settled) return { assignment, moved }
    current = { ...current, standings: heldAs(assignment) }
  }
  throw new Error('it never settles')
}

function loads(assignment: Assignment, node: string, kind: 'reader' | 'partition'): number {
  return [...assignment.desired].filter(([resource, its]) => kindOf(resource) === kind && its.node === node).length
}

const anyMembers = fc
  .uniqueArray(
    fc.record({
      node: fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/),
      state: fc.constantFrom('active', 'active', 'active', 'draining', 'leaving') as fc.Arbitrary<Candidate['state']>,
      weight: fc.constantFrom(1, 1, 1, 2, 0.5),
    }),
    { selector: ({ node }) => node, minLength: 1, maxLength: 8 },
  )
  .filter((members) => members.some(({ state }) => state === 'active'))

const anyInput = anyMembers.chain((members) =>
  fc.record({ readers: fc.nat(5), partitions: fc.integer({ min: 1, max: 40 }) }).chain(({ readers, partitions }) => {
    const resources = resourcesOf(readers, partitions)
    const holder = fc.option(fc.constantFrom(...members.map(({ node }) => node), 'gone'))
    const standing = fc.record(
      { holder, to: holder, last: holder, home: holder },
      { requiredKeys: ['holder'] },
    ) as fc.Arbitrary<{ holder: string | null; to?: string | null; last?: string | null; home?: string | null }>
    return fc
      .record({
        standings: fc.array(standing, { minLength: resources.length, maxLength: resources.length }),
        hold: fc.constantFrom(null, 'settling', 'rolling') as fc.Arbitrary<AssignmentInput['hold']>,
      })
      .map(({ standings, hold }) =>
        inputOf(members, resources, {
          hold,
          standings: new Map(
            resources.map((resource, i) => [
              resource,
              Object.fromEntries(
                Object.entries(standings[i]!).filter(([key, value]) => key === 'holder' || value !== null),
              ) as unknown as Standing,
            ]),
          ),
        }),
      )
  }),
)

test('every resource has an owner while a member is active', () => {
  fc.assert(
    fc.property(anyInput, (input) => {
      const live = new Set(input.members.map(({ node }) => node))
      for (const { node } of assign(input).desired.values()) expect(live.has(node ?? '')).toBe(true)
    }),
  )
})

test('once settled, every member is within its bounds and the draining have nothing', () => {
  fc.assert(
    fc.property(anyInput, (input) => {
      const { assignment } = settle({ ...input, hold: null })
      for (const { node, state } of input.members)
        for (const kind of ['reader', 'partition'] as const) {
          const { least, most } = assignment.bounds.get(node)![kind]
          const load = loads(assignment, node, kind)
          expect(load).toBeLessThanOrEqual(most)
          expect(load).toBeGreaterThanOrEqual(least)
          if (state !== 'active') expect(load).toBe(0)
        }
    }),
  )
})

test('nothing is given to a member that is at its bound', () => {
  fc.assert(
    fc.property(anyInput, (input) => {
      const assignment = assign(input)
      for (const { node } of input.members)
        for (const kind of ['reader', 'partition'] as const) {
          const given = [...assignment.desired].some(
            ([resource, its]) =>
              kindOf(resource) === kind && its.node === node && input.standings.get(resource)?.holder !== node,
          )
          if (given) expect(loads(assignment, node, kind)).toBeLessThanOrEqual(assignment.bounds.get(node)![kind].most)
        }
    }),
  )
})

test('the order of the inputs does not matter, and every node computes the same', () => {
  fc.assert(
    fc.property(anyInput, fc.integer(), (input, seed) => {
      const shuffled = <T>(items: readonly T[]): T[] =>
        items
          .map((item, i) => [(i * 7919 + seed) % 101, item] as const)
          .sort((a, b) => a[0] - b[0])
          .map(([, item]) => item)
      const other = assign({
        ...input,
        members: shuffled(input.members),
        resources: shuffled(input.resources),
        standings: new Map(shuffled([...input.standings])),
      })
      expect(ownersOf(other)).toEqual(ownersOf(assign(input)))
    }),
  )
})

test('what has settled stays as it is', () => {
  fc.assert(
    fc.property(anyInput, (input) => {
      const { assignment } = settle({ ...input, hold: null })
      const again = assign({ ...input, hold: null, standings: heldAs(assignment) })
      expect(ownersOf(again)).toEqual(ownersOf(assignment))
      expect(again.moves).toBe(0)
    }),
  )
})

test('a node that joins gets its share, from whoever has too much, and nothing else moves', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }),
      fc.nat(6),
      fc.integer({ min: 1, max: 64 }),
      (count, readers, partitions) => {
        const resources = resourcesOf(readers, partitions)
        const before = settle(inputOf(nodes(count), resources)).assignment
        const joined = [...nodes(count), member('newcomer')]
        const { assignment, moved } = settle(inputOf(joined, resources, { standings: heldAs(before) }))
        for (const [, , to] of moved) expect(to).toBe('newcomer')
        const { reader, partition } = assignment.bounds.get('newcomer')!
        expect(moved.length).toBeLessThanOrEqual(reader.most + partition.most)
        expect(moved.length).toBeGreaterThanOrEqual(reader.least + partition.least)
      },
    ),
  )
})

test('what a dead node held is placed at once, and what the others hold stays', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 8 }), fc.integer({ min: 1, max: 64 }), (count, partitions) => {
      const resources = resourcesOf(0, partitions)
      const before = settle(inputOf(nodes(count), resources)).assignment
      const survivors = nodes(count).slice(1)
      const standings = new Map(
        [...before.desired].map(([resource, { node }]): [Resource, Standing] => [
          resource,
          node === 'n0' ? { holder: null, last: 'n0' } : { holder: node },
        ]),
      )
      const after = assign(inputOf(survivors, resources, { standings, hold: 'settling' }))
      for (const [resource, { node }] of before.desired)
        if (node !== 'n0') expect(after.desired.get(resource)!.node).toBe(node)
        else expect(after.desired.get(resource)!.node).not.toBe('n0')
    }),
  )
})

test('voluntary moves are few at once, and what is between two holders counts', () => {
  const resources = resourcesOf(0, 32)
  const alone = assign(inputOf(nodes(1), resources))
  const joined = inputOf(nodes(2), resources, { standings: heldAs(alone) })
  expect(assign(joined).moves).toBe(moveBudget(settings, 32))
  expect(assign({ ...joined, settings: { ...settings, moves: 1 } }).moves).toBe(1)
  const [first] = [...assign(joined).desired].find(([, { node }]) => node === 'n1')!
  const standings = new Map(joined.standings).set(first, { holder: null, to: 'n1', last: 'n0' })
  const next = assign({ ...joined, standings })
  expect(next.desired.get(first)).toEqual({ node: 'n1', why: 'handed' })
  expect(next.moves).toBe(moveBudget(settings, 32) - 1)
})

test('until the members have settled nothing moves for balance', () => {
  const resources = resourcesOf(2, 16)
  const alone = assign(inputOf(nodes(1), resources))
  expect(assign(inputOf(nodes(3), resources, { standings: heldAs(alone), hold: 'settling' })).moves).toBe(0)
})

test('in a rolling upgrade only a node that came back gets its own back', () => {
  const resources = resourcesOf(0, 16)
  const before = settle(inputOf(nodes(3), resources)).assignment
  const own = [...before.desired].filter(([, { node }]) => node === 'n0').map(([resource]) => resource)
  expect(own.length).toBeGreaterThan(0)
  const standings = new Map(
    [...before.desired].map(([resource, { node }]): [Resource, Standing] => [
      resource,
      node === 'n0' ? { holder: null, last: 'n0', home: 'n0' } : { holder: node },
    ]),
  )
  const without = assign(inputOf(nodes(3).slice(1), resources, { standings, hold: 'rolling' }))
  const away = new Map(
    [...heldAs(without)].map(([resource, its]): [Resource, Standing] => [
      resource,
      own.includes(resource) ? { ...its, home: 'n0' } : its,
    ]),
  )
  let round = inputOf(nodes(3), resources, { standings: away, hold: 'rolling' })
  // A stranger that joins meanwhile is given nothing.
  round = { ...round, members: [...round.members, member('stranger')] }
  for (;;) {
    const assignment = assign(round)
    expect(assignment.moves).toBeLessThanOrEqual(moveBudget(settings, 16))
    if (assignment.moves === 0) break
    const now = new Map(round.standings)
    for (const [resource, { node, why }] of assignment.desired) if (why === 'home') now.set(resource, { holder: node })
    round = { ...round, standings: now }
  }
  expect(own.filter((resource) => round.standings.get(resource)?.holder === 'n0').length).toBe(
    Math.min(own.length, boundsOf(4, settings.slack).most),
  )
  for (const { holder } of round.standings.values()) expect(holder).not.toBe('stranger')
})

test('a paused pipeline has no owners, and goes back to those that it had', () => {
  const resources = resourcesOf(2, 8)
  const before = settle(inputOf(nodes(3), resources)).assignment
  const paused = assign(inputOf(nodes(3), resources, { standings: heldAs(before), paused: true }))
  for (const { node } of paused.desired.values()) expect(node).toBeNull()
  const released = new Map(
    [...before.desired].map(([resource, { node }]): [Resource, Standing] => [resource, { holder: null, last: node! }]),
  )
  expect(ownersOf(assign(inputOf(nodes(3), resources, { standings: released })))).toEqual(ownersOf(before))
})

test('a draining node gives away a few at a time, a leaving one everything; without another a draining one keeps all', () => {
  const resources = resourcesOf(0, 16)
  const alone = heldAs(assign(inputOf(nodes(1), resources)))
  const other = member('other')
  const evacuated = (state: Candidate['state'], others: Candidate[]): number =>
    [...assign(inputOf([member('n0', state), ...others], resources, { standings: alone })).desired.values()].filter(
      ({ node }) => node !== 'n0',
    ).length
  expect(evacuated('draining', [other])).toBe(2)
  expect(evacuated('leaving', [other])).toBe(16)
  expect(evacuated('draining', [])).toBe(0)
})

test('a node that could not run a resource is passed over while another can try', () => {
  const resources = [readerResource('db')]
  const first = assign(inputOf(nodes(2), resources)).desired.get('reader.db')!.node!
  const standings = new Map([['reader.db', { holder: null, last: first, avoid: [first] }]])
  const second = assign(inputOf(nodes(2), resources, { standings })).desired.get('reader.db')!.node
  expect(second).not.toBe(first)
  const both = new Map([['reader.db', { holder: null, last: first, avoid: ['n0', 'n1'] }]])
  expect(assign(inputOf(nodes(2), resources, { standings: both })).desired.get('reader.db')!.node).not.toBeNull()
})

test('weights are shares', () => {
  const members = [member('small'), member('large', 'active', 3)]
  const { assignment } = settle(inputOf(members, resourcesOf(0, 40)))
  expect(loads(assignment, 'large', 'partition')).toBeGreaterThanOrEqual(boundsOf(30, 1.1).least)
  expect(loads(assignment, 'small', 'partition')).toBeLessThanOrEqual(boundsOf(10, 1.1).most)
})

test('the explanation names the desired owner, its reason, and each candidate with score, load and bounds', () => {
  const input = inputOf(nodes(3), resourcesOf(1, 8))
  const assignment = assign(input)
  const explained = explainAssignment(input, assignment, 'part.key.3')!
  expect(explained.desired).toBe(assignment.desired.get('part.key.3')!.node)
  expect(explained.why).toBe('placed')
  expect(explained.candidates.map(({ score }) => score)).toEqual(
    explained.candidates.map(({ score }) => score).sort((a, b) => b - a),
  )
  expect(explained.candidates.reduce((sum, { load }) => sum + load, 0)).toBe(8)
  expect(explainAssignment(input, assignment, 'part.key.99')).toBeUndefined()
})
