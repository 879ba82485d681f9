/**
 * The suite of the cluster: the real fence, writer, readings, partition log and router over models of the broker, the
 * sources and the targets, under random faults. What is promised is in checker.ts and effects.ts.
 */
import { type SimulatedWorld, simulatedWorld } from '../../../src/world/simulated.js'
import { LEAST_FAULTS, LEAST_MESSAGES, type SeedResult, type Suite } from '../suite.js'
import { type Cluster, createCluster } from './cluster.js'
import { type Unit, type UnitState, unitStates } from './unit.js'

const faults = [
  'crash',
  'pause',
  'cut',
  'clock-jump',
  'election',
  'lost-tail',
  'stale-leader',
  'full-stream',
  'lost-request',
  'lost-reply',
  'late-commit',
  'refused',
  'reading-cut',
  'second-owner',
  'hand-over',
  'source-killed',
  'processor-restarted',
  'slow-processor',
  'store-away',
  'store-late',
] as const
type Fault = (typeof faults)[number]
const fates = ['lost-request', 'lost-reply', 'late-commit', 'refused'] as const

/** A fate meets a commit that is under way; readers alone store, and have no processors; who hands over does so once. */
const impossible = [
  ...fates.flatMap((fate) => [`${fate} × idle`, `${fate} × processing`]),
  'slow-processor × storing',
  'hand-over × handing-over',
]

/** ms in which things happen, and in which everything must then come to rest. */
const span = 10_000
const rest = 60_000
const changes = 100
/** A seed in which too little has happened by then goes on for so long, with so much more; at most so often. */
const more = { ms: 2_000, changes: 30, faults: 4, most: 20 }

export const clusterSuite: Suite = {
  name: 'cluster',
  faults,
  states: unitStates,
  impossible,
  planted: [
    'fence-on-the-wrong-message',
    'blind-resend',
    'confirm-on-receive',
    'dedupe-by-high-water-mark',
    'trim-by-stream-sequence',
    'ignore-the-checkpoint',
    'trim-without-holdback',
  ],
  async prepare() {
    process.on('unhandledRejection', (error) => {
      unhandled.push(error)
    })
  },
  run: (seed, options) => new Run(seed, options.planted).go(),
}

const unhandled: unknown[] = []

class Run {
  readonly #world: SimulatedWorld
  readonly #cluster: Cluster
  readonly #coverage: Record<string, Record<string, number>> = {}
  readonly #trace: string[] = []
  readonly #faultCount: number
  #faults = 0

  constructor(seed: number, planted: readonly string[]) {
    this.#world = simulatedWorld(seed)
    this.#cluster = createCluster({ world: this.#world, planted, note: (text) => this.#note(text) })
    this.#faultCount = 12 + this.#world.pick(10)
  }

  async go(): Promise<SeedResult> {
    const { checker } = this.#cluster
    await this.#live(changes, this.#faultCount, span)
    for (let round = 0; this.#isSmall() && round < more.most; round++)
      await this.#live(more.changes, more.faults, more.ms)
    this.#note('everything comes to rest')
    this.#cluster.settle()
    await this.#until(() => this.#cluster.unsettled() === null, rest)
    const left = this.#cluster.unsettled()
    if (left !== null && checker.violations.length === 0) checker.violation(`after ${rest} ms of rest: ${left}`)
    for (const error of unhandled.splice(0)) checker.violation(`a promise was rejected and nobody looked: ${error}`)
    for (const text of checker.violations) this.#note(text)
    return {
      messages: this.#cluster.messages(),
      faults: this.#faults,
      coverage: this.#coverage,
      violations: checker.violations,
      digest: () => this.#digest(),
      trace: () => this.#trace,
    }
  }

  #note(text: string): void {
    this.#trace.push(`${this.#world.monotonic().toFixed(1).padStart(9)} ${text}`)
  }

  #digest(): string {
    let hash = 0x811c9dc5
    for (const line of this.#trace)
      for (let i = 0; i < line.length; i++) hash = Math.imul(hash ^ line.charCodeAt(i), 0x01000193)
    return (hash >>> 0).toString(16)
  }

  /** So many changes and faults, spread over so long. */
  async #live(count: number, faultCount: number, ms: number): Promise<void> {
    const sometime = (run: () => void): void => void this.#world.setTimer(100 + this.#world.random() * (ms - 600), run)
    this.#write(count, sometime)
    for (let i = 0; i < faultCount; i++) sometime(() => this.#aim())
    let over = false
    this.#world.setTimer(ms, () => {
      over = true
    })
    await this.#world.run(() => over)
  }

  #isSmall(): boolean {
    return this.#faults < LEAST_FAULTS || this.#cluster.messages() < LEAST_MESSAGES
  }

  /** The writers of the sources: single changes, transactions, and now and then a large one. */
  #write(count: number, sometime: (run: () => void) => void): void {
    const { slot, group } = this.#cluster
    const key = (): number => this.#world.pick(12)
    for (let written = 0; written < count; ) {
      const size = this.#world.random() < 0.06 ? 12 : 1 + this.#world.pick(3)
      const keys = Array.from({ length: size }, key)
      written += size
      if (this.#world.random() < 0.5) sometime(() => slot.commit(keys))
      else sometime(() => keys.forEach((one) => void group.add(one)))
    }
  }

  async #until(done: () => boolean, ms: number): Promise<void> {
    let over = false
    let reached = false
    const end = this.#world.monotonic() + ms
    const look = (): void => {
      reached = done()
      over = reached || this.#world.monotonic() >= end
      if (!over) this.#world.setTimer(Math.min(200, end - this.#world.monotonic()), look)
    }
    look()
    await this.#world.run(() => over)
  }

  /** Waits a little for the state that was chosen, so that the rare ones are hit too. */
  #aim(): void {
    const fault = faults[this.#world.pick(faults.length)]!
    // Where nobody asks the store, its faults are none.
    if (/^store/.test(fault) && !this.#cluster.governed) {
      this.#aim()
      return
    }
    const wanted = unitStates[this.#world.pick(unitStates.length)]!
    if (wanted === 'handing-over') this.#provoke((unit) => this.#cluster.handOver(unit))
    if (wanted === 'sealing') this.#provoke((unit) => this.#cluster.start(unit.resource))
    this.#wait(fault, wanted, 30)
  }

  #provoke(what: (unit: Unit) => void): void {
    const able = this.#able()
    if (able.length > 0) what(able[this.#world.pick(able.length)]!)
  }

  #able(): Unit[] {
    return this.#cluster.units().filter(({ life }) => life.node.up && !life.node.paused)
  }

  #wait(fault: Fault, wanted: UnitState, tries: number): void {
    const able = this.#able()
    const there = able.filter((unit) => unit.state() === wanted)
    const from = there.length > 0 ? there : tries === 0 ? able : []
    if (from.length > 0) this.#inflict(fault, from[this.#world.pick(from.length)]!)
    else if (tries > 0) this.#world.setTimer(2 + this.#world.random() * 14, () => this.#wait(fault, wanted, tries - 1))
  }

  #inflict(fault: Fault, unit: Unit): void {
    const state = unit.state()
    this.#note(`fault ${fault} while ${unit.resource} of ${unit.owner} is ${state}`)
    if (this.#carryOut(fault, unit, state)) this.#count(fault, state)
  }

  #count(fault: Fault, state: UnitState): void {
    this.#faults++
    const row = this.#coverage[fault] ?? {}
    this.#coverage[fault] = row
    row[state] = (row[state] ?? 0) + 1
  }

  /** Whether it took effect at once; a fate is counted when it meets a commit. */
  #carryOut(fault: Fault, unit: Unit, state: UnitState): boolean {
    const { node } = unit.life
    const { broker, slot, group } = this.#cluster
    const ms = (least: number, most: number): number => least + this.#world.random() * (most - least)
    switch (fault) {
      case 'crash':
        this.#cluster.crash(node)
        return true
      case 'pause':
        this.#cluster.pause(node, ms(100, 4_000))
        return true
      case 'cut':
        node.cutUntil = this.#world.monotonic() + ms(50, 3_000)
        if (this.#world.random() < 0.7) broker.cutReadings(node.name)
        return true
      case 'clock-jump':
        node.jump(ms(-600_000, 600_000))
        return true
      case 'election':
        broker.elect(false)
        return true
      case 'lost-tail':
        return this.#loseTail()
      case 'stale-leader':
        broker.beStale(ms(50, 600))
        return true
      case 'full-stream':
        broker.fill(ms(100, 2_000))
        return true
      case 'lost-request':
      case 'lost-reply':
      case 'late-commit':
      case 'refused':
        broker.doom(node.name, fault, (owner) => this.#met(fault, owner))
        return false
      case 'reading-cut':
        broker.cutReadings(node.name)
        return true
      case 'second-owner':
        this.#cluster.start(unit.resource)
        return true
      case 'hand-over':
        this.#cluster.handOver(unit)
        return state !== 'handing-over'
      case 'source-killed':
        unit.resource === 'reader.group' ? group.kill() : slot.kill()
        return true
      case 'processor-restarted':
        if (!unit.disturb()) unit.kill()
        return true
      case 'store-away':
        this.#cluster.kv.goAway(ms(200, 4_000))
        return true
      case 'store-late':
        this.#cluster.kv.lag(ms(100, 2_000))
        this.#world.setTimer(ms(500, 3_000), () => this.#cluster.kv.lag(0))
        return true
      case 'slow-processor':
        this.#world.setTimer(ms(200, 3_000), () => unit.slow(1))
        return unit.slow(20)
    }
  }

  #loseTail(): boolean {
    const lost = this.#cluster.broker.elect(this.#cluster.lazy)
    this.#note(`${lost} messages are lost`)
    return lost > 0
  }

  #met(fault: Fault, owner: string): void {
    const unit = this.#cluster.units().find((one) => one.owner === owner)
    if (unit !== undefined) this.#count(fault, unit.state())
  }
}
