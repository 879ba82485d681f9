/**
 * One reader of Redis Streams: three connections at most (what is not hot, reading, acknowledging), made here and closed
 * with it. Modes and promises: docs/redis-streams.md.
 *
 * It never repairs itself. Whatever breaks, a connection, a group, a stream that is not the one it was, fails the reader;
 * the one that is started in its place finds out where things stand.
 */
import type { ReaderState } from '../../checkpoint/checkpoint.js'
import { describeEndpoint, parseRespEndpoint } from '../../wire/resp-endpoint.js'
import { ENTRY_STRIDE, type EntryBatch, entryFields } from '../../wire/resp-entries.js'
import { explainRedis } from '../../wire/resp-error.js'
import { connectResp, type RespSocket } from '../../wire/resp-socket.js'
import { TroupeError } from '../../world/error.js'
import type { Timer } from '../../world/world.js'
import type { Discharge, SourceContext, SourceReader } from '../source.js'
import { type Acknowledger, acknowledger } from './acknowledger.js'
import { connectAdmin, pairs } from './admin.js'
import { type Claims, claims } from './claims.js'
import type { RedisStreamsSourceDefinition } from './definition.js'
import { compareIds, type EntryId, idOfText, idText, isZero } from './entry-id.js'
import { type StreamFacts, trimmedBehind } from './history.js'
import { type Lane, recorder } from './lanes.js'
import { BLOCK_MS, readLoop } from './read-loop.js'
import { startLanes } from './start.js'
import { readState, writeState } from './state.js'
import { unfinished } from './unfinished.js'

/** Between two looks at what is not in the stream of entries: pending entries of the dead, trimming, lag. */
const LOOK_MS = 1_000
/** What stop() waits for acknowledgements that are under way. */
const STOP_MS = 2_000

type Context = SourceContext & { readonly discharge: Discharge }

export async function openReader(config: RedisStreamsSourceDefinition, context: Context): Promise<SourceReader> {
  const place = `source ${context.name}`
  const endpoint = parseRespEndpoint(config.url, place)
  const closers: (() => void)[] = []
  try {
    return await open(config, context, place, closers)
  } catch (error) {
    for (const close of closers) close()
    throw explainRedis(error, endpoint, place)
  }
}

async function open(
  config: RedisStreamsSourceDefinition,
  context: Context,
  place: string,
  closers: (() => void)[],
): Promise<SourceReader> {
  const { world, out, name, term } = context
  const endpoint = parseRespEndpoint(config.url, place)
  const group = config.mode === 'group' ? groupOf(config, context.pipeline) : config.group
  const client = `troupe.${context.pipeline}.${name}`
  let failed = false
  let stopped = false

  function fail(cause: unknown): void {
    if (failed || stopped) return
    failed = true
    shut()
    context.fail(explainRedis(cause, endpoint, place))
  }
  function shut(): void {
    for (const close of closers) close()
    wake()
  }

  const admin = await connectAdmin(endpoint, `${client}.${term}`, fail)
  closers.push(() => admin.close())
  // Of our own term too: a log that lost its tail gives one a second time.
  const older = (other: string) => termOf(other, `${client}.`) <= term
  const killed = await admin.killOlder(older).catch((error) => {
    context.log.warn({ source: name, error: String(error) }, 'connections of earlier readers cannot be ended')
    return 0
  })
  if (killed > 0) context.log.info({ source: name, killed }, 'ended connections of earlier readers')

  const connect = async (): Promise<RespSocket> => {
    const socket = await connectResp({
      endpoint,
      name: `${client}.${term}`,
      world,
      onClose: (error) => fail(error ?? new Error('the connection was closed')),
    })
    closers.push(() => socket.close())
    return socket
  }
  const reading = await connect()
  let acks: Acknowledger | null = null
  if (config.mode === 'group') {
    acks = acknowledger(await connect(), group!, fail)
    // Confirmed by us before, perhaps never said: said now, before anything is read.
    await acks.acknowledge(context.resume.obligations)
  }

  const start = await startLanes(config, group, endpoint.database, admin, context)
  const { lanes } = start
  const ledger = unfinished(
    config.streams,
    context.resume.outstanding.map((one) => one.bytes),
  )
  const counters = { lossWindows: 0, claimed: 0, lag: null as number | null }
  let confirmedState = readState(context.resume.confirmed, place)
  let state: ReaderState | null = null
  let stateEntries = -1

  const records = recorder({
    lanes,
    below: (lane, id) => (config.mode === 'read' || ledger.has(lane.stream, id) ? 'drop' : 'late'),
    accepted: config.mode === 'group' ? ledger.add : null,
    deleted: (lane, id) => report(lane, 'trimmed', { ...id }, 1),
    missing: (lane, missing) => report(lane, 'trimmed', lane.verified.id, missing),
  })

  /** A loss between `since` and the lane's position, found now. */
  function report(lane: Lane, cause: string, since: EntryId, estimate: number): void {
    const now = world.now()
    counters.lossWindows++
    out.lossWindow(lane.out, {
      source: name,
      lane: lane.stream,
      lastSeen: isZero(since) ? null : idText(since),
      from: new Date(lane.verified.at).toISOString(),
      to: new Date(now).toISOString(),
      durationMs: Math.max(0, now - lane.verified.at),
      cause,
      bounded: true,
      estimate,
    })
    lane.verified = { id: { ...lane.high }, at: now }
  }

  // Reading: where the next read of each stream begins, as text.
  const cursors = lanes.map((lane) => idText(lane.high))
  const loop = readLoop({
    world,
    socket: reading,
    streams: config.streams,
    keyField: config.keyField,
    count: config.count,
    blocked: () => out.blocked,
    command(count) {
      const limits = ['COUNT', String(count), 'BLOCK', String(BLOCK_MS), 'STREAMS', ...config.streams]
      return config.mode === 'read'
        ? ['XREAD', ...limits, ...cursors]
        : ['XREADGROUP', 'GROUP', group!, `${name}.${term}`, ...limits, ...config.streams.map(() => '>')]
    },
    seen: config.mode === 'read' ? (batch) => moveCursors(batch, cursors) : () => {},
    record: records.record,
    done: () => out.idle(),
    failed: (error) => fail(groupLost(error) ? lostGroup(group!, place) : error),
  })
  closers.push(() => loop.stop())

  let wakers: (() => void)[] = []
  function wake(): void {
    for (const resolve of wakers.splice(0)) resolve()
  }
  out.onUnblocked(() => {
    wake()
    if (started) loop.next()
  })
  const over = () => stopped || failed
  const taking: Claims | null =
    config.mode === 'group'
      ? claims({
          admin,
          group: group!,
          source: name,
          term,
          streams: config.streams,
          keyField: config.keyField,
          client,
          room: () =>
            !out.blocked || over()
              ? Promise.resolve()
              : new Promise<void>((resolve) => (wakers = [...wakers, resolve])),
          stopped: over,
          held: ledger.count,
          knows: ledger.has,
          read: () => records.entries,
          count: config.count,
          record(batch) {
            counters.claimed += batch.count
            records.record(batch)
          },
          gone: (stream, ids) => report(lanes[config.streams.indexOf(stream)]!, 'trimmed', ids[0]!, ids.length),
        })
      : null

  let started = false
  let timer: Timer | null = null

  async function begin(): Promise<void> {
    for (const { lane, window } of start.windows) {
      counters.lossWindows++
      out.lossWindow(lane.out, window)
    }
    if (taking !== null) await ledger.during(() => taking.takeAll())
    if (over()) return
    out.flush()
    // Where `latest` was is on disk before anything is read: a crash must not move it.
    // And so is a new epoch: the same entries must not come again under another.
    const stored = confirmedState?.lanes
    const fresh = lanes.some(({ stream, out: { spec } }) => stored?.get(stream)?.epoch !== spec.epoch)
    if (fresh) await out.stored()
    if (over()) return
    started = true
    loop.next()
    timer = world.setTimer(LOOK_MS, look, { background: true })
  }

  function look(): void {
    const work = taking === null ? lookAtStreams() : lookAtGroup(taking)
    work.then(() => {
      if (over()) return
      // What nobody wants makes no frame, and still moves the mark.
      if (ledger.pending > 0 || config.mode === 'read') out.flush()
      timer = world.setTimer(LOOK_MS, look, { background: true })
    }, fail)
  }

  async function lookAtGroup(taking: Claims): Promise<void> {
    await ledger.during(() => taking.look())
    let lag: number | null = 0
    for (const lane of lanes) {
      // The stream first: what the group reads meanwhile must not look like a loss.
      const facts = await admin.stream(lane.stream)
      const rows = (await admin.call('XINFO', 'GROUPS', lane.stream)) as readonly unknown[]
      const own = rows.map(pairs).find((fields) => fields.get('name') === group)
      if (own === undefined) throw lostGroup(group!, place)
      const behind = own.get('lag')
      lag = lag === null || behind === undefined || behind === null ? null : lag + Number(behind)
      reportUnread(lane, facts, own)
    }
    counters.lag = lag
    acks!.keepAlive()
  }

  /** Entries that were removed before the group had read them. */
  const unread = new Map<Lane, number>()
  function reportUnread(lane: Lane, facts: StreamFacts, own: ReadonlyMap<string, unknown>): void {
    const read = own.get('entries-read')
    if (read === undefined || read === null) return
    const delivered = idOfText(String(own.get('last-delivered-id')))
    const missing = trimmedBehind({ id: delivered, added: Number(read) }, facts) ?? 0
    const known = unread.get(lane) ?? 0
    unread.set(lane, missing)
    if (missing > known) report(lane, 'trimmed', delivered, missing - known)
  }

  async function lookAtStreams(): Promise<void> {
    let lag: number | null = 0
    for (const lane of lanes) {
      const before = { ...lane.high }
      const facts = await admin.stream(lane.stream)
      if (compareIds(facts.lastGenerated, before) < 0)
        throw new TroupeError({
          code: 'history-changed',
          message: `the ids of stream ${lane.stream} run backwards: it was deleted, or the Redis lost a part of it`,
          place,
          remedy: 'nothing: the reader begins a new epoch and reports a loss window',
        })
      if (facts.entriesAdded === null || lane.added === null) {
        lag = null
        continue
      }
      lag = lag === null ? null : lag + Math.max(0, facts.entriesAdded - lane.added)
      watchFor(lane, facts.lastGenerated, facts.entriesAdded)
    }
    counters.lag = lag
    await follow()
  }

  /** When the lane reaches `id`, `added` entries must have been read or known as removed. */
  function watchFor(lane: Lane, id: EntryId, added: number): void {
    const compared = compareIds(lane.high, id)
    if (lane.check !== null || compared > 0) return
    lane.check = { id, added }
    if (compared < 0) return
    lane.check = null
    if (lane.added! < added) report(lane, 'trimmed', lane.verified.id, added - lane.added!)
    lane.added = added
    lane.verified = { id: { ...lane.high }, at: world.now() }
  }

  const followed = new Map<string, string>()
  /** Mode `read` with a group: the group's last id shows others how far we are. */
  async function follow(): Promise<void> {
    if (config.mode !== 'read' || group === null || confirmedState === null) return
    for (const [stream, lane] of confirmedState.lanes) {
      const id = idText(lane.id)
      if (followed.get(stream) === id || isZero(lane.id)) continue
      if (!(await admin.createGroup(stream, group, id))) await admin.call('XGROUP', 'SETID', stream, group, id)
      followed.set(stream, id)
    }
  }

  // After `open` has returned: only then does a flush know whom to ask for the mark.
  world.defer(() => {
    begin().catch(fail)
  })

  return {
    mark() {
      // The count of entries tells whether anything has moved; the same state is the same object.
      if (state === null || stateEntries !== records.entries) {
        stateEntries = records.entries
        const memories = lanes.map((lane) => ({
          stream: lane.stream,
          epoch: lane.epoch,
          id: lane.high,
          hash: records.hashOf(lane),
          added: lane.added,
        }))
        state = writeState(start.replication, world.now(), memories)
      }
      return { state, obligation: acks === null ? null : ledger.take() }
    },
    confirm(confirmed, receipts) {
      confirmedState = readState(confirmed, place)
      if (acks === null || receipts.length === 0 || over()) return
      ledger.confirmed(receipts.length)
      acks.acknowledge(receipts.map((one) => one.bytes)).then(() => {
        if (failed) return
        ledger.acknowledged(receipts.length)
        context.discharge(receipts.map((one) => one.receipt))
      })
    },
    async stop() {
      if (stopped) return
      stopped = true
      wake()
      loop.stop()
      timer?.cancel()
      if (!failed) {
        await new Promise<void>((resolve) => {
          const late = world.setTimer(STOP_MS, resolve)
          const done = () => {
            late.cancel()
            resolve()
          }
          Promise.all([acks?.settled(), follow()]).then(done, done)
        })
      }
      shut()
    },
    status() {
      return {
        connection: failed ? 'lost' : started ? 'reading' : 'starting',
        server: describeEndpoint(endpoint),
        mode: config.mode,
        position: Object.fromEntries(lanes.map((lane) => [lane.stream, idText(lane.high)])),
        confirmed: Object.fromEntries(
          [...(confirmedState?.lanes ?? [])].map(([stream, lane]) => [stream, idText(lane.id)]),
        ),
        epoch: Object.fromEntries(lanes.map((lane) => [lane.stream, String(lane.epoch)])),
        entries: records.entries,
        reads: loop.reads,
        late: records.late,
        dropped: records.dropped,
        claimed: counters.claimed,
        acknowledged: acks?.acknowledged ?? null,
        lossWindows: counters.lossWindows,
        lagEntries: counters.lag,
      }
    },
  }
}

/** The last entry of each stream in the batch is where its next read begins. */
function moveCursors(batch: EntryBatch, cursors: string[]): void {
  const { bytes, ranges, count } = batch
  for (let index = count - 1, stream = -1; index >= 0; index--) {
    const slot = index * ENTRY_STRIDE
    if (ranges[slot] === stream) continue
    stream = ranges[slot]!
    const start = ranges[slot + entryFields.idStart]!
    const length = ranges[slot + entryFields.idEnd]! - start
    cursors[stream] = Buffer.from(bytes.buffer, bytes.byteOffset + start, length).toString('latin1')
    if (cursors.length === 1) return
  }
}

export function groupOf(config: RedisStreamsSourceDefinition, pipeline: string): string {
  return config.group ?? `troupe-${pipeline}`
}

/** The term at the end of a client's name; never below ours where it is not one of our readers'. */
function termOf(name: string, prefix: string): number {
  const text = name.startsWith(prefix) ? name.slice(prefix.length) : ''
  return /^\d{1,15}$/.test(text) ? Number(text) : Number.POSITIVE_INFINITY
}

function groupLost(error: Error): boolean {
  return /^NOGROUP/.test(error.message)
}

function lostGroup(group: string, place: string): TroupeError {
  return new TroupeError({
    code: 'group-lost',
    message: `the consumer group ${group} is gone: it was destroyed, or the Redis restarted without what it held`,
    place,
    remedy: 'nothing: the reader makes it again and reports a loss window; turn persistence on to keep it',
  })
}
