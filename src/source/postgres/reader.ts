/**
 * A running reader: records what the slot sends, and tells the server what may be forgotten.
 *
 * Promises: `mark` covers exactly what was recorded; the server is told only LSNs that were confirmed to us (end LSNs of whole
 * transactions, or a keepalive's position when nothing was outstanding and an empty step was stored for it). Feedback goes
 * on by a timer, however long the stream is held. While held it reads nothing from the socket.
 */

import type { ReaderState } from '../../checkpoint/checkpoint.js'
import type { CopyBoth, CopyBothHandlers } from '../../wire/copyboth.js'
import { messageOf, TroupeError } from '../../world/error.js'
import type { Timer } from '../../world/world.js'
import type { SourceContext, SourceReader } from '../source.js'
import type { RelationCatalog } from './catalog.js'
import { formatLsn } from './lsn.js'
import { createPgoutputReader } from './pgoutput-reader.js'
import { type Start, walLane } from './start.js'
import { fromReaderState, type PostgresState, toReaderState } from './state.js'

/** ms between two standby status messages, unless the server's own limit asks for more. */
const longestSilence = 10_000
/** ms between two empty steps of an idle slot. */
const idleStep = 1_000

/** ms in which a server without wal_sender_timeout must have said something, if only an answer to ours. */
const longestServerSilence = 120_000

/** Why the stream is held; it goes on when none is left. */
const held = { opening: 1, blocked: 2, waiting: 4 } as const

export interface ReaderInit {
  readonly context: SourceContext
  readonly start: Start
  readonly slot: string
  readonly server: string
  readonly catalog: RelationCatalog
  /** The server's wal_sender_timeout, ms; 0: none. */
  readonly senderTimeout: number
  /** Makes any failure readable. */
  readonly readable: (error: unknown) => TroupeError
}

export interface StartingReader {
  readonly handlers: CopyBothHandlers
  /** The stream has begun, held: from now on this is a reader. */
  begin(copy: CopyBoth): SourceReader
}

export function createReader(init: ReaderInit): StartingReader {
  const { context, start } = init
  const { world, out, resume } = context
  const lane = out.lane({
    source: context.name,
    kind: 'postgres',
    replayable: true,
    epoch: start.state.epoch,
    lane: walLane,
    codec: 'pgoutput',
  })
  const appended = resume.appended[walLane]
  const pgoutput = createPgoutputReader({
    lane,
    appended: appended !== undefined && appended.epoch === start.state.epoch ? appended.position : null,
    explain: (relation) => init.catalog.explain(relation),
    settled: () => out.settled(),
    wait(until) {
      hold(held.waiting)
      until.then(
        () => release(held.waiting),
        (error) => fail(error),
      )
    },
  })

  let copy: CopyBoth | null = null
  let reasons: number = held.opening
  let over = false
  let timer: Timer | null = null
  /** Furthest position that the server has spoken of. */
  let received = start.state.lsn
  let confirmed = start.confirmed
  /** A keepalive's position when an empty step was made for it. */
  let idleLsn = start.state.lsn
  /** The position of the newest keepalive. */
  let serverLsn = 0n
  let lastStatus = world.monotonic()
  let lastIdleStep = lastStatus
  /** Ticks since the server was last heard; counted, not measured, so that a pause of our own process is not taken for its silence. */
  let silentTicks = 0
  let bytesHeard = 0
  let marked: { readonly lsn: bigint; readonly state: ReaderState } = {
    lsn: start.state.lsn,
    state: toReaderState(start.state),
  }

  const tickEvery = init.senderTimeout > 0 ? Math.min(idleStep, Math.max(init.senderTimeout / 4, 10)) : idleStep
  const silenceLimit = init.senderTimeout > 0 ? 2 * init.senderTimeout : longestServerSilence
  const statusEvery = init.senderTimeout > 0 ? Math.min(longestSilence, init.senderTimeout / 3) : longestSilence

  function hold(reason: number): void {
    reasons |= reason
    copy?.hold()
  }

  function release(reason: number): void {
    if ((reasons & reason) === 0) return
    reasons &= ~reason
    if (reasons === 0 && !over) copy?.release()
  }

  function fail(error: unknown): void {
    if (over) return
    over = true
    timer?.cancel()
    // Its walsender lets go of the slot at once, for the reader that comes next.
    void copy?.close()
    context.fail(init.readable(error))
  }

  function currentLsn(): bigint {
    const end = pgoutput.endLsn
    return end !== null && end > idleLsn ? end : idleLsn
  }

  function mark(): { readonly state: ReaderState; readonly obligation: null } {
    const lsn = currentLsn()
    if (lsn !== marked.lsn) {
      const state: PostgresState = { ...start.state, lsn, at: world.now() }
      marked = { lsn, state: toReaderState(state) }
    }
    return { state: marked.state, obligation: null }
  }

  function tellServer(): void {
    const lsn = currentLsn()
    if (lsn > received) received = lsn
    if (confirmed > received) received = confirmed
    if (copy?.status(received, confirmed, silentTicks > 0)) lastStatus = world.monotonic()
  }

  /** An idle slot moves: nothing is outstanding, so what the server has passed holds nothing for us. Stored first, told later. */
  function stepIdle(): void {
    if (over || pgoutput.open || (reasons & ~held.blocked) !== 0 || !out.quiet) return
    if (serverLsn > currentLsn()) idleLsn = serverLsn
    if (currentLsn() <= confirmed) return
    lastIdleStep = world.monotonic()
    out.flush()
  }

  /** A connection that died without a word (a network that fell silent) is only noticed by asking. */
  function listen(): void {
    const bytes = copy?.bytesRead ?? 0
    silentTicks = bytes !== bytesHeard || reasons !== 0 ? 0 : silentTicks + 1
    bytesHeard = bytes
    if (silentTicks * tickEvery <= silenceLimit) return
    fail(
      new TroupeError({
        code: 'postgres-silent',
        message: `PostgreSQL at ${init.server} has said nothing for ${Math.round(silenceLimit / 1000)} s, though it was asked to`,
        place: `source ${context.name}`,
        remedy: 'check the network between Troupe and the server; the reader connects again',
      }),
    )
  }

  function tick(): void {
    if (over) return
    listen()
    if (over) return
    stepIdle()
    if (world.monotonic() - lastStatus >= statusEvery) tellServer()
    timer = world.setTimer(tickEvery, tick)
  }

  const handlers: CopyBothHandlers = {
    data(bytes, from, to) {
      pgoutput.message(bytes, from, to)
      if (out.blocked) hold(held.blocked)
    },
    keepalive(walEnd, replyRequested) {
      if (walEnd > received) received = walEnd
      serverLsn = walEnd
      if (replyRequested) tellServer()
      if (world.monotonic() - lastIdleStep >= idleStep) stepIdle()
    },
    drained: () => out.idle(),
    closed: (error) => fail(error),
  }

  const running: SourceReader = {
    mark,
    confirm(state) {
      const { lsn, epoch } = fromReaderState(state, `source ${context.name}`)
      // A place in a history that this server does not have means nothing to it.
      if (epoch !== start.state.epoch || lsn <= confirmed) return
      confirmed = lsn
      if (!over) tellServer()
    },
    async stop() {
      const wasOver = over
      over = true
      timer?.cancel()
      if (!wasOver) tellServer()
      await copy?.close()
    },
    status: () => ({
      server: init.server,
      slot: init.slot,
      state: over ? 'stopped' : reasons & held.waiting ? 'waiting' : reasons & held.blocked ? 'blocked' : 'streaming',
      epoch: start.state.epoch.toString(),
      received: formatLsn(received),
      complete: formatLsn(currentLsn()),
      confirmed: formatLsn(confirmed),
      unconfirmedBytes: Number(received > confirmed ? received - confirmed : 0n),
      bytesRead: copy?.bytesRead ?? 0,
      ...pgoutput.counts,
    }),
  }

  /** After `open` has returned, when whoever takes the records knows this reader. */
  function letGo(): void {
    if (over) return
    if (start.window !== null) out.lossWindow(lane, start.window)
    // The first position is stored before anything is read: a slot that is gone later is then noticed.
    out.flush()
    tick()
    const go = () => release(held.opening)
    if (start.fresh) out.stored().then(go, fail)
    else go()
  }

  return {
    handlers,
    begin(started) {
      copy = started
      out.onUnblocked(() => release(held.blocked))
      world.defer(() => {
        try {
          letGo()
        } catch (error) {
          context.log.error({ source: context.name, error: messageOf(error) }, 'the reader could not begin')
          fail(error)
        }
      })
      return running
    },
  }
}
