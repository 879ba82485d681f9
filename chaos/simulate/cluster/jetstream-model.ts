/**
 * A model of JetStream behind the port of the log: one replicated stream that is slow, ambiguous, sometimes stale, and that
 * may lose the tail that it had acknowledged.
 *
 * What it promises is what the real one promises: a batch is stored as a whole or not at all; expected sequences are checked
 * against what is committed at the moment of storing; the messages of a subject are read in order. What it does
 * not promise: that a reply comes, that a commit without a reply was not stored, or will not be stored long after its
 * deadline; that a reading goes on where it was cut without a word; that what was acknowledged within the sync interval is
 * still there after an election. A deposed leader answers reads for a moment from before its election, but only where
 * no tail was lost: a leader that still has the tail would not have lost it.
 */

import type {
  Outcome,
  ReadOptions,
  StreamMessage,
  StreamPort,
  StreamReading,
  StreamState,
} from '../../../src/log/jetstream/port.js'
import type { SimulatedWorld } from '../../../src/world/simulated.js'
import type { Life } from './node.js'
import { createStreamStore, type StoreObserver, type StreamStore } from './stream-store.js'

/** What becomes of a node's next commit. */
export type Fate = 'lost-request' | 'lost-reply' | 'late-commit' | 'refused'

export interface BrokerInit {
  readonly world: SimulatedWorld
  readonly observer: StoreObserver
  /** ms for which an acknowledged message may be unsynced; 0: never. */
  readonly syncInterval: number
}

export interface Broker {
  readonly store: StreamStore
  /** `messages`: requests that arrived and messages that were delivered. */
  readonly figures: { messages: number; commits: number; refused: number }
  port(life: Life, owner: string): StreamPort
  /** The next commit of this node meets this; `met` is told whose it was. */
  doom(node: string, fate: Fate, met: (owner: string) => void): void
  /** A new leader. `lose`: without the tail that was not synced. Gives the number of messages lost. */
  elect(lose: boolean): number
  /** The deposed leader answers reads until then. */
  beStale(ms: number): void
  /** Takes no frames for so long. */
  fill(ms: number): void
  /** Every reading of this node is cut, and goes on later. */
  cutReadings(node: string): void
  /** No more faults: everything that waits is answered soon. */
  calm(): void
}

const latency = { least: 0.5, most: 12 }
const maxBytes = 1e12
/** Messages of one delivery. */
const deliveryLimit = 32

interface Reading {
  readonly life: Life
  cut(afterMs: number): void
  pump(): void
}

export function createBroker(init: BrokerInit): Broker {
  const { world, syncInterval } = init
  const store = createStreamStore(world, init.observer)
  const figures = { messages: 0, commits: 0, refused: 0 }
  const fates = new Map<string, { readonly fate: Fate; readonly met: (owner: string) => void }>()
  const readings = new Set<Reading>()
  let leadership = 0
  let awayUntil = 0
  let staleUntil = 0
  let staleFrom = 0
  let staleNodes = new Set<string>()
  let fullUntil = 0
  let slowness = 1

  const delay = (): number => (latency.least + world.random() ** 3 * (latency.most - latency.least)) * slowness
  const away = (): boolean => world.monotonic() < awayUntil

  /** A request on its way to the leader: `serve` runs there, if it arrives. */
  function request(life: Life, serve: () => void, extra = 0): void {
    const now = world.monotonic()
    const blocked = Math.max(0, life.node.cutUntil - now)
    // What lies in a socket's buffer when the network is cut may still arrive when it is back.
    if (blocked > 0 && world.random() < 0.5) return
    world.setTimer(blocked + extra + delay(), () => {
      figures.messages++
      serve()
    })
  }

  function reply(life: Life, run: () => void): void {
    const from = leadership
    world.setTimer(delay(), () => {
      if (leadership !== from || world.monotonic() < life.node.cutUntil) return
      life.arrive(run)
    })
  }

  function ask<T>(life: Life, deadlineMs: number, serve: () => T, extra = 0): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = life.world.setTimer(deadlineMs, () => reject(new Error('the stream did not answer in time')))
      request(
        life,
        () => {
          if (away()) return
          const answer = serve()
          reply(life, () => {
            timer.cancel()
            resolve(answer)
          })
        },
        extra,
      )
    })
  }

  function serveCommit(messages: readonly StreamMessage[], fate: Fate | undefined): Outcome {
    if (fate === 'refused') return { kind: 'retry', why: 'another batch is in progress' }
    const hasFrames = messages.some((message) => message.rollup !== true)
    if (hasFrames && world.monotonic() < fullUntil) return { kind: 'retry', why: 'the stream is full', full: true }
    const sequence = store.append(messages)
    if (sequence === null) {
      figures.refused++
      return { kind: 'fenced' }
    }
    figures.commits++
    for (const reading of readings) reading.pump()
    return { kind: 'committed', sequence }
  }

  function commit(life: Life, owner: string, messages: readonly StreamMessage[], deadlineMs: number): Promise<Outcome> {
    const batch = messages.map((message) => ({ ...message, payload: Uint8Array.from(message.payload) }))
    const doomed = fates.get(life.node.name)
    const fate = doomed?.fate
    fates.delete(life.node.name)
    doomed?.met(owner)
    return new Promise((resolve) => {
      const timer = life.world.setTimer(deadlineMs, () => resolve({ kind: 'ambiguous', why: 'no reply in time' }))
      if (fate === 'lost-request') return
      const late = fate === 'late-commit' ? deadlineMs * (0.9 + world.random() * 1.5) : 0
      request(
        life,
        () => {
          const answer = (outcome: Outcome): void =>
            reply(life, () => {
              timer.cancel()
              resolve(outcome)
            })
          if (away()) {
            // No responders: said at once, or nothing said at all.
            if (world.random() < 0.5) answer({ kind: 'ambiguous', why: '503' })
            return
          }
          const outcome = serveCommit(batch, fate)
          if (fate !== 'lost-reply') answer(outcome)
        },
        late,
      )
    })
  }

  function read(life: Life, options: ReadOptions): StreamReading {
    let next = options.from
    let delivered = options.from - 1
    let outstanding = 0
    let open = true
    let connection = 0
    let connected = true
    let lastDue = 0

    function deliver(messages: ReturnType<StreamStore['from']>, on: number): void {
      for (const message of messages) {
        if (!open || connection !== on) return
        delivered = message.sequence
        figures.messages++
        options.message(message)
      }
    }

    const reading: Reading = {
      life,
      pump() {
        while (open && connected && !life.dead && !away() && (outstanding === 0 || outstanding < options.window)) {
          const found = store.from(options.subject, next, deliveryLimit)
          const sent: typeof found = []
          for (const message of found) {
            if (sent.length > 0 && outstanding >= options.window) break
            outstanding += message.payload.length
            sent.push(message)
          }
          if (sent.length === 0) return
          next = sent.at(-1)!.sequence + 1
          const on = connection
          const now = world.monotonic()
          const due = Math.max(lastDue + 0.001, Math.max(now, life.node.cutUntil) + delay())
          lastDue = due
          world.setTimer(due - now, () => life.arrive(() => deliver(sent, on)))
        }
      },
      cut(afterMs) {
        if (!open) return
        connection++
        connected = false
        const on = connection
        world.setTimer(afterMs, () => {
          if (!open || connection !== on) return
          if (away() || world.monotonic() < life.node.cutUntil) {
            reading.cut(afterMs)
            return
          }
          const last = store.lastSequence
          life.arrive(() => {
            if (!open || connection !== on) return
            options.resumed({ last, delivered })
            if (!open) return
            connected = true
            next = delivered + 1
            outstanding = 0
            reading.pump()
          })
        })
      },
    }
    readings.add(reading)
    world.setTimer(delay(), () => {
      if (!open || connection > 0) return
      const last = store.lastSequence
      if (last < delivered) life.arrive(() => open && options.resumed({ last, delivered }))
      reading.pump()
    })
    return {
      credit(bytes) {
        outstanding = Math.max(0, outstanding - bytes)
        reading.pump()
      },
      stop() {
        open = false
        readings.delete(reading)
      },
    }
  }

  return {
    store,
    figures,
    port: (life, owner) => ({
      commit: (messages, deadlineMs) => commit(life, owner, messages, deadlineMs),
      last: (subject, deadlineMs) =>
        ask(life, deadlineMs, () => {
          const stale = world.monotonic() < staleUntil && staleNodes.has(life.node.name)
          return store.last(subject, stale ? staleFrom : undefined)
        }),
      first: (subject, deadlineMs) => ask(life, deadlineMs, () => store.from(subject, 1, 1)[0] ?? null),
      at: (sequence, deadlineMs) => ask(life, deadlineMs, () => store.at(sequence)),
      subjects: (filter, deadlineMs) => ask(life, deadlineMs, () => store.subjects(filter)),
      state: (deadlineMs) =>
        ask(life, deadlineMs, (): StreamState => {
          const full = world.monotonic() < fullUntil
          return {
            // Others fill it: its limit stays what it was.
            bytes: full ? maxBytes : store.bytes(),
            maxBytes,
            messages: store.count(),
          }
        }),
      read: (options) => read(life, options),
      purge(subject, keep, deadlineMs) {
        // One in four takes its time: it is carried out when nobody waits for it any more.
        const extra = world.random() < 0.25 ? world.random() * 2 * deadlineMs : 0
        return ask(life, deadlineMs, () => store.purge(subject, keep), slowness === 1 ? extra : 0)
      },
    }),
    doom: (node, fate, met) => void fates.set(node, { fate, met }),
    elect(lose) {
      leadership++
      const now = world.monotonic()
      awayUntil = now + 30 + world.random() * 1_200
      staleUntil = 0
      const lost = lose ? store.forget(1 + world.pick(8), now - syncInterval) : 0
      for (const reading of readings) reading.cut(20 + world.random() * 1_500)
      return lost
    },
    beStale(ms) {
      const nodes = new Set([...readings].map(({ life }) => life.node.name))
      staleNodes = new Set([...nodes].filter(() => world.random() < 0.7))
      staleFrom = world.monotonic()
      leadership++
      awayUntil = staleFrom + 5
      staleUntil = staleFrom + ms
    },
    fill(ms) {
      fullUntil = world.monotonic() + ms
    },
    cutReadings(node) {
      for (const reading of readings) if (reading.life.node.name === node) reading.cut(20 + world.random() * 2_000)
    },
    calm() {
      slowness = 0.5
      fates.clear()
      staleUntil = 0
      fullUntil = 0
    },
  }
}
