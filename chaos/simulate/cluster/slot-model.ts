/**
 * A model of PostgreSQL's logical slot, and a reader of it.
 *
 * The slot keeps what is not confirmed. One connection reads it; who connects kills the one before. START at a place below
 * the confirmed one begins at the confirmed one without a word: that is the trap. Transactions have several changes of
 * several keys; only the end of one can be confirmed.
 */
import type { ReaderState } from '../../../src/checkpoint/checkpoint.js'
import { blankHead } from '../../../src/event/frame.js'
import { operationOf } from '../../../src/event/layout.js'
import type { SourceContext, SourceReader } from '../../../src/source/source.js'
import { TroupeError } from '../../../src/world/error.js'
import type { SimulatedWorld } from '../../../src/world/simulated.js'
import type { Life } from './node.js'
import type { Change, Truth } from './sources.js'

interface Transaction {
  readonly lsn: number
  readonly changes: readonly Change[]
}

/** What comes over the connection: a part of a transaction, or the word that nothing lies before `walEnd`. */
type Sent =
  | { readonly lsn: number; readonly changes: readonly Change[]; readonly last: boolean }
  | { readonly walEnd: number }

/** Changes that arrive at once. */
const chunk = 3

interface Connection {
  alive: boolean
  /** It was told where to begin; before that nothing is sent. */
  started: boolean
  readonly killed: () => void
  readonly send: (what: Sent) => void
}

export interface Slot {
  readonly source: string
  readonly confirmed: number
  readonly end: number
  commit(keys: readonly number[]): void
  connect(handlers: Omit<Connection, 'alive' | 'started'>): Connection
  start(connection: Connection, from: number): void
  confirm(connection: Connection, lsn: number): void
  /** Ends the connection that reads, as an administrator would. */
  kill(): void
}

export interface SlotInit {
  readonly world: SimulatedWorld
  readonly truth: Truth
  readonly source: string
  /** Changes that the server forgets now. */
  readonly forgotten: (changes: readonly Change[]) => void
}

export function createSlot(init: SlotInit): Slot {
  const { world, truth, source } = init
  const kept: Transaction[] = []
  let end = 100
  let confirmed = 100
  let active: Connection | null = null

  function walEnd(): void {
    world.setTimer(700 + world.random() * 600, walEnd)
    if (reads(active)) active.send({ walEnd: end })
  }
  walEnd()

  function reads(connection: Connection | null): connection is Connection {
    return connection?.alive === true && connection.started
  }

  function send(connection: Connection, { lsn, changes }: Transaction): void {
    for (let at = 0; at < changes.length; at += chunk)
      connection.send({ lsn, changes: changes.slice(at, at + chunk), last: at + chunk >= changes.length })
  }

  return {
    source,
    get confirmed() {
      return confirmed
    },
    get end() {
      return end
    },
    commit(keys) {
      end += 10
      const transaction: Transaction = {
        lsn: end,
        changes: keys.map((key, index) => truth.add(source, end, index + 1, key)),
      }
      kept.push(transaction)
      if (reads(active)) send(active, transaction)
    },
    connect(handlers) {
      if (active?.alive === true) {
        active.alive = false
        active.killed()
      }
      const connection: Connection = { ...handlers, alive: true, started: false }
      active = connection
      return connection
    },
    start(connection, from) {
      if (!connection.alive) return
      connection.started = true
      const begin = Math.max(from, confirmed)
      for (const transaction of kept) if (transaction.lsn > begin) send(connection, transaction)
    },
    confirm(connection, lsn) {
      if (!connection.alive || lsn <= confirmed) return
      confirmed = lsn
      let count = 0
      while (count < kept.length && kept[count]!.lsn <= lsn) count++
      init.forgotten(kept.splice(0, count).flatMap(({ changes }) => changes))
    },
    kill() {
      if (active?.alive !== true) return
      active.alive = false
      active.killed()
    },
  }
}

const lost = new TroupeError({ code: 'source-lost', message: 'the connection to the source was closed' })

/** The reader's side: positions are (commit, ordinal), the state is the end of the last whole transaction. */
export async function openSlotReader(
  slot: Slot,
  life: Life,
  world: SimulatedWorld,
  context: SourceContext,
): Promise<SourceReader> {
  const { out, resume } = context
  const network = (): number => 0.2 + world.random() * 4
  const hop = (): Promise<void> => new Promise((resolve) => life.world.setTimer(network(), resolve))
  let over = false
  let state = Number(resume.state?.lsn ?? slot.confirmed)
  const appended = resume.appended.wal?.position
  let within = false
  const queue: Sent[] = []
  let arrived = 0
  let working = false
  const lane = out.lane({
    source: context.name,
    kind: 'postgres',
    replayable: true,
    epoch: 1n,
    lane: 'wal',
    codec: 'msgpack',
  })
  lane.table({ index: 0, namespace: 'public', entity: 'rows', schemaVersion: 1, meta: new Uint8Array(0) })
  const body = new Uint8Array(8)

  await hop()
  const connection = slot.connect({
    killed: () => life.arrive(() => !over && context.fail(lost)),
    send(what) {
      const due = Math.max(arrived + 0.001, world.monotonic() + network())
      arrived = due
      world.setTimer(due - world.monotonic(), () =>
        life.arrive(() => {
          if (over) return
          queue.push(what)
          work()
        }),
      )
    },
  })
  await hop()
  const { confirmed } = slot
  if (confirmed > state) {
    await context.stillOwns()
    throw new TroupeError({
      code: 'slot-ahead',
      message: `the slot is confirmed to ${confirmed}, our checkpoint is at ${state}`,
      permanent: true,
    })
  }

  /** Records what came, and stops where the router says so. */
  function work(): void {
    if (working || over) return
    working = true
    while (queue.length > 0 && !out.blocked) {
      const what = queue.shift()!
      if ('walEnd' in what) {
        // Nothing is outstanding: an idle slot may move on.
        if (!within && out.quiet && what.walEnd > state) {
          state = what.walEnd
          out.flush()
        }
        continue
      }
      within = true
      for (const [index, change] of what.changes.entries()) {
        // The mark must cover a change before it is recorded.
        if (what.last && index === what.changes.length - 1) {
          state = what.lsn
          within = false
        }
        record(change)
      }
    }
    working = false
    if (!over) out.idle()
  }

  function record(change: Change): void {
    const { major, minor, key } = change
    if (appended !== undefined) {
      const first = BigInt(major)
      if (first < appended.major || (first === appended.major && BigInt(minor) <= appended.minor)) return
    }
    lane.record(
      { ...blankHead(), keyHash: key, majorLow: major, minorLow: minor, operation: operationOf.insert },
      body,
      0,
      8,
    )
  }

  out.onUnblocked(work)
  life.world.defer(() => {
    out.flush()
    world.setTimer(network(), () => slot.start(connection, state))
  })

  return {
    mark: () => ({ state: { lsn: state }, obligation: null }),
    confirm(confirmed: ReaderState) {
      if (over) return
      const lsn = Number(confirmed.lsn)
      world.setTimer(network(), () => slot.confirm(connection, lsn))
    },
    async stop() {
      over = true
      connection.alive = false
    },
    status: () => ({ state }),
  }
}
