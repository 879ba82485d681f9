import { describe, expect, it } from 'vitest'
import { explainPipeline } from '../../src/pipeline/explain.js'
import { explanationText } from '../../src/pipeline/explain-text.js'
import { guaranteeOf } from '../../src/pipeline/guarantee.js'
import { loadPipeline } from '../../src/pipeline/load.js'
import { scratch, shop } from './scratch.js'

const path = {
  replayable: true,
  sourceKind: 'postgres',
  ordered: true,
  cluster: false,
  handler: false,
  onFailure: 'dead-letter',
} as const
const fenced = { kind: 'x', guarantee: 'exactly-once' } as const

describe('the guarantee of a path', () => {
  it.each([
    [
      { ...path, replayable: false, sink: { kind: 'x', guarantee: 'exactly-once' } },
      'at-most-once',
      /cannot read again/,
    ],
    [
      { ...path, sink: { kind: 'x', guarantee: 'exactly-once' } },
      'exactly-once effect',
      /stores the checkpoint with the work/,
    ],
    [{ ...path, ordered: false, sink: fenced }, 'at-least-once', /ids are not in the checkpoint/],
    [{ ...path, ordered: false, cluster: true, sink: fenced }, 'exactly-once effect', /stores the checkpoint/],
    [{ ...path, handler: true, sink: fenced }, 'exactly-once effect', /what the handler does elsewhere/],
    [
      { ...path, sink: { kind: 'jsonl', guarantee: 'at-least-once' } },
      'at-least-once',
      /written again, with the same ids/,
    ],
    [
      { ...path, sink: null, onFailure: 'stop' },
      'at-least-once',
      /handler did.*again; an event that keeps failing stops/,
    ],
  ] as const)('is told with its reason', (traits, guarantee, reason) => {
    expect(guaranteeOf(traits)).toMatchObject({ guarantee, reason: expect.stringMatching(reason) })
  })
})

describe('explain', () => {
  const load = async (text: string) => {
    const file = scratch({ 'pipeline.yaml': text })('pipeline.yaml')
    return explainPipeline(await loadPipeline(file, { env: {}, cores: 2 }))
  }

  it('names each path, its order, and the connections of readers and of sinks times partitions', async () => {
    const explanation = await load(shop)
    expect(
      explanation.paths.map(({ source, processor, guarantee, partitions }) => [
        source,
        processor,
        guarantee,
        partitions,
      ]),
    ).toEqual([
      ['db', 'orders', 'at-least-once', 16],
      ['clicks', 'clicks', 'at-least-once', 16],
    ])
    const uses = explanation.servers.flatMap((server) => server.uses)
    expect(uses.filter(({ by }) => by === 'source db').length).toBeGreaterThan(0)
    const sink = uses.filter(({ by }) => by === 'processor clicks')
    expect(sink.reduce((sum, { count }) => sum + count, 0)).toBe(16)
    for (const server of explanation.servers)
      expect(server.connections).toBe(server.uses.reduce((sum, { count }) => sum + count, 0))
  })

  it('gives a global order one partition, and so one connection', async () => {
    const explanation = await load(shop.replace('from: clicks\n', 'from: clicks\n    order: global\n'))
    expect(explanation.paths[1]).toMatchObject({ partitions: 1, order: 'global' })
    const sink = explanation.servers.flatMap((server) => server.uses).filter(({ by }) => by === 'processor clicks')
    expect(sink.map(({ count }) => count)).toEqual([1])
  })

  it('shows no password, as text or as JSON', async () => {
    const explanation = await load(shop.replace('redis://localhost:6379/1', 'redis://u:hunter2@localhost:6379/1'))
    const text = explanationText(explanation)
    expect(text).toContain('guarantee  at-least-once: ')
    expect(text).toContain('db (postgres) → orders → jsonl ')
    expect(`${text}${JSON.stringify(explanation)}`).not.toContain('hunter2')
  })
})

describe('on a cluster', () => {
  it('the log, its bounds and the connections to NATS of all nodes together are told', async () => {
    const definition = await loadPipeline(scratch({ 'shop.yaml': shop })('shop.yaml'))
    const explanation = await explainPipeline(definition, { cluster: true })
    const nats = explanation.servers.find(({ server }) => server === 'NATS')!
    expect(nats.uses.map(({ by, count }) => [by, count])).toEqual([
      ['each node', 2],
      ["partitions 'key'", definition.partitions],
      ['source db', 1],
      ['source clicks', 1],
    ])
    const text = explanationText(explanation)
    expect(text).toContain('at most 8 GiB, readers stop at 80 %; a silent node is dead after 3s')
    expect(text).toContain('lazy: a source may forget what was stored 4m after that')
    expect((await explainPipeline(definition)).servers.map(({ server }) => server)).not.toContain('NATS')
  })
})
