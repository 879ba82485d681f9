import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { reapOrphans, runningServers } from '../../src/servers/index.js'
import { identify, isAlive, type ProcessIdentity } from '../../src/servers/processes.js'

const hasSetpriv = spawnSync('setpriv', ['--pdeathsig', 'KILL', 'true']).status === 0
const module = join(process.cwd(), 'dist/src/servers/index.js')

let folder: string

// Records of their own: any other suite that starts a server reaps what it finds in the common ones.
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tr-'))
  chmodSync(folder, 0o755)
  vi.stubEnv('TMPDIR', folder)
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
})

/** A process that starts a server and is then killed, as a crashed program is. */
async function startAndCrash(
  start: 'startRedis' | 'startPostgres',
  env: NodeJS.ProcessEnv,
): Promise<{ server: ProcessIdentity; directory: string }> {
  const program = `
    import { ${start} } from ${JSON.stringify(module)}
    const server = await ${start}()
    console.log(JSON.stringify({ pid: server.pid, directory: server.directory }))
    process.stdin.resume()`
  const parent = spawn(process.execPath, ['--input-type=module', '-e', program], {
    env,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const [line] = (await once(createInterface(parent.stdout), 'line')) as [string]
  const { pid, directory } = JSON.parse(line) as { pid: number; directory: string }
  const server = identify(pid)!
  parent.kill('SIGKILL')
  await once(parent, 'exit')
  return { server, directory }
}

test('a server whose parent was killed is reaped at the next start, with its directory', async () => {
  // Without setpriv on PATH nothing binds it to its parent.
  const { server, directory } = await startAndCrash('startRedis', { ...process.env, PATH: '/nonexistent' })
  expect(isAlive(server)).toBe(true)
  expect(runningServers().map((record) => record.server?.pid)).toContain(server.pid)
  reapOrphans()
  await vi.waitFor(() => expect(isAlive(server)).toBe(false), 5_000)
  expect(existsSync(directory)).toBe(false)
  expect(runningServers().map((record) => record.server?.pid)).not.toContain(server.pid)
})

test.runIf(hasSetpriv).for(['startRedis', 'startPostgres'] as const)(
  'a server of %s dies with its parent where the machine has setpriv',
  async (start) => {
    const { server } = await startAndCrash(start, process.env)
    await vi.waitFor(() => expect(isAlive(server)).toBe(false), 5_000)
    reapOrphans()
  },
)

test('a process that took the pid of a dead server is left alone', () => {
  const stranger = identify(process.pid)!
  expect(isAlive(stranger)).toBe(true)
  expect(isAlive({ ...stranger, started: 'another time' })).toBe(false)
})
