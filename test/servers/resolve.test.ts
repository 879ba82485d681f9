import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { findArchive } from '../../src/servers/apt.js'
import { describeProgram, resolveProgram, serverKinds } from '../../src/servers/index.js'
import { compareVersions } from '../../src/servers/program.js'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'troupe-test-'))
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true, force: true })
})

function script(name: string, body: string): string {
  const path = join(folder, name)
  writeFileSync(path, `#!/bin/sh\n${body}\n`)
  chmodSync(path, 0o755)
  return path
}

describe('resolution', () => {
  test('rejects a nats-server that is too old and goes on to the next place', async () => {
    const old = script('nats-server', 'echo "nats-server: v2.9.10"')
    vi.stubEnv('PATH', `${folder}:${process.env.PATH}`)
    const program = await resolveProgram('nats')
    expect(program.binary).not.toBe(old)
    expect(program.rejected.join()).toMatch(/it is 2\.9\.10, and 2\.12\.0 or newer is needed/)
    expect(describeProgram(program)).toContain('2.9.10')
  })

  test('does not pass over a variable that names a program which will not do', async () => {
    vi.stubEnv('TROUPE_NATS_BIN', script('old-nats', 'echo "nats-server: v2.9.10"'))
    await expect(resolveProgram('nats')).rejects.toMatchObject({
      code: 'server-unfit',
      exitCode: 1,
      message: expect.stringContaining('2.9.10'),
    })
    vi.stubEnv('TROUPE_REDIS_BIN', join(folder, 'absent'))
    await expect(resolveProgram('redis')).rejects.toThrow(/there is no such file/)
  })

  test('takes the program that a variable names before all others', async () => {
    const binary = script('new-nats', 'echo "nats-server: v2.99.0"')
    vi.stubEnv('TROUPE_NATS_BIN', binary)
    expect(await resolveProgram('nats')).toMatchObject({ binary, version: '2.99.0', origin: 'TROUPE_NATS_BIN' })
  })

  test('the second time asks no installer and no network', async () => {
    for (const kind of serverKinds) await resolveProgram(kind)
    const asked = join(folder, 'asked')
    for (const installer of ['apt-get', 'apt-cache', 'brew', 'npm', 'curl'])
      script(installer, `echo "$0" >> ${asked}; exit 1`)
    // Another PATH is another search: nothing is answered from this process's memory.
    vi.stubEnv('PATH', `${folder}:${process.env.PATH}`)
    for (const kind of serverKinds) expect((await resolveProgram(kind)).version).toMatch(/^\d+\.\d+/)
    expect(existsSync(asked)).toBe(false)
  })

  test('that finds nothing says what to install and what to set', async () => {
    vi.stubEnv('TROUPE_OFFLINE', '1')
    await expect(resolveProgram('redis', { major: 99 })).rejects.toMatchObject({
      code: 'server-not-found',
      exitCode: 1,
      remedy: expect.stringMatching(/apt-get install redis-server.*TROUPE_REDIS_BIN.*TROUPE_REDIS_URL/),
    })
  })
})

test('versions are compared by their numbers', () => {
  expect(compareVersions('2.9.10', '2.12')).toBeLessThan(0)
  expect(compareVersions('18.4', '18.4.0')).toBe(0)
  expect(compareVersions('10.0', '9.9.9')).toBeGreaterThan(0)
})

test("the archive of the machine's own release is read from both formats of apt sources", () => {
  const parts = join(folder, 'sources.list.d')
  mkdirSync(parts)
  const lines = [
    'deb https://packages.example/tool stable main',
    '# deb http://old.example/debian bookworm main',
    'deb [arch=amd64 signed-by=/keys/a.gpg] http://mirror.example/debian bookworm main contrib',
  ]
  writeFileSync(join(folder, 'sources.list'), lines.join('\n'))
  const listed = { uri: 'http://mirror.example/debian', components: ['main', 'contrib'], signedBy: '/keys/a.gpg' }
  expect(findArchive('bookworm', folder)).toEqual(listed)
  const stanzas = [
    'Types: deb\nURIs: http://updates.example/debian\nSuites: trixie-security\nComponents: main',
    '# a comment\nTypes: deb\nURIs: http://mirror.example/debian\nSuites: trixie trixie-updates\nComponents: main\nSigned-By: /keys/b.gpg',
  ]
  writeFileSync(join(parts, 'debian.sources'), stanzas.join('\n\n'))
  expect(findArchive('trixie', folder)).toEqual({
    uri: 'http://mirror.example/debian',
    components: ['main'],
    signedBy: '/keys/b.gpg',
  })
  expect(findArchive('sid', folder)).toBeUndefined()
})
