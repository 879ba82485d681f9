// A SourceOutput that keeps what a reader records: each record goes through a real FrameWriter and comes back through openFrame, as it
// would in an owner. It confirms by itself, or only when the test says so.
import type { ReaderState } from '../../../src/checkpoint/checkpoint.js'
import type { ChangeEvent, Operation, StreamItem } from '../../../src/event/event.js'
import type { RecordHead, TableSpec } from '../../../src/event/frame.js'
import type { LossWindow } from '../../../src/event/marker.js'
import { openFrame } from '../../../src/event/open.js'
import type { Position } from '../../../src/event/position.js'
import { createFrameWriter } from '../../../src/event/writer.js'
import type { PostgresSourceDefinition } from '../../../src/source/postgres/definition.js'
import { postgresSource } from '../../../src/source/postgres/driver.js'
import type { LaneOutput, SourceOutput, SourceReader } from '../../../src/source/source.js'
import type { Logger } from '../../../src/world/logger.js'
import { realWorld } from '../../../src/world/real.js'
import type { World } from '../../../src/world/world.js'

export interface Recording {
  readonly out: SourceOutput
  readonly events: ChangeEvent[]
  readonly items: StreamItem[]
  readonly windows: LossWindow[]
  readonly states: ReaderState[]
  readonly barriers: { readonly events: number; finish(): void }[]
  readonly logs: { readonly level: string; readonly fields: object; readonly message: string }[]
  reader: SourceReader | null
  error: Error | null
  /** Last position recorded, as a restarted reader is told. */
  last: { readonly epoch: bigint; readonly position: Position } | null
  /** Confirms everything that was flushed. */
  confirm(): void
  autoConfirm: boolean
  autoBarrier: boolean
  /** What `out.blocked` says; setting it to false tells the reader. */
  setBlocked(blocked: boolean): void
  wants: (entity: string, operation: Operation) => boolean
  readonly head: { timeMicros: number }
}

export function createRecording(): Recording {
  const listeners: (() => void)[] = []
  let blocked = false
  let appended = 0
  let confirmed = 0
  let lastState: ReaderState | null = null
  let sent = ''
  let dirty = false
  const flushers: (() => void)[] = []

  function flush(): void {
    if (recording.reader === null) return
    const { state } = recording.reader.mark()
    const text = JSON.stringify(state)
    if (!dirty && text === sent) return
    sent = text
    dirty = false
    for (const each of flushers) each()
    lastState = state
    recording.states.push(state)
    appended++
    if (recording.autoConfirm) setImmediate(() => recording.confirm())
  }

  const lanes = new Map<string, LaneOutput>()
  const recording: Recording = {
    events: [],
    items: [],
    windows: [],
    states: [],
    barriers: [],
    logs: [],
    reader: null,
    error: null,
    last: null,
    autoConfirm: true,
    autoBarrier: true,
    wants: () => true,
    head: { timeMicros: 0 },
    confirm() {
      if (lastState === null || confirmed === appended) return
      confirmed = appended
      recording.reader?.confirm(lastState, [])
    },
    setBlocked(value) {
      blocked = value
      if (!value) for (const listener of listeners) listener()
    },
    out: {
      lane(spec) {
        const known = lanes.get(spec.lane)
        if (known !== undefined) return known
        const writer = createFrameWriter(spec)
        const tables = new Map<number, TableSpec>()
        const write = (head: RecordHead, body: Uint8Array, start: number, end: number) => {
          writer.record(head, body, start, end)
          recording.last = { epoch: spec.epoch, position: writer.last()! }
          dirty = true
        }
        flushers.push(() => {
          if (writer.events === 0) return
          const frame = new Uint8Array(writer.size)
          const end = writer.finishInto(frame, 0, null)
          writer.reset()
          const opened = openFrame(frame, 0, end)
          for (let at = opened.begin; at < opened.end; at = opened.next(at)) {
            const item = opened.item(at)
            recording.items.push(item)
            if (item.type === 'change') recording.events.push(item)
          }
        })
        const lane: LaneOutput = {
          spec,
          table(table) {
            tables.set(table.index, table)
            writer.table(table)
          },
          wants: (table, operation) => recording.wants(tables.get(table)!.entity, operation),
          record(head, body, start, end) {
            write(head, body, start, end)
            if (writer.events >= 512 || writer.size >= 128 * 1024) flush()
          },
          async barrier(head, body, start, end) {
            flush()
            const events = recording.events.length
            if (!recording.autoBarrier)
              await new Promise<void>((resolve) => recording.barriers.push({ events, finish: resolve }))
            write(head, body, start, end)
            flush()
          },
        }
        lanes.set(spec.lane, lane)
        return lane
      },
      get blocked() {
        return blocked
      },
      onUnblocked: (listener) => listeners.push(listener),
      idle: flush,
      flush,
      get quiet() {
        return !dirty && confirmed === appended
      },
      settled: async () => {},
      stored: async () => {},
      lossWindow(_lane, window) {
        recording.windows.push(window)
      },
    },
  }
  return recording
}

export function loggerOf(recording: Pick<Recording, 'logs'>): Logger {
  const level = (name: string) => (fields: object, message: string) => {
    recording.logs.push({ level: name, fields, message })
  }
  return { debug: level('debug'), info: level('info'), warn: level('warn'), error: level('error') }
}

export interface Resume {
  readonly state?: ReaderState | null
  readonly confirmed?: ReaderState | null
  readonly appended?: Recording['last']
  readonly term?: number
  readonly stillOwns?: () => Promise<void>
}

export interface Started {
  readonly config: PostgresSourceDefinition
  readonly recording: Recording
  readonly reader: SourceReader
}

/** Opens a reader that records into `recording`. */
export async function openReader(
  config: PostgresSourceDefinition,
  recording: Recording,
  resume: Resume = {},
  world: World = realWorld,
): Promise<SourceReader> {
  const state = resume.state ?? null
  const reader = await postgresSource.open(config, {
    world,
    log: loggerOf(recording),
    pipeline: 'test',
    name: 'db',
    term: resume.term ?? 1,
    resume: {
      state,
      confirmed: resume.confirmed === undefined ? state : resume.confirmed,
      appended: resume.appended == null ? {} : { wal: resume.appended },
      obligations: [],
      outstanding: [],
    },
    out: recording.out,
    stillOwns: resume.stillOwns ?? (async () => {}),
    fail: (error) => {
      recording.error = error
    },
    discharge: () => {},
  })
  recording.reader = reader
  return reader
}

export function sourceFor(
  url: string,
  name: string,
  over: Partial<PostgresSourceDefinition> = {},
): PostgresSourceDefinition {
  return {
    kind: 'postgres',
    url,
    publication: name,
    createPublication: 'if-missing',
    tables: [],
    slot: name,
    createSlot: 'if-missing',
    onGap: 'stop',
    placement: 'inline',
    ...over,
  }
}

/** Waits until `condition` holds; fails with `what` and the reader's own error after the deadline. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  recording?: Recording,
  deadline = 15_000,
): Promise<void> {
  const end = performance.now() + deadline
  while (!(await condition())) {
    if (recording?.error != null) throw recording.error
    if (performance.now() > end) throw new Error(`not within ${deadline} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
