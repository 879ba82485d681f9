/** Change events made by hand, with rows of text columns, for tests of the sinks. */
import type { ChangeEvent, Row, Value } from '../../src/event/event.js'
import type { SinkContext } from '../../src/sink/sink.js'
import { realWorld } from '../../src/world/real.js'

export function row(columns: Record<string, string | Uint8Array | null>): Row {
  const names = Object.keys(columns)
  const value = (name: string): Value | undefined => columns[name]
  return {
    columns: names,
    get: value,
    has: (name) => name in columns,
    text: (name) => (name in columns ? (columns[name] === null ? null : String(columns[name])) : undefined),
    visit(visitor) {
      for (const name of names) {
        const one = columns[name]!
        if (one === null) visitor(name, new Uint8Array(0), -1, -1)
        else {
          const bytes = Buffer.concat([Buffer.from('##'), typeof one === 'string' ? Buffer.from(one) : one])
          visitor(name, bytes, 2, bytes.length)
        }
      }
    },
    toObject: () => ({ ...columns }),
    toJSON: () => ({ ...columns }),
  }
}

export function event(over: Partial<ChangeEvent> = {}): ChangeEvent {
  const made: ChangeEvent = {
    type: 'change',
    id: 'db/1/slot/10-1',
    source: { name: 'db', kind: 'postgres', epoch: 1n, lane: 'slot', replayable: true },
    position: { major: 10n, minor: 1n, part: 0 },
    operation: 'insert',
    namespace: 'public',
    entity: 'orders',
    key: row({ id: '7' }),
    keyHash: 7,
    keyText: '7',
    before: null,
    after: row({ id: '7', note: 'hällo', '@id': 'mine', gone: null }),
    unchanged: [],
    incomplete: false,
    late: false,
    transaction: null,
    tenant: null,
    occurredAt: null,
    traceparent: null,
    headers: {},
    schemaVersion: 1,
    detach: () => made,
    toJSON: () => ({ id: made.id, operation: made.operation, after: made.after?.toJSON() ?? null }),
    ...over,
  }
  return made
}

export const silent = { debug() {}, info() {}, warn() {}, error() {} }

export function sinkContext(over: Partial<SinkContext> = {}): SinkContext & { readonly failures: Error[] } {
  const failures: Error[] = []
  return {
    world: realWorld,
    log: silent,
    pipeline: 'shop',
    processor: 'copy',
    set: 'key',
    partition: 0,
    partitions: 4,
    fail: (error) => failures.push(error),
    failures,
    ...over,
  }
}
