import { existsSync, readdirSync, readFileSync } from 'node:fs'
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
interface Overlay {
  readonly services: Readonly<
    Record<
      string,
      Service & {
        readonly environment: Readonly<Record<string, string>>
        readonly env_file?: readonly string[]
        readonly depends_on?: object
      }
    >
  >
  readonly volumes: Readonly<Record<string, unknown>>
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

describe('cluster/docker-compose.yml, laid over it', () => {
  const file = readFileSync(new URL('cluster/docker-compose.yml', root), 'utf8')
  const overlay = parse(file, { merge: true }) as Overlay
  const called = (prefix: string) => Object.entries(overlay.services).filter(([name]) => name.startsWith(prefix))

  test('fits the schema of Compose files', () => {
    validate(overlay)
    expect(validate.errors ?? []).toEqual([])
  })

  test('runs three NATS servers, each with the configuration of three, its own certificate and its own store', () => {
    const servers = called('nats-')
    expect(servers.map(([name]) => name)).toEqual(['nats-1', 'nats-2', 'nats-3'])
    for (const [name, { image, command, environment, volumes }] of servers) {
      expect([image, command]).toEqual([compose.services.nats.image, ['--config', '/etc/nats/three.conf']])
      expect(environment).toMatchObject({
        NATS_NAME: name,
        NATS_CERT: `/secrets/${name}.pem`,
        NATS_KEY: `/secrets/${name}.key`,
      })
      expect(volumes).toContain(`${name}:/data`)
      expect(Object.keys(overlay.volumes)).toContain(name)
    }
  })

  test('sets every variable that the configuration wants', () => {
    const folder = new URL('cluster/nats/', root)
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.conf'))
    const wanted = files.flatMap((name) =>
      [...readFileSync(new URL(name, folder), 'utf8').matchAll(/: \$(NATS_[A-Z_]+)/g)].map(([, variable]) => variable!),
    )
    expect(wanted.length).toBeGreaterThan(5)
    const given = Object.keys(overlay.services['nats-2']!.environment)
    const secret = wanted.filter((variable) => !given.includes(variable))
    expect(secret.every((variable) => /^NATS_(ADMIN|SHOP|OPERATOR|SYS)_PASSWORD$/.test(variable))).toBe(true)
    expect(overlay.services['nats-2']!.env_file).toEqual(['cluster/secrets/passwords.env'])
  })

  test('runs three nodes with the least of rights, provisioned once by another user', () => {
    const nodes = called('node-')
    expect(nodes.map(([name]) => name)).toEqual(['node-1', 'node-2', 'node-3'])
    for (const [name, { command, depends_on: after }] of nodes) {
      expect(command).toEqual([
        'run',
        '/pipeline/pipeline.yaml',
        '--cluster',
        expect.stringMatching(/^tls:\/\/shop:/),
        '--node',
        name,
        '--no-provision',
      ])
      expect(after).toEqual({ provision: { condition: 'service_completed_successfully' } })
    }
    expect(overlay.services.provision!.command.join(' ')).toMatch(/--cluster tls:\/\/admin:.* --for 1s/)
  })

  test('publishes nothing and holds no secret', () => {
    for (const service of Object.values(overlay.services)) expect(service).not.toHaveProperty('ports')
    expect(file).not.toMatch(/PASSWORD: /)
  })

  test('mounts files that are there, or that cluster/prepare.sh makes', () => {
    const mounts = Object.values(overlay.services).flatMap(({ volumes = [] }) =>
      volumes.map((one) => one.split(':')[0]!),
    )
    const files = mounts.filter((one) => one.startsWith('./') && !one.startsWith('./cluster/secrets'))
    expect(files.length).toBeGreaterThan(3)
    for (const path of files) expect(existsSync(new URL(path, root)), path).toBe(true)
  })
})
