/** `npm start -- [--for 20s] [--rate 2000] [--kill] [--nodes 3] [--json] [--seed 1]` */
import { parseArgs } from 'node:util'

export interface DemoOptions {
  readonly forMs: number
  /** Changes a second. */
  readonly rate: number
  readonly kill: boolean
  /** On how many node processes of a cluster; null: in this process, without one. */
  readonly nodes: number | null
  readonly json: boolean
  readonly seed: number
}

const usage = 'usage: npm start -- [--for 20s] [--rate 2000] [--kill] [--nodes 3] [--json] [--seed 1]'

/** @throws Error with the usage */
export function readDemoOptions(args: readonly string[]): DemoOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      for: { type: 'string', default: '20s' },
      rate: { type: 'string', default: '2000' },
      nodes: { type: 'string' },
      kill: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      seed: { type: 'string', default: '1' },
    },
  })
  const match = /^(\d+(?:\.\d+)?)(ms|s|m)?$/.exec(values.for)
  if (match === null) throw new Error(`--for takes a duration such as 20s, not ${values.for}\n${usage}`)
  const unit = { ms: 1, s: 1_000, m: 60_000 }[match[2] ?? 's'] ?? 1_000
  const whole = (name: string, text: string, most: number) => {
    const value = Number(text)
    if (!Number.isInteger(value) || value < 1 || value > most)
      throw new Error(`--${name} takes a whole number from 1 to ${most}, not ${text}\n${usage}`)
    return value
  }
  return {
    forMs: Number(match[1]) * unit,
    rate: whole('rate', values.rate, 1_000_000),
    kill: values.kill,
    nodes: values.nodes === undefined ? null : whole('nodes', values.nodes, 9),
    json: values.json,
    seed: whole('seed', values.seed, 2 ** 31),
  }
}
