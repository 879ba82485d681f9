/**
 * Latency under an open-loop load: rows bear the moment at which they were meant to be committed, a reader of the sink
 * subtracts it from the moment of their arrival. A stall of the writer, of PostgreSQL or of Troupe is in the figures.
 *
 * Writer, Troupe and reader are processes of their own on one machine, with one clock.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { walToRedis } from './ours/config.js'
import { script } from './wal.js'
import { writeWal } from './workload/wal.js'

export interface LatencyOptions {
  readonly postgres: string
  readonly redis: string
  readonly rate: number
  readonly seconds: number
}

export interface Latency {
  readonly events: number
  /** Events a second that arrived. */
  readonly perSecond: number
  /** Milliseconds. */
  readonly p50: number
  readonly p99: number
  readonly max: number
}

const sinkStream = 'sink:latency'
const startMs = 15_000

export async function measureLatency(options: LatencyOptions): Promise<Latency> {
  const work = await writeWal(options.postgres, 1_000, { keys: 1_000, total: 0 })
  const children: ChildProcess[] = []
  const begin = (path: string, input: object) => {
    const child = spawn(process.execPath, [script(path), JSON.stringify(input)], { stdio: ['pipe', 'pipe', 'inherit'] })
    children.push(child)
    return child
  }
  try {
    const config = walToRedis(options.postgres, await work.copySlot(), options.redis, sinkStream)
    const runner = begin('./ours/run-until-told.js', { config })
    await lineOf(runner, startMs)
    const total = options.rate * options.seconds
    const reader = begin('./workload/latency-reader.js', {
      redis: options.redis,
      stream: sinkStream,
      total,
      warmUp: options.rate,
    })
    await lineOf(reader, startMs)
    begin('./workload/latency-writer.js', { url: options.postgres, rate: options.rate, total })
    return JSON.parse(await lineOf(reader, options.seconds * 1_000 + 30_000)) as Latency
  } finally {
    for (const child of children) child.kill('SIGKILL')
    await work.close()
  }
}

/** The next line that the child prints. */
function lineOf(child: ChildProcess, deadlineMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const deadline = setTimeout(() => reject(new Error(`${child.spawnargs[1]} said nothing in time`)), deadlineMs)
    let text = ''
    child.stdout!.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      if (!text.includes('\n')) return
      clearTimeout(deadline)
      child.stdout!.removeAllListeners('data')
      resolve(text.slice(0, text.indexOf('\n')))
    })
    child.once('exit', (code) => reject(new Error(`${child.spawnargs[1]} ended with ${code}`)))
  })
}
