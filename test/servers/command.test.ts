import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, onTestFinished, test } from 'vitest'
import { runningServers } from '../../src/servers/index.js'

const command = join(process.cwd(), 'dist/src/cli/servers-command.js')

function runCommand(args: object): ChildProcess {
  const program = `
    import { serversCommand } from ${JSON.stringify(command)}
    process.exitCode = await serversCommand(${JSON.stringify(args)})`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'pipe'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  return child
}

test('troupe servers start prints what to export, runs until it is told to end, and leaves nothing', async () => {
  const child = runCommand({ action: 'start', kinds: ['redis'] })
  const [line] = (await once(createInterface(child.stdout!), 'line')) as [string]
  const port = Number(/^export TROUPE_REDIS_URL='redis:\/\/127\.0\.0\.1:(\d+)'$/.exec(line)?.[1])
  expect(runningServers().map((record) => record.port)).toContain(port)
  child.kill('SIGINT')
  expect(await once(child, 'exit')).toEqual([0, null])
  expect(runningServers().map((record) => record.port)).not.toContain(port)
})

test('troupe servers start gives a cluster of NATS as one list, and leaves nothing', async () => {
  const child = runCommand({ action: 'start', kinds: ['nats'], natsServers: 3 })
  const [line] = (await once(createInterface(child.stdout!), 'line')) as [string]
  expect(line).toMatch(/^export TROUPE_NATS_URL='(nats:\/\/127\.0\.0\.1:\d+,){2}nats:\/\/127\.0\.0\.1:\d+'$/)
  const ports = [...line.matchAll(/:(\d+)/g)].map(([, port]) => Number(port))
  const running = () => runningServers().filter((record) => ports.includes(record.port)).length
  expect(running()).toBe(3)
  child.kill('SIGTERM')
  expect(await once(child, 'exit')).toEqual([0, null])
  expect(running()).toBe(0)
})

test('troupe servers find names each program, its version and where it came from', async () => {
  const child = runCommand({ action: 'find', json: true })
  const lines: string[] = []
  for await (const line of createInterface(child.stdout!)) lines.push(line)
  const programs = lines.map((line) => JSON.parse(line) as { kind: string; version: string; origin: string })
  expect(programs.map(({ kind }) => kind)).toEqual(['postgres', 'redis', 'nats'])
  for (const { version, origin } of programs)
    expect([version, origin]).toEqual([expect.stringMatching(/^\d/), expect.any(String)])
})

test('the bootstrap refuses a command that it does not know, naming place and remedy', async () => {
  const child = spawn(process.execPath, ['scripts/bootstrap.mjs', 'tets'], { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', (chunk) => {
    said += chunk
  })
  expect(await once(child, 'close')).toEqual([2, null])
  expect(said).toMatch(/no command 'tets'[\s\S]*where: [\s\S]*remedy: one of: start, test/)
})
