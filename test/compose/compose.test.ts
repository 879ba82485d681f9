import { readFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { catalogue, compareVersions } from '../../src/servers/program.js'

interface Service {
  readonly image: string
  readonly command: readonly string[]
  readonly ports: readonly string[]
  readonly volumes: readonly string[]
  readonly healthcheck: { readonly test: readonly string[]; readonly retries: number }
}
interface Compose {
  readonly services: Readonly<Record<'postgres' | 'redis' | 'nats', Service>>
  readonly volumes: Readonly<Record<string, unknown>>
}

const root = new URL('../../', import.meta.url)
const text = readFileSync(new URL('docker-compose.yml', root), 'utf8')
const compose = parse(text) as Compose
const schema = JSON.parse(readFileSync(new URL('test/compose/compose.schema.json', root), 'utf8'))
const validate = new Ajv({ allowUnionTypes: true, strictTuples: false }).compile(schema)

test('docker-compose.yml fits the schema of Compose files', () => {
  validate(compose)
  expect(validate.errors ?? []).toEqual([])
})

test('a misspelt key, a bad port and a bad duration do not fit it', () => {
  for (const [right, wrong] of [
    ['healthcheck:', 'heathcheck:'],
    ['127.0.0.1:56379:6379', 'redis:6379'],
    ['interval: 2s', 'interval: two'],
  ] as const) {
    expect(text).toContain(right)
    expect(validate(parse(text.replace(right, wrong)))).toBe(false)
  }
})

describe.each(['postgres', 'redis', 'nats'] as const)('the %s of docker-compose.yml', (kind) => {
  const service = compose.services[kind]

  test('is pinned to a version that Troupe takes', () => {
    const version = new RegExp(`^${kind}:(\\d+\\.\\d+(?:\\.\\d+)?)(?:-[a-z0-9.]+)?$`).exec(service.image)?.[1]
    expect(version, service.image).toBeDefined()
    expect(compareVersions(version!, catalogue[kind].minimum)).toBeGreaterThanOrEqual(0)
  })

  test('has a health check that asks the server itself', () => {
    expect(service.healthcheck.retries).toBeGreaterThan(0)
    expect(service.healthcheck.test.join(' ')).toMatch(/pg_isready|redis-cli ping|healthz/)
  })

  test('is published on loopback alone, at the port that its head names', () => {
    expect(service.ports.length).toBeGreaterThan(0)
    for (const port of service.ports) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/)
    const url = new RegExp(`export ${catalogue[kind].endpointVariable}=(\\S+)`).exec(text)?.[1]
    expect(service.ports[0]?.split(':')[1]).toBe(new URL(url!).port)
  })

  test('keeps its data in a volume that is declared', () => {
    const names = service.volumes.map((volume) => volume.split(':')[0]!)
    expect(Object.keys(compose.volumes)).toEqual(expect.arrayContaining(names))
  })
})

test('the servers are set up as Troupe needs them', () => {
  expect(compose.services.postgres.command).toContain('wal_level=logical')
  expect(compose.services.redis.command.join(' ')).toContain('--appendonly yes')
  expect(compose.services.nats.command).toContain('--jetstream')
})
