import { existsSync } from 'node:fs'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type PostgresServer, startPostgres } from '../../src/servers/index.js'

let server: PostgresServer

beforeAll(async () => {
  server = await startPostgres()
})
afterAll(() => server?.stop())

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 1_000, query_timeout: 1_000 })
  client.on('error', () => {})
  try {
    await client.connect()
    return (await client.query(sql)).rows
  } finally {
    await client.end().catch(() => {})
  }
}

describe('a PostgreSQL of our own', () => {
  test('is ready for logical decoding over TCP and over its socket', async () => {
    for (const url of [server.url, server.socketUrl])
      expect(await query(url, 'SHOW wal_level')).toEqual([{ wal_level: 'logical' }])
    const slot = "SELECT slot_name FROM pg_create_logical_replication_slot('probe', 'pgoutput', true)"
    expect(await query(server.url, slot)).toEqual([{ slot_name: 'probe' }])
  })

  test('refuses a wrong password', async () => {
    const wrong = new URL(server.url)
    wrong.password = 'not-it'
    await expect(query(wrong.href, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' })
  })

  test('killed and started again has its port, its data and another pid', async () => {
    const url = await server.createDatabase('Ledger of "shop"')
    expect(url).toBe(server.urlFor('Ledger of "shop"'))
    await query(url, 'CREATE TABLE entry AS SELECT 7 AS n')
    const { pid, port } = server
    await server.kill()
    expect(server.running).toBe(false)
    await expect(query(server.url, 'SELECT 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    await server.restart()
    expect(server.port).toBe(port)
    expect(server.pid).not.toBe(pid)
    expect(await query(url, 'SELECT n FROM entry')).toEqual([{ n: 7 }])
  })

  test('paused answers nobody, not even an open connection, and resumed goes on', async () => {
    const client = new pg.Client({ connectionString: server.url })
    await client.connect()
    server.pause()
    await expect(query(server.url, 'SELECT 1')).rejects.toThrow(/timeout/i)
    let answered = false
    const answer = client.query('SELECT 1').then(() => {
      answered = true
    })
    await expect(query(server.socketUrl, 'SELECT 1')).rejects.toThrow(/timeout/i)
    expect(answered).toBe(false)
    server.resume()
    await answer
    await client.end()
  })

  test('restarted with other settings has them, and keeps them', async () => {
    await server.restart({ wal_level: 'replica', max_wal_senders: '3' })
    expect(await query(server.url, 'SHOW wal_level')).toEqual([{ wal_level: 'replica' }])
    await server.restart()
    expect(await query(server.url, 'SHOW max_wal_senders')).toEqual([{ max_wal_senders: '3' }])
  })

  test('that cannot start says so with the end of its log', async () => {
    const started = startPostgres({ settings: { no_such_setting: '1' } })
    await expect(started).rejects.toMatchObject({
      code: 'server-not-ready',
      message: expect.stringContaining('no_such_setting'),
    })
  })

  test('stopped leaves no directory and cannot be started again', async () => {
    const other = await startPostgres()
    const { directory } = other
    await other.stop()
    await other.stop()
    expect(existsSync(directory)).toBe(false)
    await expect(other.restart()).rejects.toMatchObject({ code: 'server-stopped' })
  })
})
