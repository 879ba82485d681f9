import { execFile } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { merged } from '../../examples/shop/merged.js'
import { readDemoOptions } from '../../examples/shop/options.js'
import { frame, type Sample } from '../../examples/shop/view.js'

describe('the demo', () => {
  it('carries the shop while its threads are killed, and proves it', async () => {
    const report = await new Promise<Record<string, unknown>>((resolve, reject) => {
      const args = ['dist/examples/shop/demo.js', '--for', '6s', '--rate', '1000', '--kill', '--json']
      execFile(process.execPath, args, { timeout: 80_000 }, (error, out, errors) => {
        if (error === null) resolve(JSON.parse(out) as Record<string, unknown>)
        else reject(new Error(`${out}\n${errors.slice(-2_000)}`, { cause: error }))
      })
    })
    expect(report).toMatchObject({ lost: 0, reordered: 0, phantom: 0, deadLetters: 0, drained: true, verdict: 'pass' })
    expect(report.rows).toMatchObject({ equal: true })
    expect(report.killedThreads).toBeGreaterThanOrEqual(1)
    expect(report.eventsOut).toBeGreaterThan(500)
  }, 90_000)

  it('carries the shop on three nodes over three NATS servers while whole nodes are killed, and proves it', async () => {
    const report = await new Promise<Record<string, unknown>>((resolve, reject) => {
      const args = ['dist/examples/shop/demo.js', '--for', '15s', '--rate', '300', '--nodes', '3', '--kill', '--json']
      execFile(process.execPath, args, { timeout: 200_000 }, (error, out, errors) => {
        if (error === null) resolve(JSON.parse(out) as Record<string, unknown>)
        else reject(new Error(`${out}\n${errors.slice(-2_000)}`, { cause: error }))
      })
    })
    expect(report).toMatchObject({ nodes: 3, lost: 0, reordered: 0, phantom: 0, drained: true, verdict: 'pass' })
    expect(report.rows).toMatchObject({ equal: true })
    expect(report.killedNodes).toBeGreaterThanOrEqual(1)
    expect(report.eventsOut).toBeGreaterThan(0)
  }, 210_000)

  it('shows many nodes as one pipeline: who works speaks, and what the dead had counted counts on', () => {
    const idle = sample(1_000, 0).status
    const working = sample(1_000, 500).status
    const away = { ...idle, sources: [{ ...idle.sources[0]!, state: 'stopped' as const }] }
    const none = { ...away, partitions: [{ ...idle.partitions[0]!, thread: null, state: 'stopped' as const }] }
    const whole = merged(
      [
        { name: 'n1', status: none },
        { name: 'n2', status: working },
      ],
      [sample(1_000, 40).status],
    )
    expect(whole.sources).toMatchObject([{ state: 'streaming', eventsIn: 540 }])
    expect(whole.partitions).toMatchObject([{ thread: 'n2/owners-0', state: 'running', events: 540 }])
    expect(whole.memory.rssBytes).toBe(2 * 2 ** 20)
    const lines = frame(null, { ...sample(1_000, 0), status: whole, nodes: 'n1 up 1 s; n2 up 1 s' }, 20_000).join('\n')
    expect(lines).toMatch(/nodes +n1 up 1 s; n2 up 1 s/)
    expect(lines).toMatch(/key-0 .* on n2\/owners-0/)
  })

  it('refuses what it does not understand', () => {
    expect(readDemoOptions(['--for', '1m', '--rate', '10'])).toMatchObject({ forMs: 60_000, rate: 10, kill: false })
    expect(() => readDemoOptions(['--for', 'ever'])).toThrow(/duration/)
    expect(() => readDemoOptions(['--rate', '0'])).toThrow(/rate/)
    expect(() => readDemoOptions(['--fast'])).toThrow()
    expect([readDemoOptions([]).nodes, readDemoOptions(['--nodes', '3']).nodes]).toEqual([null, 3])
    for (const wrong of ['0', '10', 'three']) expect(() => readDemoOptions(['--nodes', wrong])).toThrow(/--nodes takes/)
  })

  it('shows rates, lag, partitions and restarts', () => {
    const lines = frame(sample(0, 0), sample(1_000, 500), 20_000).join('\n')
    expect(lines).toContain('500/s')
    expect(lines).toContain('lag 4 kB')
    expect(lines).toMatch(/key-0 .* on owners-0 .* restarts 2/)
  })
})

function sample(atMs: number, events: number): Sample {
  return {
    atMs,
    written: events,
    behindMs: 0,
    kills: 1,
    status: {
      pipeline: 'shop',
      state: 'running',
      pid: 1,
      startedAt: '2026-01-01T00:00:00.000Z',
      upMs: atMs,
      sources: [
        {
          name: 'db',
          kind: 'postgres',
          state: 'streaming',
          epoch: '1',
          eventsIn: events,
          bytesIn: 0,
          flushes: 0,
          positionRead: null,
          positionConfirmed: '0/1',
          lagBytes: 4_096,
          lagEntries: null,
          lagMs: null,
          restarts: 0,
          lossWindows: 0,
          detail: {},
        },
      ],
      processors: [],
      partitions: [
        {
          set: 'key',
          partition: 0,
          thread: 'owners-0',
          state: 'running',
          outstandingBytes: 0,
          outstandingFrames: 0,
          events,
          restarts: 2,
        },
      ],
      log: { outstandingBytes: 0, limitBytes: 0, appends: 0, checkpoints: 0, checkpointAgeMs: null },
      actors: { threads: ['owners-0'], restarts: 2, deadLetters: 0, messages: 0 },
      memory: { rssBytes: 2 ** 20, heapUsedBytes: 0, externalBytes: 0 },
      lastError: null,
    },
  }
}
