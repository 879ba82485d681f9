/** A stream as a sink under measurement: when it grew to where, and whether all is in it. */
import { Redis } from 'ioredis'
import { peakRssMb } from '../harness/finish.js'
import type { Moment } from '../harness/first-ask.js'
import type { SideOutput } from '../harness/side.js'
import { cpuMs, createTallier, now, type Tally, type WorkShape } from '../harness/tally.js'

const pollMs = 5
const pageSize = 5_000

/** Polls the stream's length until all is in it. CPU is that of this process. */
export async function watchStream(
  url: string,
  stream: string,
  shape: WorkShape,
  began: () => Moment,
): Promise<Omit<SideOutput, 'tally'>> {
  const redis = new Redis(url)
  redis.on('error', () => {})
  try {
    for (;;) {
      const length = await redis.xlen(stream)
      if (length >= shape.total)
        return {
          count: length,
          elapsedMs: now() - began().at,
          cpuMs: cpuMs() - began().cpu,
          peakRssMb: peakRssMb(),
        }
      await new Promise((resolve) => setTimeout(resolve, pollMs))
    }
  } finally {
    redis.disconnect()
  }
}

export async function proveStream(url: string, stream: string, shape: WorkShape): Promise<Tally> {
  const redis = new Redis(url)
  const tallier = createTallier(shape)
  try {
    for (let from = '-'; ; ) {
      const page = await redis.xrange(stream, from, '+', 'COUNT', pageSize)
      for (const [, fields] of page) {
        const value = (name: string) => Number(fields[fields.indexOf(name) + 1])
        tallier.add(value('key'), value('counter'), value('amount'))
      }
      if (page.length < pageSize) return tallier.result()
      from = `(${page.at(-1)![0]}`
    }
  } finally {
    redis.disconnect()
  }
}
