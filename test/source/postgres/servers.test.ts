// The same source on another major version, and over TLS.
import { execFile } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { resolveProgram } from '../../../src/servers/index.js'
import { harness } from './harness.js'
import { until } from './recording.js'

const run = promisify(execFile)
const has15 = await resolveProgram('postgres', { major: 15 }).then(
  () => true,
  () => false,
)
const hasOpenssl = await run('openssl', ['version']).then(
  () => true,
  () => false,
)

describe.skipIf(!has15)('on PostgreSQL 15 a reader', () => {
  const here = harness({}, 15)

  it('carries rows, key changes, truncates, messages and types', async () => {
    const { recording, config, reader } = await here.start(
      "CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE a1 (id int PRIMARY KEY, m mood[], r int4multirange)",
      ['public.a1'],
    )
    await here.db.query("INSERT INTO a1 VALUES (1, '{ok}', '{[1,3)}'); UPDATE a1 SET id = 2; TRUNCATE a1")
    await here.db.query("SELECT pg_logical_emit_message(true, 'p', 'c')")
    await until(() => recording.events.length === 5, 'five events', recording)
    expect(recording.events.map((event) => event.operation)).toEqual([
      'insert',
      'delete',
      'insert',
      'truncate',
      'message',
    ])
    expect(recording.events[0]!.after!.get('m')).toEqual(['ok'])
    await until(() => recording.out.quiet, 'quiet', recording)
    await reader.stop()
    await here.db.query('INSERT INTO a1 VALUES (3, NULL, NULL)')
    const second = await here.reopen(config, { state: recording.states.at(-1)!, term: 2 })
    await until(() => second.recording.events.length === 1, 'the row', second.recording)
  })
})

describe.skipIf(!hasOpenssl)('over TLS a reader', () => {
  const here = harness()
  let folder: string

  beforeAll(async () => {
    const owner = statSync(join(here.server.directory, 'data'))
    folder = mkdtempSync(join(here.server.directory, 'tls-'))
    const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')]
    const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
    await run('openssl', [...request, '-keyout', key, '-out', certificate, '-days', '2', '-subj', '/CN=localhost'])
    for (const path of [folder, key, certificate]) {
      chmodSync(path, path === folder ? 0o700 : 0o600)
      if (process.getuid?.() === 0) chownSync(path, owner.uid, owner.gid)
    }
    await here.server.restart({ ssl: 'on', ssl_key_file: key, ssl_cert_file: certificate })
    await here.reconnect()
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it('carries small rows and large ones', async () => {
    await here.db.query('CREATE TABLE b1 (id int PRIMARY KEY, t text)')
    const { recording } = await here.start('', ['public.b1'], { url: `${here.server.url}?sslmode=no-verify` })
    const { rows } = await here.db.query(
      "SELECT s.ssl FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.application_name LIKE 'troupe:test:db:%'",
    )
    expect(rows).toEqual([{ ssl: true }])
    await here.db.query("INSERT INTO b1 SELECT g, repeat('x', 100) FROM generate_series(1, 5000) g")
    await here.db.query("INSERT INTO b1 VALUES (0, repeat('troupe', 500000))")
    await until(() => recording.events.length === 5_001, 'all rows', recording)
    expect((recording.events.at(-1)!.after!.get('t') as string).length).toBe(3_000_000)
  })
})
