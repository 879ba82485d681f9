/**
 * What one node does about the resources that it should, or should no longer, hold. Inputs in, actions out: no I/O, no
 * clock, no chance but what comes with the input.
 *
 * - A lease that nobody holds is acquired, then the unit is started; a unit that runs has its lease, or is about to be
 *   stopped, or the store has lost the lease and it is being acquired again under the running unit.
 * - When another is to have it: stop the unit, then release the lease to that other; where all that it did is stored
 *   before it is taken down, as soon as that is so.
 * - When another has it: stop the unit at once.
 * - What cannot be started, or ends, is tried again with back-off, and its lease is given up after `giveUp` ms if another
 *   node can try; so is the lease of a unit that gives no proof of life. One that was fenced rests for a lease: whoever
 *   fenced it may have the lease, and the watch shows that by then.
 *
 * A write whose outcome is unknown is settled by what the watch shows: its CAS makes a second attempt harmless. A watch
 * that is behind our own last write is not believed. Nothing here waits for the store to stop a unit, nor does a store
 * that fails stop one.
 */
import { isTroupeError } from '../actor/failure.js'
import { messageOf } from '../world/error.js'
import { acquiredBy, type LeaseRecord, releasedBy, type Self } from './lease.js'
import type { LeaseView } from './observer.js'
import type { Action, DecideInput, How, Ownership, OwnershipEvent, UnitState } from './ownership-port.js'
import type { Resource } from './port.js'
import type { MembershipSettings } from './settings.js'

/** Probes that must have failed in a row before a unit is called silent: one may have met our own sleep. */
const MISSED = 3

interface Slot {
  readonly resource: Resource
  /** Our last write, until the watch shows it. */
  own: { readonly revision: number; readonly record: LeaseRecord; readonly at: number } | undefined
  /** The lease under which the unit runs. */
  record: LeaseRecord | null
  held: boolean
  writing: { readonly type: 'acquire' | 'release'; readonly record: LeaseRecord } | undefined
  writeFailures: number
  quietUntil: number
  unit: UnitState
  run: number
  attempts: number
  startingSince: number
  runningSince: number
  tryingSince: number | undefined
  restUntil: number
  ranWell: boolean
  /** To be given up. */
  failed: boolean
  /** The unit is being stopped, and all that it did is stored. */
  closed: boolean
  /** The unit is being stopped because it failed, not because another is to have it. */
  stoppingFailed: boolean
  missed: number
  missedSince: number
  provenBeat: number
  taking: { readonly how: How; readonly from: string | null; readonly since: number } | undefined
  givingSince: number | undefined
  lastError: string | undefined
}

export function createOwnership(
  self: Self,
  resources: readonly Resource[],
  settings: Pick<MembershipSettings, 'lease' | 'giveUp' | 'backoff' | 'stopDeadline'>,
  planted: readonly string[] = [],
): Ownership {
  const slots = new Map(resources.map((resource) => [resource, newSlot(resource)]))
  let actions: Action[] = []

  const tell = (event: OwnershipEvent): void => {
    actions.push({ type: 'tell', event })
  }
  const ours = (record: LeaseRecord | null): boolean => record?.node === self.node && record.boot === self.boot
  const isMine = (view: LeaseView): boolean => (view.state === 'held' || view.state === 'dead') && ours(view.record)
  const isSilent = (slot: Slot, now: number, ms: number): boolean =>
    slot.unit === 'running' && slot.missed >= MISSED && now - slot.missedSince >= ms

  function believed(slot: Slot, seen: LeaseView, now: number): LeaseView {
    const { own } = slot
    if (own === undefined || seen.revision >= own.revision) return seen
    const { record } = own
    const released = record.state === 'released'
    // A watch that is behind shows our write in the end; if it does not within this time, the store has lost it.
    if (now - own.at < 2 * settings.lease)
      return released
        ? { state: 'released', record, revision: own.revision }
        : { state: 'held', record, revision: own.revision, silent: 0 }
    // What we gave away is not ours again because the store forgot that.
    const forgotten = released && ours(seen.record) && seen.record?.n === record.n
    return forgotten ? { state: 'released', record, revision: seen.revision } : seen
  }

  // Units -------------------------------------------------------------------------------------------------------------

  function start(slot: Slot, now: number): void {
    slot.unit = 'starting'
    slot.run++
    slot.startingSince = now
    slot.tryingSince ??= now
    slot.missed = 0
    actions.push({ type: 'start', resource: slot.resource, run: slot.run })
  }

  function stop(slot: Slot, deadlineMs: number): UnitState {
    const rests = slot.unit === 'resting'
    slot.closed = false
    slot.unit = rests ? 'none' : 'stopping'
    if (!rests) actions.push({ type: 'stop', resource: slot.resource, run: slot.run, deadlineMs })
    return slot.unit
  }

  function rest(slot: Slot, now: number, random: number, least = 0): void {
    const { initial, most } = settings.backoff
    slot.unit = 'resting'
    slot.attempts++
    const delay = Math.min(most, initial * 2 ** Math.min(slot.attempts - 1, 20)) * (0.8 + 0.2 * random)
    slot.restUntil = now + Math.max(least, delay)
  }

  function giveUp(slot: Slot, why: string): void {
    slot.failed = true
    tell({ type: 'given-up', resource: slot.resource, why })
  }

  // Decisions ---------------------------------------------------------------------------------------------------------

  function decideOne(slot: Slot, input: DecideInput): void {
    const { now } = input
    const { resource } = slot
    const view = believed(slot, input.lease(resource), now)
    const mine = isMine(view)
    const { taking } = slot
    // Its write was stored although nobody said so.
    if (mine && !slot.held && slot.writing === undefined && taking !== undefined)
      tell({ type: 'acquired', resource, how: taking.how, from: taking.from })
    slot.held = mine
    if (!mine && view.state === 'held') slot.taking = undefined
    if (mine) slot.record = view.record
    else if (slot.unit === 'none' && slot.writing === undefined) forget(slot)
    watchUnit(slot, input)
    const to = input.desired.get(resource)?.node ?? null
    const wanted = to === self.node && !slot.failed
    const mayWrite = slot.writing === undefined && now >= slot.quietUntil
    if (slot.unit === 'stopping') {
      if (slot.closed && mine && !wanted && mayWrite) release(slot, view, to, input)
      return
    }
    if (slot.unit !== 'none' && !mine && (!wanted || takenOver(slot, view))) {
      if (planted.includes('ignore-leases') && ignores(slot, view, input)) return
      if (takenOver(slot, view)) tell({ type: 'taken', resource, by: view.record?.node ?? null })
      stop(slot, settings.stopDeadline)
      return
    }
    if (slot.unit !== 'none' && mine && !wanted) {
      slot.givingSince = now
      if (isSilent(slot, now, settings.lease)) slot.failed = true
      if (stop(slot, input.stopDeadline) === 'stopping') return
    }
    if (!mayWrite) return
    if (!mine) {
      if (wanted && view.state !== 'held' && view.state !== 'foreign') acquire(slot, view, now)
    } else if (!wanted) release(slot, view, to, input)
    else if (slot.unit === 'none' || (slot.unit === 'resting' && now >= slot.restUntil)) start(slot, now)
  }

  /** As if nobody had looked whether another has it: only the log stands against what the unit still does. */
  function ignores(slot: Slot, view: LeaseView, input: DecideInput): boolean {
    return slot.unit === 'running' && slot.missed < MISSED && view.state === 'held' && !input.goesAway
  }

  /** A start that hangs and a unit that is silent for too long are failures. */
  function watchUnit(slot: Slot, input: DecideInput): void {
    const { now } = input
    // Not before: one that ends again and again soon after its start is one that cannot be started.
    if (slot.unit === 'running' && now - slot.runningSince >= settings.giveUp) isSteady(slot)
    const hangs = slot.unit === 'starting' && now - slot.startingSince >= settings.giveUp
    const silent = isSilent(slot, now, settings.giveUp)
    if (silent) tell({ type: 'silent', resource: slot.resource, ms: now - slot.missedSince })
    if (hangs || silent) {
      slot.lastError = hangs ? 'its start did not end' : 'it gave no proof of life'
      slot.stoppingFailed = true
      stop(slot, input.stopDeadline)
    }
    const trying = slot.unit === 'resting' && slot.tryingSince !== undefined
    if (trying && now - slot.tryingSince! >= settings.giveUp && !slot.failed && input.others(slot.resource))
      giveUp(slot, slot.lastError ?? 'it could not be started')
  }

  function isSteady(slot: Slot): void {
    slot.attempts = 0
    slot.tryingSince = undefined
  }

  /** Somebody acquired it after us. Not so where the store shows something older, or nothing: then it has lost our lease. */
  function takenOver(slot: Slot, view: LeaseView): boolean {
    if (view.state === 'foreign') return true
    return view.record !== null && view.record.n >= (slot.record?.n ?? 0) && !ours(view.record)
  }

  function acquire(slot: Slot, view: LeaseView, now: number): void {
    const before = view.record
    const restored = slot.unit !== 'none'
    const from = before?.node ?? null
    const silent = view.state === 'dead' ? view.silent : 0
    const unfit = view.state === 'dead' && view.why === 'no-proof'
    const how: How = restored
      ? 'restored'
      : view.state === 'dead'
        ? 'takeover'
        : view.state === 'released' && view.record.to === self.node
          ? 'handoff'
          : 'free'
    if (slot.taking === undefined || slot.taking.from !== from || slot.taking.how !== how)
      slot.taking = { how, from, since: now - silent }
    const home = view.state === 'dead' && !unfit ? (before?.home ?? before?.node) : before?.home
    const base = before !== null && unfit ? releasedBy(before, failedThere) : before
    const record = acquiredBy(self, base, home)
    const n = Math.max(record.n, (slot.record?.n ?? 0) + 1)
    write(slot, 'acquire', view.state === 'free' ? 0 : view.revision, { ...record, n })
  }

  function release(slot: Slot, view: LeaseView, to: string | null, input: DecideInput): void {
    slot.givingSince ??= input.now
    const { ranWell, failed } = slot
    const goesAway = input.goesAway && !failed
    write(
      slot,
      'release',
      view.revision,
      releasedBy(view.record!, { to: to === self.node ? null : to, goesAway, ranWell: ranWell && !failed, failed }),
    )
  }

  function write(slot: Slot, type: 'acquire' | 'release', revision: number, record: LeaseRecord): void {
    slot.writing = { type, record }
    actions.push({ type, resource: slot.resource, revision, record })
  }

  // Outcomes ----------------------------------------------------------------------------------------------------------

  function written(slot: Slot, revision: number | null, now: number): void {
    const { writing } = slot
    if (writing === undefined) return
    slot.writing = undefined
    slot.writeFailures = 0
    if (revision === null) {
      // What was written instead is on its way through the watch.
      slot.quietUntil = now + settings.lease / 30
      tell({ type: 'refused', resource: slot.resource, write: writing.type })
      return
    }
    slot.quietUntil = 0
    slot.own = { revision, record: writing.record, at: now }
    if (writing.type === 'acquire') {
      slot.held = true
      slot.record = writing.record
      const { how, from } = slot.taking ?? { how: 'free', from: null }
      tell({ type: 'acquired', resource: slot.resource, how, from })
      return
    }
    const ms = now - (slot.givingSince ?? now)
    tell({ type: 'released', resource: slot.resource, to: writing.record.to ?? null, ms })
    slot.taking = undefined
    forget(slot)
  }

  function unknown(slot: Slot, now: number): void {
    if (slot.writing === undefined) return
    slot.writing = undefined
    slot.quietUntil = now + Math.min(settings.lease / 2, (settings.lease / 30) * 2 ** Math.min(slot.writeFailures, 10))
    slot.writeFailures++
  }

  function started(slot: Slot, now: number): void {
    slot.unit = 'running'
    slot.ranWell = true
    slot.runningSince = now
    slot.lastError = undefined
    slot.missed = 0
    const { taking } = slot
    if (taking !== undefined)
      tell({ type: 'running', resource: slot.resource, how: taking.how, ms: now - taking.since })
    slot.taking = undefined
  }

  function ended(slot: Slot, error: Error, at: { now: number; random: number }): void {
    if (slot.unit !== 'starting' && slot.unit !== 'running') return
    slot.lastError = messageOf(error)
    slot.tryingSince ??= at.now
    const fenced = isTroupeError(error) && error.code === 'fenced'
    rest(slot, at.now, at.random, fenced ? settings.lease : 0)
    tell({ type: 'ended', resource: slot.resource, error })
  }

  function stopped(slot: Slot, at: { now: number; random: number }): void {
    if (!slot.stoppingFailed) {
      slot.unit = 'none'
      return
    }
    slot.stoppingFailed = false
    // It has had its time already: the next decision may give it up.
    slot.tryingSince ??= at.now - settings.giveUp
    rest(slot, at.now, at.random)
  }

  function proof(slot: Slot, beat: number, alive: boolean, now: number): void {
    if (slot.unit !== 'running') return
    if (alive) {
      slot.missed = 0
      slot.provenBeat = Math.max(slot.provenBeat, beat)
      return
    }
    if (slot.missed === 0) slot.missedSince = now
    slot.missed++
  }

  function forget(slot: Slot): void {
    slot.held = false
    slot.record = null
    slot.failed = false
    slot.ranWell = false
    slot.attempts = 0
    slot.tryingSince = undefined
    slot.givingSince = undefined
  }

  return {
    decide(input) {
      actions = []
      for (const slot of slots.values()) decideOne(slot, input)
      return actions
    },
    outcome(outcome, at) {
      actions = []
      const slot = slots.get(outcome.resource)
      if (slot === undefined) return actions
      if (outcome.type === 'written') written(slot, outcome.revision, at.now)
      else if (outcome.type === 'unknown') unknown(slot, at.now)
      else if (outcome.run !== slot.run) return actions
      else if (outcome.type === 'closed') slot.closed = slot.unit === 'stopping' && !slot.stoppingFailed
      else if (outcome.type === 'stopped') {
        if (slot.unit === 'stopping') stopped(slot, at)
      } else if (outcome.type === 'ended') ended(slot, outcome.error, at)
      else if (outcome.type === 'proof') proof(slot, outcome.beat, outcome.alive, at.now)
      else if (slot.unit !== 'starting') return actions
      else if (outcome.type === 'started') started(slot, at.now)
      else {
        slot.lastError = messageOf(outcome.error)
        rest(slot, at.now, at.random)
        tell({ type: 'start-failed', resource: slot.resource, attempt: slot.attempts, error: outcome.error })
      }
      return actions
    },
    believed: (resource, seen, now) => {
      const slot = slots.get(resource)
      return slot === undefined ? seen : believed(slot, seen, now)
    },
    isMine,
    unfit: (resource, now) => {
      const slot = slots.get(resource)
      return slot !== undefined && (slot.failed || isSilent(slot, now, settings.lease))
    },
    holds(beat) {
      const holds: Record<Resource, number> = {}
      for (const slot of slots.values()) {
        if (!slot.held) continue
        if (slot.unit !== 'running') slot.provenBeat = beat
        holds[slot.resource] = slot.provenBeat
      }
      return holds
    },
    running: () =>
      [...slots.values()].filter(({ unit }) => unit === 'running').map(({ resource, run }) => ({ resource, run })),
    idle: () =>
      [...slots.values()].every(({ unit, held, writing }) => unit === 'none' && !held && writing === undefined),
    abandon(deadlineMs) {
      actions = []
      for (const slot of slots.values()) {
        forget(slot)
        slot.stoppingFailed = false
        if (slot.unit !== 'none' && slot.unit !== 'stopping') stop(slot, deadlineMs)
      }
      return actions
    },
    units: () =>
      [...slots.values()].map(({ resource, unit, run, attempts, lastError }) => ({
        resource,
        unit,
        run,
        attempts,
        ...(lastError === undefined ? {} : { lastError }),
      })),
  }
}

const failedThere = { to: null, goesAway: false, ranWell: false, failed: true } as const

function newSlot(resource: Resource): Slot {
  return {
    resource,
    own: undefined,
    record: null,
    held: false,
    writing: undefined,
    writeFailures: 0,
    quietUntil: 0,
    unit: 'none',
    run: 0,
    attempts: 0,
    startingSince: 0,
    runningSince: 0,
    tryingSince: undefined,
    restUntil: 0,
    ranWell: false,
    failed: false,
    closed: false,
    stoppingFailed: false,
    missed: 0,
    missedSince: 0,
    provenBeat: 0,
    taking: undefined,
    givingSince: undefined,
    lastError: undefined,
  }
}
