/**
 * The sessions of one node with others: who is up, who is down, and what of the kernel's own must arrive.
 *
 * Promises: between two nodes there is one session at a time, and each end of it has a name that is never used again.
 * A session ends once: when nothing of it was heard for `deadMs` on the monotonic clock, when the other end says
 * goodbye, or when it turns out to be another incarnation (restarted, or it had given us up). What is `post`ed arrives in order,
 * exactly once, or the session ends; what is `offer`ed arrives in order and at most once. Messages of an ended session are
 * never delivered in a later one: a partition that heals is a new session.
 *
 * Does not promise that both ends see the end at the same time, nor that a silent node has stopped working.
 * Knows no sockets: bytes in, bytes out, time by `World`.
 */
import type { Timer, World } from '../../world/world.js'
import { ENVELOPE_BYTES, type Frame, frameBytes, parseFrame } from './frame.js'
import { MAX_BYTES, MAX_NODES, type NodeLink } from './link.js'
import { badFrame } from './value.js'

/** Most messages, and bytes, that wait for a session to begin or for the other end to acknowledge them. */
export const MAX_WAITING = 4_096
export const MAX_WAITING_BYTES = 16 * MAX_BYTES
/** Most bytes of a message's JSON. */
export function maxBodyBytes(link: NodeLink): number {
  return Math.min(MAX_BYTES, link.maxBytes ?? MAX_BYTES) - ENVELOPE_BYTES
}

/** Sent again at one time. */
const RESENT = 256
const PING = 'null'
const BYE = '"bye"'

export interface Session {
  readonly node: string
  /** Counts the sessions of this system. */
  readonly number: number
  readonly up: boolean
  /** For the kernel's own, which must arrive. */
  post(body: string): void
  /** For what may be lost. False: refused at once. */
  offer(body: string): boolean
}

export interface SessionEvents {
  /** A session is wanted or offered. */
  opened(session: Session): void
  message(session: Session, body: unknown): void
  /** Once for each that was opened. So many of the messages that were offered have never left. */
  died(session: Session, detail: string, unsent: number): void
  /** Bytes that are no frame, or one of us: counted and dropped. */
  refused(error: Error, node: string): void
}

export interface Sessions {
  /** The session with a node, begun if there is none; undefined when there are too many, or none are wanted any more. */
  with(node: string): Session | undefined
  up(): readonly string[]
  /** Says goodbye and ends. */
  close(): void
  /** Ends without a word, as a crash does. */
  halt(): void
}

interface Sent {
  readonly seq: number
  readonly body: string
  at: number
}

interface State {
  readonly node: string
  readonly mine: string
  theirs: string
  up: boolean
  heard: number
  /** Unacknowledged, by ascending seq; while the session begins, unsent. */
  readonly sent: Sent[]
  /** Offered while the session begins. */
  waiting: string[]
  waitingBytes: number
  /** Numbers given and taken, of what must arrive and of what may be lost. */
  posted: number
  taken: number
  offered: number
  seen: number
  readonly session: Session
}

export function createSessions(
  world: World,
  link: NodeLink,
  timing: { readonly pingMs: number; readonly deadMs: number },
  events: SessionEvents,
): Sessions {
  const { pingMs, deadMs } = timing
  const incarnation = Buffer.from(world.randomBytes(8)).toString('hex')
  const states = new Map<string, State>()
  let births = 0
  let timer: Timer | undefined
  let closed = false

  function open(node: string): State | undefined {
    if (closed || node === link.node || states.size >= MAX_NODES) return undefined
    const number = ++births
    const state: State = {
      node,
      mine: `${incarnation}.${number}`,
      theirs: '',
      up: false,
      heard: world.monotonic(),
      sent: [],
      waiting: [],
      waitingBytes: 0,
      posted: 0,
      taken: 0,
      offered: 0,
      seen: 0,
      session: {
        node,
        number,
        get up() {
          return state.up
        },
        post: (body) => post(state, body),
        offer: (body) => offer(state, body),
      },
    }
    states.set(node, state)
    timer ??= world.setTimer(pingMs, tick, { background: true })
    events.opened(state.session)
    return state
  }

  /** The record is the right to end it. */
  function die(state: State, detail: string): void {
    if (states.get(state.node) !== state) return
    states.delete(state.node)
    events.died(state.session, detail, state.waiting.length)
  }

  function alive(state: State): boolean {
    return states.get(state.node) === state
  }

  // Out --------------------------------------------------------------------------------------------------------------

  function send(state: State, seq: number, body: string): boolean {
    const { mine, theirs, taken } = state
    try {
      link.send(state.node, frameBytes({ from: link.node, mine, theirs, ack: taken, seq }, body))
      return true
    } catch {
      // What must arrive is sent again; for the rest the caller is told.
      return false
    }
  }

  function post(state: State, body: string): void {
    if (!alive(state)) return
    const message: Sent = { seq: ++state.posted, body, at: world.monotonic() }
    state.sent.push(message)
    state.waitingBytes += body.length
    if (isFull(state)) {
      // A microtask later: whoever posts is in the middle of something.
      queueMicrotask(() => die(state, 'did not acknowledge what was sent to it'))
      return
    }
    if (state.up) send(state, message.seq, body)
  }

  function offer(state: State, body: string): boolean {
    if (!alive(state)) return false
    if (state.up) return send(state, -++state.offered, body)
    if (isFull(state)) return false
    state.waiting.push(body)
    state.waitingBytes += body.length
    return true
  }

  function isFull(state: State): boolean {
    return state.sent.length + state.waiting.length >= MAX_WAITING || state.waitingBytes >= MAX_WAITING_BYTES
  }

  function tick(): void {
    timer = undefined
    const now = world.monotonic()
    for (const state of [...states.values()]) {
      if (now - state.heard >= deadMs) {
        die(state, `was not heard of for ${deadMs} ms`)
        continue
      }
      send(state, 0, PING)
      if (state.up) resend(state, now)
    }
    if (states.size > 0) timer ??= world.setTimer(pingMs, tick, { background: true })
  }

  /** An acknowledgement may be on its way for as long as a ping: only what is older was lost. */
  function resend(state: State, now: number): void {
    const oldest = state.sent[0]
    if (oldest === undefined || now - oldest.at < pingMs * 1.5) return
    for (const message of state.sent.slice(0, RESENT)) {
      message.at = now
      send(state, message.seq, message.body)
    }
  }

  function begin(state: State): void {
    state.up = true
    const { waiting } = state
    state.waiting = []
    for (const body of waiting) state.waitingBytes -= body.length
    const now = world.monotonic()
    for (const message of state.sent) {
      message.at = now
      send(state, message.seq, message.body)
    }
    for (const body of waiting) send(state, -++state.offered, body)
    send(state, 0, PING)
  }

  // In ---------------------------------------------------------------------------------------------------------------

  function receive(bytes: Uint8Array): void {
    if (closed) return
    let frame: Frame
    try {
      if (bytes.byteLength > MAX_BYTES) throw badFrame(`it has ${bytes.byteLength} bytes`)
      frame = parseFrame(bytes)
      if (frame.from === link.node) throw badFrame('it comes from a node of our own name')
    } catch (error) {
      events.refused(error as Error, '?')
      return
    }
    const known = states.get(frame.from)
    if (frame.body === 'bye') {
      if (known !== undefined && known.theirs === frame.mine) die(known, 'has stopped')
      return
    }
    const state = known ?? open(frame.from)
    if (state === undefined) events.refused(badFrame('there are too many nodes'), frame.from)
    else if (frame.theirs === state.mine) matched(state, frame)
    else if (frame.theirs === '') greeted(state, frame.mine)
    // Meant for an end of ours that is no more: the sender must learn that.
    else send({ ...state, theirs: '' }, 0, PING)
  }

  function greeted(state: State, theirs: string): void {
    if (state.up && state.theirs !== theirs) {
      succeed(state, theirs)
      return
    }
    state.theirs = theirs
    send(state, 0, PING)
  }

  /** The node is there, but it is not the one that this session was with. */
  function succeed(state: State, theirs: string): void {
    die(state, 'is another incarnation: it was restarted, or it had given this node up')
    const next = states.get(state.node) ?? open(state.node)
    if (next === undefined) return
    next.theirs = theirs
    send(next, 0, PING)
  }

  function matched(state: State, frame: Frame): void {
    if (state.up && state.theirs !== frame.mine) {
      succeed(state, frame.mine)
      return
    }
    state.theirs = frame.mine
    state.heard = world.monotonic()
    if (!state.up) begin(state)
    acknowledged(state, frame.ack)
    if (isNew(state, frame.seq)) events.message(state.session, frame.body)
  }

  /** Nothing is taken twice. A gap in what must arrive closes when it is sent again; one in the rest stays. */
  function isNew(state: State, seq: number): boolean {
    if (seq > 0) {
      if (seq !== state.taken + 1) return false
      state.taken = seq
      return true
    }
    if (-seq <= state.seen) return false
    state.seen = -seq
    return true
  }

  function acknowledged(state: State, ack: number): void {
    while (state.sent.length > 0 && state.sent[0]!.seq <= ack) state.waitingBytes -= state.sent.shift()!.body.length
  }

  // ------------------------------------------------------------------------------------------------------------------

  function halt(): void {
    closed = true
    timer?.cancel()
    states.clear()
    link.close()
  }

  link.listen(receive)
  return {
    with(node) {
      const known = states.get(node)
      if (known !== undefined) return known.session
      const begun = open(node)
      if (begun !== undefined) send(begun, 0, PING)
      return begun?.session
    },
    up: () => [...states.values()].filter((state) => state.up).map((state) => state.node),
    close() {
      if (closed) return
      for (const state of states.values()) send(state, 0, BYE)
      halt()
    },
    halt,
  }
}
