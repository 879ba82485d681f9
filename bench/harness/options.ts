/** Options of every benchmark: `NAME [--json] [--quick] [--pairs N] [--scale X] [--no-peers] [--rate N]`. */
import { parseArgs } from 'node:util'

export interface BenchOptions {
  readonly name: string
  readonly json: boolean
  readonly quick: boolean
  /** Pairs of ours and limit; default 5, quick 2. */
  readonly pairs: number
  /** Multiplies the number of events; default 1, quick 0.1. */
  readonly scale: number
  readonly peers: boolean
  readonly peerRuns: number
  /** Only variants whose name contains this. */
  readonly only: string
  /** `takeover`: events a second that are offered; default 10,000. */
  readonly rate: number
}

export function readOptions(args: readonly string[]): BenchOptions {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      pairs: { type: 'string' },
      scale: { type: 'string' },
      'no-peers': { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      rate: { type: 'string' },
    },
  })
  const number = (name: string, text: string | undefined, fallback: number) => {
    const value = text === undefined ? fallback : Number(text)
    if (!(value > 0)) throw new Error(`--${name} takes a number above 0, not ${text}`)
    return value
  }
  return {
    name: positionals[0] ?? '',
    json: values.json,
    quick: values.quick,
    pairs: Math.ceil(number('pairs', values.pairs, values.quick ? 2 : 5)),
    scale: number('scale', values.scale, values.quick ? 0.1 : 1),
    peers: !values['no-peers'],
    peerRuns: values.quick ? 1 : 2,
    only: values.only,
    rate: number('rate', values.rate, 10_000),
  }
}
