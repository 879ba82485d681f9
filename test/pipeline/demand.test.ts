import { expect, test } from 'vitest'
import { definePipeline } from '../../src/pipeline/define.js'
import { demandGuarantees } from '../../src/pipeline/demand.js'
import { explainPipeline } from '../../src/pipeline/explain.js'
import { resolvePipeline } from '../../src/pipeline/resolve.js'
import { runPipeline } from '../../src/pipeline/run.js'
import { realWorld } from '../../src/world/real.js'
import { scratch } from './scratch.js'

const quiet = { debug() {}, info() {}, warn() {}, error() {} }

function pipeline(over: {
  mode?: 'read' | 'group'
  exactlyOnce?: boolean
  guarantee?: 'at-least-once' | 'exactly-once'
}) {
  return resolvePipeline(
    definePipeline({
      name: 'demanding',
      // Never made: what is refused is refused before anything is touched.
      data: '/nowhere/that/exists',
      sources: {
        clicks: { kind: 'redis-streams', url: 'redis://127.0.0.1:1', streams: ['clicks'], mode: over.mode ?? 'read' },
      },
      processors: {
        copy: {
          sink: { kind: 'redis', url: 'redis://127.0.0.1:1', name: 'out', exactlyOnce: over.exactlyOnce ?? false },
          ...(over.guarantee === undefined ? {} : { guarantee: over.guarantee }),
        },
      },
    }),
  )
}

const refusal = { code: 'guarantee-not-met', exitCode: 2, permanent: true }

test('a path that promises what its processor demands may start', async () => {
  await demandGuarantees(pipeline({ guarantee: 'exactly-once', exactlyOnce: true }), false)
  await demandGuarantees(pipeline({ guarantee: 'at-least-once' }), false)
  await demandGuarantees(pipeline({}), false)
})

test('a path that promises less is refused with its reason and a remedy', async () => {
  await expect(demandGuarantees(pipeline({ guarantee: 'exactly-once' }), false)).rejects.toMatchObject({
    ...refusal,
    message: expect.stringMatching(/copy demands exactly-once.*source clicks is at-least-once/),
    remedy: expect.stringContaining('exactlyOnce: true'),
  })
})

test('what a group leaves unconfirmed is at least once on one machine, and exactly once in a cluster', async () => {
  const group = pipeline({ mode: 'group', exactlyOnce: true, guarantee: 'exactly-once' })
  await expect(demandGuarantees(group, false)).rejects.toMatchObject(refusal)
  await demandGuarantees(group, true)
  expect((await explainPipeline(group)).paths[0]).toMatchObject({
    guarantee: 'at-least-once',
    reason: expect.stringContaining('their ids are not in the checkpoint'),
  })
  expect((await explainPipeline(group, { cluster: true })).paths[0]!.guarantee).toBe('exactly-once effect')
})

test('a refused pipeline starts nothing and asks no server', async () => {
  const refused = runPipeline(
    { ...pipeline({ guarantee: 'exactly-once' }), dataDirectory: scratch()('data') },
    { world: realWorld, log: quiet },
  )
  await expect(refused).rejects.toMatchObject(refusal)
})
