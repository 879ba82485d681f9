/**
 * The control of one node: it beats, watches, decides, and carries out what was decided.
 *
 * Decides on every change that the watch brings, on every outcome, and at least every tenth of a lease. Each decision
 * looks at everything anew; so a change that was missed costs a tenth of a lease. A store that fails or is slow is
 * logged and tried again, and stops no unit. All waits on it are bounded.
 */
import { TroupeError, toError } from '../world/error.js'
import { sleep } from '../world/sleep.js'
import type { Timer } from '../world/world.js'
import { type Assignment, type AssignmentInput, assign } from './assignment.js'
import type { Control, ControlEvent, ControlInit } from './control-port.js'
import { createCounting } from './counters.js'
import { within } from './deadline.js'
import { explainAssignment } from './explanation.js'
import { createHeartbeat } from './heartbeat.js'
import { mayJoin, nameTaken } from './join.js'
import { createJournal } from './journal.js'
import { keys } from './keys.js'
import { encodeRecord, type MemberRecord, type MemberState } from './member.js'
import { createObserver } from './observer.js'
import { createOwnership } from './ownership.js'
import type { Action, Outcome } from './ownership-port.js'
import { createRoster } from './roster.js'
import { BEATS_PER_LEASE, membershipSettings } from './settings.js'
import { createSituation } from './situation.js'
import { leaseLine, memberLines } from './view.js'
import { createWatching } from './watching.js'

/** Most that joining waits for the store. */
const JOIN_MS = 30_000

export function createControl(init: ControlInit): Control {
  const { kv, units, world, log, node, boot, resources } = init
  const settings = membershipSettings(init.settings)
  const { lease } = settings
  const self = { node, boot }
  const weight = init.weight ?? 1
  const startedAt = world.now()
  const observer = createObserver(lease)
  const ownership = createOwnership(self, resources, settings, init.planted)
  const situation = createSituation({ self, weight, resources, settings, observer, ownership })
  const counting = createCounting()
  const journal = createJournal(world, log, node)
  const roster = createRoster({ observer, node, version: init.version, protocol: init.protocol, log, tell })
  const probing = new Set<string>()
  /** `joining` until the node is a member; `ended` for good. */
  let phase: 'joining' | 'member' | 'ended' = 'joining'
  let asked: 'active' | 'draining' | 'leaving' = 'active'
  let leaveBy: number | undefined
  let told: MemberState = 'active'
  let drained = false
  let late = false
  let input: AssignmentInput | undefined
  let assignment: Assignment | undefined
  let poked = false
  let tick: Timer | undefined

  const heartbeat = createHeartbeat({
    kv,
    world,
    log,
    node,
    boot,
    interval: lease / BEATS_PER_LEASE,
    deadline: lease / 2,
    record,
    lost: nameLost,
  })
  const watching = createWatching({
    kv,
    world,
    log,
    node,
    retry: lease / 10,
    entry(entry) {
      const problem = observer.heard(entry, world.monotonic())
      if (problem !== undefined) log.warn({ node, ...problem }, `ignored what '${problem.key}' holds`)
      poke()
    },
  })

  function tell(event: ControlEvent): void {
    if ('resource' in event) counting.count(event)
    journal.note(event)
    init.onEvent?.(event)
    // The units hear of orders with the question for a proof of life, which goes with each beat.
    if (event.type === 'orders' && phase === 'member') heartbeat.now()
  }

  function state(): MemberState {
    if (asked !== 'active') return asked
    return observer.orders().drain.has(node) ? 'draining' : 'active'
  }

  function record(beat: number): MemberRecord {
    told = state()
    probe(beat)
    const status = init.status?.()
    return {
      node,
      boot,
      version: init.version,
      protocol: init.protocol,
      state: told,
      weight,
      startedAt,
      beat,
      holds: ownership.holds(beat),
      ...(status === undefined ? {} : { status }),
    }
  }

  /** Asks what runs for a proof of life; the answers are in the next beat. */
  function probe(beat: number): void {
    for (const { resource, run } of ownership.running()) {
      const key = `${resource} ${run}`
      if (probing.has(key)) continue
      probing.add(key)
      void units
        .alive(resource, lease / 2)
        .catch(() => false)
        .then((alive) => {
          probing.delete(key)
          perform({ type: 'proof', resource, run, beat, alive })
        })
    }
  }

  // Decisions ---------------------------------------------------------------------------------------------------------

  function poke(): void {
    if (poked || phase !== 'member') return
    poked = true
    world.defer(() => {
      poked = false
      decide()
    })
  }

  function decide(): void {
    if (phase !== 'member') return
    tick?.cancel()
    tick = world.setTimer(lease / 10, decide)
    const now = world.monotonic()
    roster.look(now)
    const mine = state()
    if (mine !== told) heartbeat.now()
    const next = situation.at(now, mine)
    const computed = assign(next)
    input = next
    assignment = computed
    const actions = ownership.decide({
      now,
      random: world.random(),
      desired: computed.desired,
      lease: (resource) => observer.lease(resource, now),
      others: (resource) => {
        const avoid = next.standings.get(resource)?.avoid ?? []
        return next.members.some(
          (other) => other.node !== node && other.state === 'active' && !avoid.includes(other.node),
        )
      },
      goesAway: mine !== 'active',
      stopDeadline: leaveBy === undefined ? settings.stopDeadline : Math.max(0, leaveBy - now),
    })
    for (const action of actions) carryOut(action)
    settleDrain(mine)
    watchHeart(now)
    sweep(now)
  }

  function perform(outcome: Outcome): void {
    const at = { now: world.monotonic(), random: world.random() }
    for (const action of ownership.outcome(outcome, at)) carryOut(action)
    poke()
  }

  function carryOut(action: Action): void {
    if (action.type === 'tell') {
      tell(action.event)
      return
    }
    const { resource } = action
    if (action.type === 'start') {
      const { run } = action
      const ended = (error: Error): void => perform({ type: 'ended', resource, run, error })
      units.start(resource, ended).then(
        () => perform({ type: 'started', resource, run }),
        (error) => perform({ type: 'start-failed', resource, run, error: toError(error) }),
      )
    } else if (action.type === 'stop') {
      const { run } = action
      void units
        .stop(resource, action.deadlineMs, () => perform({ type: 'closed', resource, run }))
        .catch((error) => log.error({ node, resource, error }, 'a unit did not stop in order'))
        .then(() => perform({ type: 'stopped', resource, run }))
    } else {
      const { revision } = action
      const value = encodeRecord(action.record)
      const key = keys.lease(resource)
      const written = revision === 0 ? kv.create(key, value) : kv.update(key, value, revision)
      within(world, lease / 2, `${action.type} ${resource}`, written).then(
        (at) => perform({ type: 'written', resource, revision: at }),
        (error) => {
          log.warn({ node, resource, error }, `whether the lease was written (${action.type}) is not known`)
          perform({ type: 'unknown', resource })
        },
      )
    }
  }

  function settleDrain(mine: MemberState): void {
    const done = mine === 'draining' && ownership.idle()
    if (done && !drained) tell({ type: 'drained' })
    drained = done
  }

  function watchHeart(now: number): void {
    const ms = heartbeat.lateFor(now)
    if (late === ms >= lease) return
    late = !late
    tell(late ? { type: 'heartbeat-late', ms } : { type: 'heartbeat-again' })
  }

  /** Records of the long dead; one at a time, and whoever is first does it. */
  function sweep(now: number): void {
    const dead = [...observer.members(now)].find(([other, { silent }]) => other !== node && silent >= settings.forget)
    if (dead === undefined) return
    const [other, { revision }] = dead
    within(world, lease / 2, 'sweep', kv.remove(keys.member(other), revision)).catch((error) =>
      log.debug({ node, other, error }, 'the record of a dead member stays'),
    )
  }

  // Coming and going --------------------------------------------------------------------------------------------------

  async function start(): Promise<void> {
    await within(world, JOIN_MS, 'the first look at the members', watching.start())
    const until = world.monotonic() + JOIN_MS
    for (;;) {
      const over = await mayJoin({
        self,
        world,
        observer,
        protocol: init.protocol,
        lease,
        wanted: () => phase === 'joining',
      })
      if (phase !== 'joining') throw ended()
      if (await firstBeat(over, until)) break
      if (world.monotonic() >= until) throw nameTaken(node)
      await sleep(world, lease / 10)
    }
    if (phase !== 'joining') throw ended()
    phase = 'member'
    heartbeat.start()
    decide()
  }

  /**
   * False where it is to be looked at and tried again: the record has moved meanwhile, perhaps by a beat of ours that was
   * stored without an answer, or the store has no leader at the moment.
   */
  async function firstBeat(over: number, until: number): Promise<boolean> {
    try {
      return await heartbeat.first(over)
    } catch (error) {
      if (world.monotonic() >= until) throw error
      log.warn({ node, error }, 'the first heartbeat was not stored; it is tried again')
      return false
    }
  }

  function end(): void {
    phase = 'ended'
    tick?.cancel()
    watching.stop()
  }

  function nameLost(): void {
    if (phase !== 'member') return
    end()
    for (const action of ownership.abandon(settings.stopDeadline)) carryOut(action)
    tell({ type: 'name-lost', error: nameTaken(node) })
  }

  async function leave(deadlineMs: number): Promise<boolean> {
    if (phase !== 'member') {
      end()
      await heartbeat.stop()
      return true
    }
    const by = world.monotonic() + deadlineMs
    leaveBy = by
    asked = 'leaving'
    heartbeat.now()
    poke()
    // Set by name-lost from outside of this function's view.
    while (!ownership.idle() && world.monotonic() < by && (phase as string) === 'member') await sleep(world, 10)
    const clean = ownership.idle()
    end()
    for (const action of ownership.abandon(0)) carryOut(action)
    await heartbeat.stop()
    try {
      const { revision } = heartbeat
      if (revision > 0) await within(world, lease / 2, 'leave', kv.remove(keys.member(node), revision))
    } catch (error) {
      log.warn({ node, error }, 'this node has left, but its record stays until it is found dead')
    }
    return clean
  }

  function ended(): TroupeError {
    return new TroupeError({
      code: 'membership-ended',
      message: `node '${node}' was asked to end while it joined`,
      remedy: 'start it again',
    })
  }

  return {
    async start() {
      try {
        await start()
      } catch (error) {
        end()
        throw error
      }
    },
    drain() {
      if (asked === 'active') asked = 'draining'
      poke()
    },
    resume() {
      if (asked === 'draining') asked = 'active'
      poke()
    },
    leave,
    halt() {
      end()
      void heartbeat.stop()
    },
    view() {
      const now = world.monotonic()
      const orders = observer.orders()
      return {
        node,
        boot,
        state: state(),
        drained,
        ready: phase === 'member',
        members: memberLines(observer, now, boot),
        leases: resources.map((resource) => lineOf(resource, now)),
        units: ownership.units(),
        hold: assignment?.hold ?? null,
        moves: assignment?.moves ?? 0,
        orders: {
          rolling: orders.rolling,
          drain: [...orders.drain].sort(),
          pausePipeline: orders.pausePipeline,
          pausedProcessors: [...orders.pausedProcessors].sort(),
        },
        heartbeat: {
          beat: heartbeat.beat,
          revision: heartbeat.revision,
          lateMs: Math.round(heartbeat.lateFor(now)),
        },
        deafMs: Math.round(observer.deafFor(now)),
        counters: counting.counters(),
        events: journal.lines(),
      }
    },
    why(resource) {
      const explanation =
        input === undefined || assignment === undefined ? undefined : explainAssignment(input, assignment, resource)
      if (explanation === undefined) return undefined
      return {
        explanation,
        lease: lineOf(resource, world.monotonic()),
        unit: ownership.units().find((unit) => unit.resource === resource) ?? null,
        events: journal.lines(resource),
      }
    },
  }

  function lineOf(resource: string, now: number): ReturnType<typeof leaseLine> {
    return leaseLine(resource, ownership.believed(resource, observer.lease(resource, now), now), assignment)
  }
}
