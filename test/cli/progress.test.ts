import { describe, expect, it } from 'vitest'
import { terminalProgress } from '../../src/cli/progress.js'
import type { PipelineStatus } from '../../src/pipeline/status-shape.js'
import type { World } from '../../src/world/world.js'

/** Time that passes when told. */
function handWorld() {
  const due: (() => void)[] = []
  const world = {
    setTimer(_: number, run: () => void) {
      due.push(run)
      return { cancel: () => void due.splice(due.indexOf(run), 1) }
    },
  } as unknown as World
  const tick = async (): Promise<void> => {
    due.shift()?.()
    await new Promise(setImmediate)
  }
  return { world, tick, due }
}

const sample = (upMs: number, eventsIn: number): PipelineStatus => ({
  pipeline: 'shop',
  state: 'running',
  pid: 1,
  startedAt: '2026-01-01T00:00:00.000Z',
  upMs,
  sources: [
    {
      name: 'db',
      kind: 'postgres',
      state: 'streaming',
      epoch: null,
      eventsIn,
      bytesIn: 0,
      flushes: 0,
      positionRead: null,
      positionConfirmed: null,
      lagBytes: null,
      lagEntries: null,
      lagMs: null,
      restarts: 0,
      lossWindows: 0,
      detail: {},
    },
  ],
  processors: [],
  partitions: [],
  log: { outstandingBytes: 0, limitBytes: 1024, appends: 0, checkpoints: 0, checkpointAgeMs: null },
  actors: { threads: [], restarts: 0, deadLetters: 0, messages: 0 },
  memory: { rssBytes: 0, heapUsedBytes: 0, externalBytes: 0 },
  lastError: null,
})

describe('progress on a terminal', () => {
  it('draws the block again in place, with rates, and log lines above it', async () => {
    const { world, tick, due } = handWorld()
    const written: string[] = []
    const progress = terminalProgress(world, { columns: 60, write: (text) => written.push(text) })
    const statuses = [sample(1_000, 0), sample(2_000, 5_000)]
    progress.show(async () => statuses.shift()!)
    await tick()
    expect(written[0]).toContain('shop  running  up 1s')
    const lines = written[0]!.split('\n').length - 1
    await tick()
    expect(written[1]!.startsWith(`\u001b[${lines}A\r\u001b[J`)).toBe(true)
    expect(written[1]).toContain('5,000/s')
    progress.line('info  something')
    expect(written[2]).toMatch(/\[J.*info {2}something\nshop/s)
    for (const line of written[1]!.split('\n'))
      expect(line.replace(/\u001b\[[0-9]*[AJ]|\r/g, '').length).toBeLessThan(60)
    progress.end()
    expect(due).toEqual([])
  })
})
