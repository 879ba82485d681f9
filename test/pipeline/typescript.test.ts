import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { definePipeline } from '../../src/pipeline/define.js'
import { handlerPlace, loadHandler, preflightHandlers } from '../../src/pipeline/handler.js'
import { loadPipeline } from '../../src/pipeline/load.js'
import { problemsOf } from '../../src/pipeline/problem.js'
import { resolvePipeline } from '../../src/pipeline/resolve.js'
import { defineProcessor } from '../../src/processor/processor.js'
import type { TroupeError } from '../../src/world/error.js'
import { scratch, shop } from './scratch.js'

const pipelineModule = (handler: string, extra = ''): string => `
import { definePipeline, defineProcessor } from 'troupe'
import { limit } from './limit.js'

const first: number = limit

export default definePipeline({
  name: 'shop',
  data: './data',
  sources: { db: { kind: 'postgres', url: 'postgres://app:hunter2@localhost/shop', tables: ['public.orders'] } },
  processors: {
    orders: { handler: ${handler}, sink: { kind: 'jsonl', path: '-' }${extra} },
  },
})
`
const limit = { 'limit.ts': 'export const limit: number = 1\n' }
const value = 'defineProcessor({ handle: (event) => (first > 0 ? event : null) })'

const failureOf = (promise: Promise<unknown>): Promise<TroupeError> =>
  promise.then(
    () => {
      throw new Error('nothing was thrown')
    },
    (error: TroupeError) => error,
  )

describe('a pipeline in TypeScript', () => {
  it('loads with its handlers as values, which another thread finds again by name', async () => {
    const path = scratch({ 'shop.ts': pipelineModule(value), ...limit })
    const definition = await loadPipeline(path('shop.ts'), { cores: 2 })
    expect(definition).toMatchObject({ name: 'shop', dataDirectory: path('data'), threads: 2 })
    expect(definition.processors.orders!.handler).toHaveProperty('value.kind', 'processor')
    const place = handlerPlace(definition, 'orders')
    expect(place).toEqual({ pipelineModule: pathToFileURL(path('shop.ts')).href, processor: 'orders' })
    const handler = await loadHandler(structuredClone(place)!)
    expect(handler.handle('event' as never, undefined, {} as never)).toBe('event')
  })

  it('is a .js module just as well', async () => {
    const path = scratch({
      'shop.mjs': pipelineModule(value).replace(': number', ''),
      'limit.js': 'export const limit = 1',
    })
    await expect(loadPipeline(path('shop.mjs'))).resolves.toMatchObject({ name: 'shop' })
  })

  it('names modules of handlers by paths relative to itself and by URLs', async () => {
    const processor = `import { defineProcessor } from 'troupe'\nexport default defineProcessor({ handle: () => null })\n`
    const path = scratch({
      'shop.ts': pipelineModule(`'./handlers/one.ts'`).replace(
        '    orders:',
        `    other: { handler: new URL('./handlers/one.ts', import.meta.url), sink: null },\n    orders:`,
      ),
      'handlers/one.ts': processor,
      ...limit,
    })
    const definition = await loadPipeline(path('shop.ts'))
    const module = pathToFileURL(path('handlers/one.ts')).href
    expect(definition.processors.orders!.handler).toEqual({ module })
    expect(definition.processors.other!.handler).toEqual({ module })
    await expect(preflightHandlers(definition)).resolves.toBeUndefined()
  })

  it('has its errors placed on the line of the key', async () => {
    const path = scratch({ 'shop.ts': pipelineModule(value, ", ordre: 'key', from: ['dbs']"), ...limit })
    const error = await failureOf(loadPipeline(path('shop.ts')))
    expect(problemsOf(error).map(({ place, code }) => `${place?.replace(path('shop.ts'), '')} ${code}`)).toEqual([
      expect.stringMatching(/^:12:\d+ unknown-key$/),
      expect.stringMatching(/^:12:\d+ unknown-source$/),
    ])
    expect(error.message).toContain('did you mean order?')
    expect(error.exitCode).toBe(2)
  })

  it.each([
    [
      'throws as it loads',
      'export default 1\nthrow new Error("no such luck")\n',
      'pipeline-load',
      /no such luck/,
      ':2:',
    ],
    [
      'does not compile',
      'export default definePipeline({\n  name: ,\n})\n',
      'pipeline-load',
      /could not be loaded/,
      ':2:',
    ],
    ['imports what is not there', "import './gone.js'\n", 'pipeline-load', /gone/, ''],
    ['exports something else', 'export default { name: "shop" }\n', 'not-a-pipeline', /no default export/, ''],
  ])('that %s is an error with its place', async (_, text, code, message, line) => {
    const path = scratch({ 'shop.ts': text })
    const error = await failureOf(loadPipeline(path('shop.ts')))
    expect(error).toMatchObject({ code, exitCode: 2 })
    expect(error.message).toMatch(message)
    expect(error.place).toContain(`shop.ts${line}`)
  })
})

describe('a pipeline in memory', () => {
  const inMemory = (threads?: number) =>
    definePipeline({
      name: 'memory',
      ...(threads === undefined ? {} : { threads }),
      sources: { clicks: { kind: 'redis-streams', url: 'redis://localhost', streams: 'clicks' } },
      processors: { all: { handler: defineProcessor({ handle: () => null }) } },
    })

  it('runs its handlers on the main thread, and is refused threads that could not load them', () => {
    expect(resolvePipeline(inMemory(), { cores: 4 }).threads).toBe(0)
    expect(resolvePipeline(inMemory(2), { module: 'file:///shop.ts' }).threads).toBe(2)
    expect(() => resolvePipeline(inMemory(2))).toThrowError(
      expect.objectContaining({ code: 'handler-not-loadable', exitCode: 2 }),
    )
  })
})

describe('a handler module', () => {
  const yaml = shop.replace('    order: key', '    handler: ./handler.ts')

  it.each([
    [
      'throws as it loads',
      "import { readFileSync } from 'node:fs'\n\nreadFileSync('/no/such/file')\n",
      'handler-load',
      /ENOENT/,
      ':3:',
    ],
    ['does not compile', 'export default {{\n', 'handler-load', /could not be loaded/, ':1:'],
    ['exports no processor', 'export default { handle() {} }\n', 'not-a-processor', /defineProcessor/, ''],
  ])(
    'that %s is found before anything starts, with place, cause and exit code 2',
    async (_, text, code, message, line) => {
      const path = scratch({ 'pipeline.yaml': yaml, 'handler.ts': text })
      const definition = await loadPipeline(path('pipeline.yaml'))
      const error = await failureOf(preflightHandlers(definition))
      expect(error).toMatchObject({ code, exitCode: 2, permanent: true })
      expect(error.message).toMatch(message)
      expect(error.place).toContain(`handler.ts${line}`)
    },
  )
})
