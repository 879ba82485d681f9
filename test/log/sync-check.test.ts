/** Whether servers sync before they answer: what a node can see of it, and what it does about it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { checkSynced, lookAtSync } from '../../src/log/jetstream/sync-check.js'
import type { Logger } from '../../src/world/logger.js'
import { linkTo, server } from './nats-harness.js'

/** A server whose account may ask what the system account knows. */
async function telling(sync: string, permissions = ''): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'troupe-sync-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const configuration = join(folder, 'nats.conf')
  const question = '"$SYS.REQ.SERVER.PING.JSZ"'
  writeFileSync(
    configuration,
    `server_name: alone
     jetstream { store_dir: $NATS_STORE ${sync} }
     accounts {
       SYS { users: [{ user: sys, password: s }], exports: [{ service: ${question}, response: stream, accounts: [T] }] }
       T {
         jetstream: enabled
         users: [{ user: node, password: n ${permissions} }]
         imports: [{ service: { account: SYS, subject: ${question} } }]
       }
     }
     system_account: SYS`,
  )
  const { port } = await server({ configuration })
  return `nats://node:n@127.0.0.1:${port}`
}

async function check(url: string): Promise<readonly string[]> {
  const warned: string[] = []
  const log: Logger = { debug() {}, info() {}, error() {}, warn: (_, message) => warned.push(message) }
  await checkSynced(await linkTo(url), { log, place: 'the cluster of pipeline shop' })
  return warned
}

test('a server that syncs before it answers is seen to', async () => {
  const url = await telling(', sync_interval: always')
  expect(await lookAtSync(await linkTo(url))).toEqual({ kind: 'synced', servers: 1 })
  expect(await check(url)).toEqual([])
})

test('a server that syncs late is refused by its name, with its interval', async () => {
  const error = await check(await telling(', sync_interval: 10s')).catch((thrown) => thrown)
  expect(error).toMatchObject({ code: 'log-not-synced', exitCode: 2, permanent: true })
  expect(error.message).toMatch(/server alone syncs every 10000 ms/)
  expect(error.remedy).toMatch(/sync_interval: always/)
})

test('who cannot ask says aloud that nothing is verified', async () => {
  const plain = await server({ syncInterval: 'always' })
  const denied = await telling(', sync_interval: always', ', permissions { publish { deny: ["$SYS.>"] } }')
  for (const url of [plain.url, denied]) {
    expect(await lookAtSync(await linkTo(url))).toMatchObject({ kind: 'unverified', seen: 0 })
    expect(await check(url)).toEqual([expect.stringMatching(/could not be verified/)])
  }
})
