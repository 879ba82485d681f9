/** A log of one's own for tests of the reader: keeps what is recorded, by flush, and confirms when told. */
import type { ReaderState } from '../../../src/checkpoint/checkpoint.js'
import type { LaneSpec } from '../../../src/event/frame.js'
import type { LossWindow } from '../../../src/event/marker.js'
import type { RedisStreamsSourceDefinition } from '../../../src/source/redis/definition.js'
import { redisStreamsSource } from '../../../src/source/redis/driver.js'
import type { SourceOutput, SourceReader, SourceResume } from '../../../src/source/source.js'
import { decodeReply } from '../../../src/wire/resp-reply.js'
import { realWorld } from '../../../src/world/real.js'

export interface Seen {
  readonly lane: string
  readonly epoch: bigint
  readonly id: string
  readonly fields: readonly Buffer[]
  readonly keyHash: number
  readonly timeMicros: number
  readonly late: boolean
}

export interface Flush {
  readonly records: readonly Seen[]
  readonly state: ReaderState
  readonly obligation: Uint8Array | null
  readonly receipt: number
}

export interface Harness {
  readonly reader: SourceReader
  readonly flushes: Flush[]
  readonly windows: LossWindow[]
  readonly discharged: number[]
  readonly lanes: LaneSpec[]
  readonly failures: Error[]
  count: number
  blocked: boolean
  records(): Seen[]
  unblock(): void
  /** Confirms all flushes up to now, as the log does when processors have finished them. */
  confirm(): void
  /** What a reader that is started again is given: with the log alive, or after a restart of the process. */
  resume(log: 'lives' | 'died'): SourceResume
  stop(): Promise<void>
}

export const fresh: SourceResume = { state: null, confirmed: null, appended: {}, obligations: [], outstanding: [] }

const silent = { debug() {}, info() {}, warn() {}, error() {} }

export interface OpenOptions {
  readonly term?: number
  readonly resume?: SourceResume
  readonly confirmAtOnce?: boolean
  /** Keep only the number of entries: for rates. */
  readonly light?: boolean
  readonly flushEvery?: number
}

export async function openHarness(config: RedisStreamsSourceDefinition, options: OpenOptions = {}): Promise<Harness> {
  const resume = options.resume ?? fresh
  const flushes: Flush[] = []
  const windows: LossWindow[] = []
  const discharged: number[] = []
  const lanes: LaneSpec[] = []
  const failures: Error[] = []
  const listeners: (() => void)[] = []
  let open: Seen[] = []
  let held = 0
  let confirmed = 0
  let receipts = 0
  let reader: SourceReader | null = null
  let sent = ''

  const self: Harness = {
    get reader() {
      return reader!
    },
    flushes,
    windows,
    discharged,
    lanes,
    failures,
    count: 0,
    blocked: false,
    records: () => [...flushes.flatMap((one) => one.records), ...open],
    unblock() {
      self.blocked = false
      for (const listener of listeners) listener()
    },
    confirm() {
      const done = flushes.slice(confirmed)
      confirmed = flushes.length
      const last = done.at(-1)
      if (last === undefined) return
      reader!.confirm(
        last.state,
        done.filter((one) => one.obligation !== null).map((one) => ({ receipt: one.receipt, bytes: one.obligation! })),
      )
    },
    resume(log) {
      const told = flushes.slice(0, confirmed)
      const owed = told.filter((one) => one.obligation !== null && !discharged.includes(one.receipt))
      const confirmedState = told.at(-1)?.state ?? resume.confirmed
      if (log === 'died')
        return {
          ...fresh,
          state: confirmedState,
          confirmed: confirmedState,
          obligations: owed.map((one) => one.obligation!),
        }
      return {
        state: flushes.at(-1)?.state ?? resume.state,
        confirmed: confirmedState,
        appended: {},
        obligations: owed.map((one) => one.obligation!),
        outstanding: flushes
          .slice(confirmed)
          .filter((one) => one.obligation !== null)
          .map((one) => ({ receipt: one.receipt, bytes: one.obligation! })),
      }
    },
    stop: () => reader!.stop(),
  }

  function flush(): void {
    if (reader === null) return
    const { state, obligation } = reader.mark()
    const text = JSON.stringify(state)
    if (held === 0 && obligation === null && text === sent) return
    sent = text
    flushes.push({ records: open, state, obligation, receipt: ++receipts })
    open = []
    held = 0
    if (options.confirmAtOnce === true) queueMicrotask(() => self.confirm())
  }

  const out: SourceOutput = {
    lane(spec) {
      lanes.push(spec)
      return {
        spec,
        table() {},
        wants: () => true,
        record(head, body, start, end) {
          self.count++
          held++
          if (options.light !== true) {
            const major = (BigInt(head.majorHigh) << 32n) | BigInt(head.majorLow)
            const minor = (BigInt(head.minorHigh) << 32n) | BigInt(head.minorLow)
            const copy = Buffer.from(body.subarray(start, end))
            open.push({
              lane: spec.lane,
              epoch: spec.epoch,
              id: `${major}-${minor}`,
              fields: decodeReply(copy, 0) as readonly Buffer[],
              keyHash: head.keyHash,
              timeMicros: head.timeMicros,
              late: head.late,
            })
          }
          if (held >= (options.flushEvery ?? 512)) flush()
        },
        barrier: () => Promise.reject(new Error('no barrier here')),
      }
    },
    get blocked() {
      return self.blocked
    },
    onUnblocked: (listener) => listeners.push(listener),
    idle: () => {
      if (held > 0) flush()
    },
    flush,
    get quiet() {
      return confirmed === flushes.length
    },
    settled: async () => flush(),
    stored: async () => flush(),
    lossWindow: (_, window) => windows.push(window),
  }
  reader = await redisStreamsSource.open(config, {
    world: realWorld,
    log: silent,
    pipeline: 'shop',
    name: 'clicks',
    term: options.term ?? 1,
    resume,
    out,
    stillOwns: async () => {},
    fail: (error) => failures.push(error),
    discharge: (numbers) => discharged.push(...numbers),
  })
  return self
}

export function definition(
  url: string,
  over: Partial<RedisStreamsSourceDefinition> = {},
): RedisStreamsSourceDefinition {
  return {
    kind: 'redis-streams',
    url,
    streams: ['clicks'],
    mode: 'read',
    group: null,
    keyField: null,
    start: 'earliest',
    count: 1_000,
    placement: 'inline',
    ...over,
  }
}

/** Waits until the condition holds; fails with what it was waiting for. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  deadlineMs = 10_000,
): Promise<void> {
  const end = performance.now() + deadlineMs
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited ${deadlineMs} ms for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

export function texts(seen: Seen): Record<string, string> {
  const fields: Record<string, string> = {}
  for (let index = 0; index < seen.fields.length; index += 2)
    fields[String(seen.fields[index])] = String(seen.fields[index + 1])
  return fields
}
