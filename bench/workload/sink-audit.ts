/**
 * Reads the sink of `takeover` between the steps, to the last entry: who handled what, when it was committed (the entry's id
 * is the millisecond of the commit by Redis's clock, which is this host's), what came twice and what is missing.
 */
import { Redis } from 'ioredis'

/** A partition has gone from one node to another. */
export interface Passage {
  readonly partition: number
  readonly from: string
  readonly to: string
  /** ms since the Unix epoch: the last commit of the one, the first of the other. */
  readonly lastAt: number
  readonly firstAt: number
}

export interface Newest {
  readonly node: string
  /** ms since the Unix epoch. */
  readonly due: number
}

export interface SinkAudit {
  /** A step begins: forgets the passages and silences of the one before. */
  begin(at: number): void
  /** What was due before may still have been read by whoever ended then. */
  endedAt(at: number): void
  /** Reads and removes what is new. */
  catchUp(): Promise<void>
  /** The newest entry of each partition; null where there was none since the last `catchUp`. */
  newest(): Promise<readonly (Newest | null)[]>
  readonly passages: readonly Passage[]
  /** First commit, since the step began, of an event that was due after its begin, or after `endedAt`; null: none. */
  readonly firstDue: number | null
  /**
   * Longest time of the step, ms, in which nothing was committed by the partitions that stayed where they were: one that
   * moves has a backlog, and would commit that meanwhile.
   *
   * @throws Error where none stayed
   */
  longestSilence(): number
  /** Events that were committed in the first `ms` of the step. */
  committedWithin(ms: number): number
  readonly events: number
  readonly duplicated: number
  /** Counters that were leapt over. */
  readonly leapt: number
  lastCounter(key: number): number
  close(): void
}

const pageSize = 2_000
/** A step is shorter, ms. */
const longestStep = 600_000
/** Each has a bit. */
const mostPartitions = 32

export function createSinkAudit(url: string, streams: readonly string[], keys: number): SinkAudit {
  if (streams.length > mostPartitions) throw new Error(`${streams.length} partitions are more than ${mostPartitions}`)
  const redis = new Redis(url)
  redis.on('error', () => {})
  const last = new Int32Array(keys)
  const places = streams.map(() => ({ id: '0', at: 0, node: '' }))
  const passages: Passage[] = []
  let begunAt = 0
  let dueFrom = 0
  /** By the millisecond of the step: how many commits, and by which partitions. */
  let commits = new Uint16Array(longestStep)
  let committers = new Uint32Array(longestStep)
  let firstDue: number | null = null
  let events = 0
  let duplicated = 0
  let leapt = 0

  function take(partition: number, id: string, fields: readonly string[]): void {
    const at = Number(id.slice(0, id.indexOf('-')))
    const value = (name: string) => fields[fields.indexOf(name) + 1]!
    const node = value('node')
    const place = places[partition]!
    if (place.node !== '' && place.node !== node)
      passages.push({ partition, from: place.node, to: node, lastAt: place.at, firstAt: at })
    place.id = id
    place.at = at
    place.node = node
    events++
    const offset = Math.floor(at - begunAt)
    if (offset >= 0 && offset < longestStep) {
      commits[offset]!++
      committers[offset]! |= 1 << partition
    }
    if (Number(value('due')) / 1000 > dueFrom && (firstDue === null || at < firstDue)) firstDue = at
    const key = Number(value('key'))
    const counter = Number(value('counter'))
    const before = last[key]!
    if (counter <= before) duplicated++
    else {
      leapt += counter - before - 1
      last[key] = counter
    }
  }

  async function read(stream: string, partition: number): Promise<void> {
    for (;;) {
      const page = await redis.xrange(stream, `(${places[partition]!.id}`, '+', 'COUNT', pageSize)
      for (const [id, fields] of page) take(partition, id, fields)
      // One entry is kept: the newest is asked for.
      if (page.length > 0) await redis.xtrim(stream, 'MINID', places[partition]!.id)
      if (page.length < pageSize) return
    }
  }

  return {
    begin(at) {
      begunAt = at
      dueFrom = at
      commits = new Uint16Array(longestStep)
      committers = new Uint32Array(longestStep)
      firstDue = null
      passages.length = 0
    },
    endedAt(at) {
      dueFrom = at
    },
    async catchUp() {
      for (const [partition, stream] of streams.entries()) await read(stream, partition)
    },
    async newest() {
      const asked = redis.pipeline()
      for (const stream of streams) asked.xrevrange(stream, '+', '-', 'COUNT', 1)
      const answers = (await asked.exec()) ?? []
      return answers.map(([, answer]) => {
        const fields = (answer as [string, string[]][] | undefined)?.[0]?.[1]
        if (fields === undefined) return null
        const value = (name: string) => fields[fields.indexOf(name) + 1]!
        return { node: value('node'), due: Number(value('due')) / 1000 }
      })
    },
    passages,
    get firstDue() {
      return firstDue
    },
    longestSilence() {
      const stayed = passages.reduce((bits, { partition }) => bits & ~(1 << partition), -1)
      let longest = 0
      let since = -1
      for (let ms = 0; ms < longestStep; ms++) {
        if ((committers[ms]! & stayed) === 0) continue
        if (since >= 0) longest = Math.max(longest, ms - since)
        since = ms
      }
      if (since < 0) throw new Error('no partition that stayed where it was has committed anything')
      return longest
    },
    committedWithin: (ms) => commits.subarray(0, Math.floor(ms)).reduce((sum, count) => sum + count, 0),
    get events() {
      return events
    },
    get duplicated() {
      return duplicated
    },
    get leapt() {
      return leapt
    },
    lastCounter: (key) => last[key]!,
    close: () => redis.disconnect(),
  }
}
