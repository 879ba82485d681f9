/**
 * Writes this node's record at every beat, by CAS on its own last revision: so a process that slept and finds its name
 * taken learns it from its first beat.
 *
 * One write at a time. A beat that is due meanwhile, or asked for, follows at once. What fails is tried again at the
 * next beat, without end: only a name that is taken ends it.
 */
import type { Logger } from '../world/logger.js'
import type { Timer, World } from '../world/world.js'
import { within } from './deadline.js'
import { keys } from './keys.js'
import { decodeMember, encodeRecord, type MemberRecord } from './member.js'
import type { KvPort } from './port.js'

export interface HeartbeatInit {
  readonly kv: KvPort
  readonly world: World
  readonly log: Logger
  readonly node: string
  readonly boot: string
  /** ms between beats. */
  readonly interval: number
  /** Most that one write may take. */
  readonly deadline: number
  /** The record of this beat. */
  readonly record: (beat: number) => MemberRecord
  /** The name belongs to another process now. Called once. */
  readonly lost: () => void
}

export interface Heartbeat {
  /** Writes the first record over `revision` (0: there is none). False: somebody else did. */
  first(revision: number): Promise<boolean>
  start(): void
  /** Writes as soon as it can. */
  now(): void
  /** Ends; waits for the write under way. */
  stop(): Promise<void>
  readonly beat: number
  readonly revision: number
  /** ms since a beat was stored. */
  lateFor(now: number): number
}

export function createHeartbeat(init: HeartbeatInit): Heartbeat {
  const { kv, world, log, node, boot, interval, deadline } = init
  const key = keys.member(node)
  let beat = 0
  let revision = 0
  let storedAt = world.monotonic()
  let timer: Timer | undefined
  let writing: Promise<void> | undefined
  let again = false
  let stopped = false
  let failing = false

  function write(over: number): Promise<number | null> {
    beat++
    const value = encodeRecord(init.record(beat))
    const written = over === 0 ? kv.create(key, value) : kv.update(key, value, over)
    return within(world, deadline, 'heartbeat', written)
  }

  function stored(at: number): void {
    revision = at
    storedAt = world.monotonic()
    if (failing) log.info({ node }, 'the heartbeat is stored again')
    failing = false
  }

  async function once(): Promise<void> {
    try {
      const written = await write(revision)
      if (written === null) await refused()
      else stored(written)
    } catch (error) {
      if (!failing) log.warn({ node, error }, 'the heartbeat was not stored; it is tried again')
      failing = true
    }
  }

  /** Either an earlier write of ours was stored without an answer, or the record is gone, or the name is taken. */
  async function refused(): Promise<void> {
    const entry = await within(world, deadline, 'heartbeat', kv.get(key))
    if (entry === null || entry.value === null) {
      revision = 0
      again = true
      return
    }
    const read = decodeMember(node, entry.value)
    const own = read.kind === 'record' && read.record.boot === boot
    // A read may be stale, and the store may have lost its tail: in both cases what it shows is older than our last beat.
    if (own || entry.revision < revision) {
      again = entry.revision !== revision
      revision = entry.revision
      return
    }
    if (stopped) return
    stopped = true
    timer?.cancel()
    init.lost()
  }

  function run(): void {
    if (stopped) return
    if (writing !== undefined) {
      again = true
      return
    }
    again = false
    timer?.cancel()
    timer = world.setTimer(interval, run)
    writing = once().then(() => {
      writing = undefined
      if (again) run()
    })
  }

  return {
    async first(over) {
      const written = await write(over)
      if (written === null) return false
      stored(written)
      return true
    },
    start: run,
    now: run,
    async stop() {
      stopped = true
      timer?.cancel()
      await writing
    },
    get beat() {
      return beat
    },
    get revision() {
      return revision
    },
    lateFor: (now) => now - storedAt,
  }
}
