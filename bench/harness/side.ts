/**
 * A side of a comparison: a child process that does the work once and prints one JSON line about it.
 *
 * Each measurement has a process of its own, so no side warms, fills or fragments another's heap; its CPU and peak
 * memory are its own.
 */
import { spawn } from 'node:child_process'
import { expectedSums, type Tally, type WorkShape } from './tally.js'

/** What a side prints. A limit decodes nothing and so has no sums. */
export interface SideOutput {
  readonly count: number
  readonly elapsedMs: number
  readonly cpuMs: number
  readonly peakRssMb: number
  readonly tally?: Tally
  /** Anything else worth printing: bytes, allocation, latencies. */
  readonly extra?: Readonly<Record<string, number | string>>
}

export interface SideResult {
  readonly events: number
  readonly perSecond: number
  readonly cpuMicrosPerEvent: number
  readonly peakRssMb: number
  readonly extra: Readonly<Record<string, number | string>>
}

export interface Side {
  readonly name: string
  /** Arguments of `node`. */
  readonly command: readonly string[]
  readonly input: object
  /** Whether it reads events and must prove it; a limit does not. */
  readonly proves: boolean
  /** Events that this side is given, where not all: a slow peer. */
  readonly events?: number
}

const sideDeadlineMs = 90_000

/** @throws Error where the side failed, timed out, or did not do the work */
export async function runSide(side: Side, shape: WorkShape): Promise<SideResult> {
  const output = await launch(side)
  const events = side.events ?? shape.total
  if (output.count !== events) throw new Error(`${side.name} met ${output.count} of ${events} events`)
  if (side.proves) prove(side.name, output.tally, shape)
  return {
    events,
    perSecond: Math.round((events * 1000) / output.elapsedMs),
    cpuMicrosPerEvent: round((output.cpuMs * 1000) / events),
    peakRssMb: Math.round(output.peakRssMb),
    extra: output.extra ?? {},
  }
}

function prove(name: string, tally: Tally | undefined, shape: WorkShape): void {
  if (tally === undefined) throw new Error(`${name} proved nothing`)
  const expected = expectedSums(shape)
  if (tally.disorder > 0) throw new Error(`${name} met ${tally.disorder} events out of their key's order`)
  if (tally.sumCounter !== expected.sumCounter || tally.sumAmount !== expected.sumAmount)
    throw new Error(`${name} arrived at other sums than the writer's`)
}

function launch(side: Side): Promise<SideOutput> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...side.command, JSON.stringify(side.input)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let out = ''
    let errors = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-4_000)
    })
    const deadline = setTimeout(() => child.kill('SIGKILL'), sideDeadlineMs)
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(deadline)
      const line = out.trimEnd().split('\n').at(-1) ?? ''
      if (code === 0 && line.startsWith('{')) return resolve(JSON.parse(line) as SideOutput)
      reject(new Error(`${side.name} ended with ${signal ?? code}: ${errors.trim() || 'it said nothing'}`))
    })
  })
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000
}
