import { readdirSync, readFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { loadPipeline } from '../../src/pipeline/load.js'
import { pipelineJsonSchema } from '../../src/pipeline/schema.js'
import { shop } from './scratch.js'

const validate = new Ajv({ strict: false, allErrors: true }).compile(pipelineJsonSchema())
const examples = readdirSync('examples').filter((name) => name.endsWith('.yaml'))

describe('the JSON Schema for editors', () => {
  it.each(examples)('accepts examples/%s, which also loads', async (name) => {
    validate(parse(readFileSync(`examples/${name}`, 'utf8')))
    expect(validate.errors).toBeNull()
    await expect(loadPipeline(`examples/${name}`, { env: {} })).resolves.toMatchObject({ partitions: 16 })
  })

  it.each([
    ['a misspelt key', shop.replace('order:', 'ordr:')],
    ['an unknown kind', shop.replace('kind: jsonl', 'kind: csv')],
    ['a missing key', shop.replace('name: shop\n', '')],
    ['a number out of bounds', `${shop}partitions: 5000`],
    ['a bad name', shop.replace('  db:', '  d.b:')],
    ['a duration that is none', `${shop}stopDeadline: soon`],
  ])('refuses %s, as the loader does', (_, text) => {
    expect(validate(parse(shop))).toBe(true)
    expect(validate(parse(text))).toBe(false)
  })

  it('describes every key', () => {
    const bare: string[] = []
    const walk = (schema: unknown, path: string): void => {
      if (typeof schema !== 'object' || schema === null) return
      for (const [key, value] of Object.entries((schema as { properties?: object }).properties ?? {})) {
        if (key !== 'kind' && typeof (value as { description?: unknown }).description !== 'string')
          bare.push(`${path}.${key}`)
        walk(value, `${path}.${key}`)
      }
      for (const option of [
        ...((schema as { anyOf?: unknown[] }).anyOf ?? []),
        ...((schema as { oneOf?: unknown[] }).oneOf ?? []),
      ])
        walk(option, path)
      walk((schema as { additionalProperties?: unknown }).additionalProperties, `${path}.*`)
    }
    walk(pipelineJsonSchema(), '')
    expect(bare).toEqual([])
  })
})
