/** Whole clusters under the simulated World, as `npm run simulate` runs them: the short form. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const entry = fileURLToPath(new URL('../../dist/chaos/simulate.js', import.meta.url))
const full = process.env.TROUPE_FULL === '1'
/** In the full form it shares its cores with the scenarios at length. */
const patience = full ? 5_400_000 : 600_000

interface Report {
  readonly seeds: number
  readonly messages: number
  readonly faults: number
  readonly zero: readonly string[]
  readonly failures: readonly { seed: number; violations: readonly string[]; replay: string }[]
  readonly digest: string
}

function simulate(...args: string[]): { status: number | null; report: Report } {
  const { status, stdout } = spawnSync(process.execPath, [entry, '--suite', 'cluster', '--json', ...args], {
    encoding: 'utf8',
    timeout: patience,
  })
  return { status, report: (JSON.parse(stdout) as { suites: Report[] }).suites[0]! }
}

describe('a simulated cluster', () => {
  it(
    'keeps its promises over many seeds, and every fault has met every state',
    () => {
      const seeds = full ? 10_000 : 300
      const { status, report } = simulate('--seeds', String(seeds))
      expect(report.failures).toEqual([])
      expect(report.zero).toEqual([])
      expect(report.messages).toBeGreaterThanOrEqual(200 * seeds)
      expect(report.faults).toBeGreaterThanOrEqual(10 * seeds)
      expect(status).toBe(0)
    },
    patience,
  )

  it('runs the same way each time under the same seed, on whichever thread', () => {
    const [a, b, c] = ['11', '11', '12'].map((seed) => simulate('--seed', seed).report)
    expect(a?.digest).toBe(b?.digest)
    expect(a?.digest).not.toBe(c?.digest)
    const one = simulate('--seeds', '12', '--threads', '1').report
    const two = simulate('--seeds', '12', '--threads', '2').report
    expect({ ...two, ms: 0 }).toEqual({ ...one, ms: 0 })
  }, 120_000)

  it.each([
    'fence-on-the-wrong-message',
    'blind-resend',
    'confirm-on-receive',
    'dedupe-by-high-water-mark',
    'trim-by-stream-sequence',
    'ignore-the-checkpoint',
    'trim-without-holdback',
  ])(
    'with %s planted is found out, and the seed replays it',
    (fault) => {
      const { status, report } = simulate('--seeds', '1000', '--stop', '--plant', fault)
      expect(status).toBe(1)
      const [first] = report.failures
      expect(first?.replay).toBe(`npm run simulate -- --suite cluster --seed ${first?.seed} --plant ${fault}`)
      const again = simulate('--seed', String(first?.seed), '--plant', fault).report
      expect(again.failures[0]?.violations).toEqual(first?.violations)
      expect(simulate('--seed', String(first?.seed)).report.failures).toEqual([])
    },
    300_000,
  )
})
