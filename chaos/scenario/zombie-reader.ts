/**
 * Group mode. The reader's process is paused; another takes over from a copy of its data directory; then the zombie's
 * XREADGROUP lands: entries go to the consumer of the old term, which nobody reads any more. The taker must look at
 * foreign pending entries again, take them, and mark as late what it delivers after its successors.
 */
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { names } from '../runtime/pipeline.js'
import { startObedient } from '../runtime/start.js'
import { copyData } from './copy.js'
import type { Scenario } from './scenario.js'
import { setStage } from './stage.js'

const stolenAtOnce = 50

export const zombieReader: Scenario = async ({ seed, faults, rate, progress }) => {
  const rounds = faults ?? 5
  const stage = await setStage({ seed, rate })
  const redis = new Redis(stage.redis.url)
  redis.on('error', () => {})
  const first = stage.pipeline({ mode: 'group' })
  const zombie = startObedient(first)
  let taker = zombie
  const broken: string[] = []
  const recoveries: number[] = []
  let stolen = 0
  try {
    await zombie.running
    await stage.load()
    await stage.pause(100, 700)
    zombie.signal('SIGSTOP')
    const consumer = await newestConsumer(redis)
    const copy = join(stage.folder, 'taken-over')
    copyData(first.data, copy)
    taker = startObedient(stage.pipeline({ mode: 'group', data: copy }))
    await taker.running
    recoveries.push(await stage.recovered())
    progress(`taken over from the consumer ${consumer}`)

    for (let round = 1; round <= rounds; round++) {
      await stage.pause(0, 300)
      const reply = (await redis.xreadgroup(
        'GROUP',
        names.group,
        consumer,
        'COUNT',
        stolenAtOnce,
        'BLOCK',
        1_000,
        'STREAMS',
        names.clicks,
        '>',
      )) as [string, [string, string[]][]][] | null
      stolen += reply?.[0]?.[1].length ?? 0
      progress(`the zombie's read took ${reply?.[0]?.[1].length ?? 0} entries away`)
    }
    if (stolen === 0) broken.push('the zombie never got an entry')
    recoveries.push(await stage.recovered())
    // The real one never wakes: what it would have sent was sent above, in its consumer's name.
    await zombie.kill()
    await stage.settle()
    const exit = await taker.stop()
    if (exit.code !== 0) broken.push(`the taker ended with ${exit.signal ?? exit.code} after SIGTERM: ${exit.said}`)
    return { faults: rounds, recoveries, lossWindows: 0, broken, check: await stage.judge('group'), notes: { stolen } }
  } finally {
    await zombie.kill()
    await taker.kill()
    redis.disconnect()
    await stage.clear()
  }
}

/** The consumer that the running reader reads as: the one that was active last. */
async function newestConsumer(redis: Redis): Promise<string> {
  const consumers = (await redis.xinfo('CONSUMERS', names.clicks, names.group)) as unknown[][]
  const found = consumers.map((fields) => {
    const info = new Map<unknown, unknown>()
    for (let at = 0; at < fields.length; at += 2) info.set(fields[at], fields[at + 1])
    return { name: String(info.get('name')), idle: Number(info.get('idle')) }
  })
  const newest = found.sort((a, b) => a.idle - b.idle)[0]
  if (newest === undefined) throw new Error('the group has no consumer')
  return newest.name
}
