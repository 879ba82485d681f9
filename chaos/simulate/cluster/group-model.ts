/**
 * A model of a Redis stream with a consumer group, and a reader of it in mode `group`.
 *
 * The pending list is the truth: an entry that a consumer was given is nobody else's until it is claimed or acknowledged. A
 * zombie that still reads takes entries away: a read that found nothing waits at the server, whether its sender is awake or
 * not, and who has waited longest is served first. Commands that were sent are carried out even where their connection is
 * killed behind them.
 */
import { blankHead } from '../../../src/event/frame.js'
import { operationOf } from '../../../src/event/layout.js'
import { compareIds, copyId, type EntryId, setPlain, zeroId } from '../../../src/source/redis/entry-id.js'
import { visitReceipt } from '../../../src/source/redis/receipts.js'
import { unfinished } from '../../../src/source/redis/unfinished.js'
import type { Discharge, SourceContext, SourceReader } from '../../../src/source/source.js'
import { TroupeError } from '../../../src/world/error.js'
import type { SimulatedWorld } from '../../../src/world/simulated.js'
import type { Life } from './node.js'
import type { Change, Truth } from './sources.js'

const STREAM = 's'

export interface Group {
  readonly source: string
  readonly pending: number
  readonly unread: number
  add(key: number): void
  connect(term: number, killed: () => void): GroupConnection
  kill(): void
}

interface GroupConnection {
  alive: boolean
  close(): void
  readonly term: number
  readonly killed: () => void
  /** `serve` runs at the server, `done` where the reply arrives. */
  call<T>(life: Life, serve: () => T, done: (reply: T) => void): void
  /** New entries, at most `count`; waits for them at the server, and gives none where none came in time. */
  read(life: Life, count: number, done: (found: Change[]) => void): void
  readonly server: GroupServer
}

/** A read that waits at the server. */
interface Blocked {
  readonly connection: GroupConnection
  readonly life: Life
  readonly serve: () => void
}

/** ms that a read waits at the server. */
const blockMs = 1_000

interface GroupServer {
  pendingOf(): [Change, number][]
  claim(term: number, wanted: readonly Change[]): Change[]
  acknowledge(changes: readonly Change[]): void
  /** Ends the connections of earlier terms. */
  killOlder(term: number): void
  /** A consumer of a later term is connected. */
  superseded(term: number): boolean
}

export interface GroupInit {
  readonly world: SimulatedWorld
  readonly truth: Truth
  readonly source: string
  readonly forgotten: (changes: readonly Change[]) => void
}

export function createGroup(init: GroupInit): Group {
  const { world, truth, source } = init
  const entries: Change[] = []
  const pel = new Map<Change, number>()
  const connections = new Set<GroupConnection>()
  /** Longest waiting first. */
  const blocked = new Set<Blocked>()
  let read = 0
  let ms = 1_000

  const network = (): number => 0.2 + world.random() * 3

  function kill(which: (connection: GroupConnection) => boolean): void {
    for (const connection of connections) {
      if (!which(connection)) continue
      connections.delete(connection)
      connection.alive = false
      connection.killed()
    }
  }

  function give(term: number, count: number): Change[] {
    const found = entries.slice(read, read + count)
    read += found.length
    for (const one of found) pel.set(one, term)
    return found
  }

  /** Entries have come: for the first whose connection is still there. */
  function wake(): void {
    for (const one of blocked) {
      blocked.delete(one)
      if (one.life.dead || !one.connection.alive) continue
      one.serve()
      return
    }
  }

  const server: GroupServer = {
    pendingOf: () => [...pel].sort(([a], [b]) => a.number - b.number),
    claim(term, wanted) {
      const claimed = wanted.filter((change) => pel.has(change))
      for (const change of claimed) pel.set(change, term)
      return claimed
    },
    superseded: (term) => [...connections].some((connection) => connection.alive && connection.term > term),
    acknowledge(changes) {
      const gone = changes.filter((change) => pel.delete(change))
      if (gone.length > 0) init.forgotten(gone)
    },
    // Administrators may forbid it, and what reaches a dead network ends nothing.
    killOlder: (term) => kill((connection) => connection.term < term && world.random() < 0.7),
  }

  return {
    source,
    get pending() {
      return pel.size
    },
    get unread() {
      return entries.length - read
    },
    add(key) {
      const minor = world.random() < 0.5 ? (entries.at(-1)?.minor ?? 0) + 1 : 0
      if (minor === 0) ms += 1 + world.pick(20)
      entries.push(truth.add(source, ms, minor, key))
      wake()
    },
    connect(term, killed) {
      let due = 0
      const connection: GroupConnection = {
        alive: true,
        close() {
          connection.alive = false
          connections.delete(connection)
        },
        term,
        killed,
        server,
        call(life, serve, done) {
          // One connection keeps the order of its commands.
          due = Math.max(due + 0.001, world.monotonic() + network())
          world.setTimer(due - world.monotonic(), () => answer(life, serve(), done))
        },
        read(life, count, done) {
          due = Math.max(due + 0.001, world.monotonic() + network())
          world.setTimer(due - world.monotonic(), () => {
            if (read < entries.length) return answer(life, give(term, count), done)
            if (!connection.alive) return
            const waiting: Blocked = {
              connection,
              life,
              serve() {
                late.cancel()
                answer(life, give(term, count), done)
              },
            }
            const late = world.setTimer(blockMs, () => {
              if (blocked.delete(waiting)) answer(life, [], done)
            })
            blocked.add(waiting)
          })
        },
      }
      connections.add(connection)
      return connection

      function answer<T>(life: Life, reply: T, done: (reply: T) => void): void {
        world.setTimer(network(), () => {
          if (connection.alive) life.arrive(() => connection.alive && done(reply))
        })
      }
    },
    kill: () => kill(() => true),
  }
}

const lost = new TroupeError({ code: 'source-lost', message: 'the connection to the source was closed' })
const superseded = new TroupeError({ code: 'superseded', message: 'a consumer of a later term is at work' })

function idOf(change: Change): EntryId {
  const id = zeroId()
  setPlain(id, change.major, change.minor)
  return id
}

/** @param highWater the planted fault: what is at or below the highest id is taken for known */
export async function openGroupReader(
  group: Group,
  truth: Truth,
  life: Life,
  context: SourceContext & { readonly discharge: Discharge },
  highWater: boolean,
): Promise<SourceReader> {
  const { out, name, term, resume } = context
  const ledger = unfinished(
    [STREAM],
    resume.outstanding.map(({ bytes }) => bytes),
  )
  let over = false
  const high = zeroId()
  if (typeof resume.state?.high === 'string')
    setPlain(high, ...(resume.state.high.split('-').map(Number) as [number, number]))
  const lane = out.lane({
    source: name,
    kind: 'redis-streams',
    replayable: true,
    epoch: 1n,
    lane: STREAM,
    codec: 'msgpack',
    ordered: false,
  })
  lane.table({ index: 0, namespace: '0', entity: STREAM, schemaVersion: 1, meta: new Uint8Array(0) })
  const body = new Uint8Array(8)
  const connection = group.connect(term, () => life.arrive(() => !over && context.fail(lost)))
  const { server } = connection
  const call = <T>(serve: () => T): Promise<T> => new Promise((resolve) => connection.call(life, serve, resolve))

  function record(change: Change): void {
    const id = idOf(change)
    const below = compareIds(id, high) <= 0
    if (highWater ? below : below && ledger.has(STREAM, id)) return
    if (!below) copyId(id, high)
    ledger.add(0, id)
    const { major, minor, key } = change
    lane.record(
      {
        ...blankHead(),
        keyHash: key,
        majorLow: major,
        minorLow: minor,
        operation: operationOf.append,
        late: below,
      },
      body,
      0,
      8,
    )
  }

  async function take(ours: boolean): Promise<void> {
    if (await call(() => server.superseded(term))) {
      if (!over) context.fail(superseded)
      return
    }
    // A term that the log lost with its tail is given again: under our own name a reader that we know nothing of may read.
    const pending = (await call(() => server.pendingOf())).filter(
      ([change, other]) => ours || other !== term || !ledger.has(STREAM, idOf(change)),
    )
    if (pending.length === 0 || over) return
    await room()
    const wanted = pending.map(([change]) => change)
    const claimed = await call(() => server.claim(term, wanted))
    if (!over) for (const change of claimed) record(change)
  }

  function room(): Promise<void> {
    if (!out.blocked || over) return Promise.resolve()
    return new Promise((resolve) => waiting.push(resolve))
  }
  const waiting: (() => void)[] = []
  let reading = false
  let started = false

  function read(): void {
    if (over || reading || !started || out.blocked) return
    reading = true
    connection.read(life, 8, (found) => {
      reading = false
      if (over) return
      for (const change of found) record(change)
      out.idle()
      read()
    })
  }

  function look(): void {
    if (over) return
    ledger
      .during(() => take(false))
      .then(() => {
        if (over) return
        if (ledger.pending > 0) out.flush()
        life.world.setTimer(600, look)
      })
  }

  out.onUnblocked(() => {
    for (const resolve of waiting.splice(0)) resolve()
    read()
  })

  await call(() => server.killOlder(term))
  life.world.defer(() => {
    void (async () => {
      await ledger.during(() => take(true))
      if (over) return
      out.flush()
      if (resume.state === null) await out.settled()
      if (over) return
      started = true
      read()
      look()
    })()
  })

  return {
    mark: () => ({ state: { high: `${high.majorLow}-${high.minorLow}` }, obligation: ledger.take() }),
    confirm(_state, receipts) {
      if (over || receipts.length === 0) return
      ledger.confirmed(receipts.length)
      const done: Change[] = []
      for (const { bytes } of receipts)
        visitReceipt(bytes, (_stream, id) => {
          const change = truth.at(name, id.majorLow, id.minorLow)
          if (change !== undefined) done.push(change)
        })
      connection.call(
        life,
        () => server.acknowledge(done),
        () => {
          if (over) return
          ledger.acknowledged(receipts.length)
          context.discharge(receipts.map(({ receipt }) => receipt))
        },
      )
    },
    async stop() {
      over = true
      connection.close()
    },
    status: () => ({}),
  }
}
