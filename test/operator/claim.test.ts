import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { claimDataDirectory } from '../../src/operator/claim.js'
import { askNode } from '../../src/operator/client.js'
import type { PipelineStatus } from '../../src/pipeline/status-shape.js'
import { TroupeError } from '../../src/world/error.js'
import { realWorld } from '../../src/world/real.js'
import { scratch } from '../pipeline/scratch.js'

const log = { debug() {}, info() {}, warn() {}, error() {} }
const setting = { world: realWorld, log }
const status = {
  pipeline: 'shop',
  pid: 1,
  sources: [{ detail: { lsn: 18_446_744_073_709_551_615n } }],
} as unknown as PipelineStatus
const answers = { status: async () => status, tree: async () => [] }

async function claim(directory: string) {
  const claimed = await claimDataDirectory(directory, setting)
  onTestFinished(() => claimed.release())
  return claimed
}

/** Another process that claims a directory and says so. */
async function claimer(directory: string): Promise<ChildProcess> {
  const url = new URL('../../dist/src/operator/claim.js', import.meta.url).href
  const world = new URL('../../dist/src/world/real.js', import.meta.url).href
  const script = `
    const { claimDataDirectory } = await import(${JSON.stringify(url)})
    const { realWorld } = await import(${JSON.stringify(world)})
    const log = { debug() {}, info() {}, warn() {}, error() {} }
    try {
      await claimDataDirectory(${JSON.stringify(directory)}, { world: realWorld, log })
      process.send('claimed')
      setInterval(() => {}, 1000)
    } catch (error) {
      process.send(error.code)
      process.disconnect()
    }`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  return child
}

const said = async (child: ChildProcess): Promise<unknown> => (await once(child, 'message'))[0]

describe('a data directory', () => {
  it('is claimed by one process, which answers for it; a second is refused with exit code 2', async () => {
    const directory = scratch()('data')
    const first = await claim(directory)
    expect(statSync(first.socket).mode & 0o077).toBe(0)
    await expect(claimDataDirectory(directory, setting)).rejects.toMatchObject({
      code: 'data-directory-in-use',
      exitCode: 2,
      permanent: true,
    })
    await expect(askNode(directory, 'status', setting)).rejects.toMatchObject({ code: 'node-starting' })
    first.serve(answers)
    await expect(askNode(directory, 'status', setting)).resolves.toMatchObject({
      pipeline: 'shop',
      sources: [{ detail: { lsn: '18446744073709551615' } }],
    })
    await expect(askNode(directory, 'tree', setting)).resolves.toEqual([])
    await first.release()
    expect(existsSync(first.socket)).toBe(false)
    await expect(askNode(directory, 'status', setting)).rejects.toMatchObject({ code: 'not-running', exitCode: 1 })
    await (await claim(directory)).release()
  })

  it('whose owner was killed can be claimed at once', async () => {
    const directory = scratch()('data')
    const owner = await claimer(directory)
    expect(await said(owner)).toBe('claimed')
    owner.kill('SIGKILL')
    await once(owner, 'exit')
    expect(readdirSync(join(directory, 'run'))).toHaveLength(1)
    await claim(directory)
    expect(readdirSync(join(directory, 'run'))).toHaveLength(1)
  })

  it('whose owner is stopped by a signal stays claimed, and its silence is told', async () => {
    const directory = scratch()('data')
    const owner = await claimer(directory)
    expect(await said(owner)).toBe('claimed')
    owner.kill('SIGSTOP')
    await expect(claimDataDirectory(directory, setting)).rejects.toMatchObject({ code: 'data-directory-in-use' })
    await expect(askNode(directory, 'status', { ...setting, deadlineMs: 50 })).rejects.toMatchObject({
      code: 'node-silent',
    })
  })

  it('left by a dead owner goes to exactly one of many that come at once', async () => {
    const directory = scratch()('data')
    const dead = await claimer(directory)
    await said(dead)
    dead.kill('SIGKILL')
    await once(dead, 'exit')
    const claims = await Promise.allSettled(Array.from({ length: 8 }, () => claim(directory)))
    expect(claims.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    await expect(askNode(directory, 'status', setting)).rejects.toMatchObject({ code: 'node-starting' })
  })

  it('with a path too long for a socket has it elsewhere, for every way to write the path', async () => {
    const path = scratch()
    const directory = path('d'.repeat(120))
    const owner = await claim(directory)
    expect(owner.socket.startsWith(directory)).toBe(false)
    expect(readFileSync(join(directory, 'troupe.socket'), 'utf8').trim()).toBe(dirname(owner.socket))
    symlinkSync(directory, path('short'))
    await expect(claimDataDirectory(path('short'), setting)).rejects.toMatchObject({ code: 'data-directory-in-use' })
    owner.serve(answers)
    await expect(askNode(path('short'), 'status', setting)).resolves.toMatchObject({ pipeline: 'shop' })
  })

  it('that cannot be made, or holds a file where its socket belongs, is an error with a remedy', async () => {
    const path = scratch({ file: '' })
    await expect(claimDataDirectory(path('file/data'), setting)).rejects.toMatchObject({
      code: 'data-directory',
      exitCode: 2,
    })
    mkdirSync(path('data'))
    writeFileSync(path('data/run'), 'mine')
    await expect(claimDataDirectory(path('data'), setting)).rejects.toMatchObject({
      code: 'data-directory',
      exitCode: 2,
    })
    expect(readFileSync(path('data/run'), 'utf8')).toBe('mine')
  })
})

describe('the local socket', () => {
  async function rawReplies(socket: string, text: string): Promise<string> {
    const client = connect(socket)
    let replies = ''
    client.on('data', (chunk) => {
      replies += chunk.toString()
    })
    client.on('error', () => {})
    client.end(text)
    await new Promise((resolve) => client.on('close', resolve))
    return replies
  }

  it('answers what it does not understand with an error, and cuts off a request without end', async () => {
    const owner = await claim(scratch()('data'))
    owner.serve({
      ...answers,
      status: async () => Promise.reject(new TroupeError({ code: 'busy', message: 'not now' })),
    })
    const client = connect(owner.socket)
    const lines: string[] = []
    client.write('nonsense\n{"id":7,"ask":"sta')
    client.write('tus"}\n{"id":8,"ask":"secrets"}\n')
    for await (const chunk of client) {
      lines.push(...String(chunk).trim().split('\n'))
      if (lines.length >= 3) break
    }
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { id: 0, ok: false, error: { code: 'bad-request' } },
      { id: 7, ok: false, error: { code: 'busy', message: 'not now' } },
      { id: 8, ok: false, error: { code: 'bad-request' } },
    ])
    expect(await rawReplies(owner.socket, 'x'.repeat(100_000))).toBe('')
  })
})
