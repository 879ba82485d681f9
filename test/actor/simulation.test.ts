/** The kernel under the simulated World, as `npm run simulate` runs it: the short form. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const entry = fileURLToPath(new URL('../../dist/chaos/simulate.js', import.meta.url))

interface Outcome {
  readonly ok: boolean
  readonly suites: readonly {
    readonly seeds: number
    readonly messages: number
    readonly faults: number
    readonly zero: readonly string[]
    readonly failures: readonly { seed: number; violations: readonly string[]; replay: string }[]
    readonly digest: string
  }[]
}

function simulate(...args: string[]): { status: number | null; outcome: Outcome } {
  const { status, stdout } = spawnSync(process.execPath, [entry, '--suite', 'supervisor', '--json', ...args], {
    encoding: 'utf8',
    timeout: 60_000,
  })
  return { status, outcome: JSON.parse(stdout) as Outcome }
}

describe('the simulated kernel', () => {
  it('keeps its promises over 200 seeds, and every fault has met every state', () => {
    const { status, outcome } = simulate('--seeds', '200')
    expect(outcome.suites[0]?.failures).toEqual([])
    expect(outcome.suites[0]?.zero).toEqual([])
    expect(status).toBe(0)
  })

  it('runs the same way each time under the same seed', () => {
    const [a, b, c] = ['7', '7', '8'].map((seed) => simulate('--seed', seed).outcome.suites[0]!)
    expect(a?.digest).toBe(b?.digest)
    expect(a?.digest).not.toBe(c?.digest)
    expect(a?.messages).toBeGreaterThanOrEqual(200)
    expect(a?.faults).toBeGreaterThanOrEqual(10)
  })

  it.each(['intensity-off-by-one', 'a-watcher-not-told', 'restart-order-reversed', 'a-child-not-restarted'])(
    'with %s planted is found out, and the seed replays it',
    (fault) => {
      const { status, outcome } = simulate('--seeds', '100', '--plant', fault)
      expect(status).toBe(1)
      const [first] = outcome.suites[0]?.failures ?? []
      expect(first?.replay).toBe(`npm run simulate -- --suite supervisor --seed ${first?.seed} --plant ${fault}`)
      const again = simulate('--seed', String(first?.seed), '--plant', fault)
      expect(again.outcome.suites[0]?.failures[0]?.violations).toEqual(first?.violations)
      expect(simulate('--seed', String(first?.seed)).status).toBe(0)
    },
  )
})
