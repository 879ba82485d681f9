/** What a supervisor decides, driven as a pure machine: stated examples, and random ones held against a small model. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ChildSpec, ExitReason, Restart, Strategy, SupervisorArgs } from '../../src/actor/actor.js'
import { type Action, type At, createSupervision, type Input, type Planted } from '../../src/actor/supervision.js'
import { TroupeError } from '../../src/world/error.js'

const failed: ExitReason = { kind: 'error', error: new Error('broken') }
const behavior = { module: 'file:///nowhere.js', export: 'nobody' }
const child = (id: string, restart?: Restart): ChildSpec => ({
  id,
  behavior,
  args: null,
  ...(restart === undefined ? {} : { restart }),
})

/** A world around the machine in which every start and stop succeeds at once, unless it is told otherwise. */
function drive(args: SupervisorArgs, planted: readonly Planted[] = []) {
  const machine = createSupervision(args, planted)
  const log: string[] = []
  const runs = new Map<string, number>()
  const timers = new Map<string, number>()
  const failNext = new Set<string>()
  let now = 0
  let over: Error | undefined
  const at = (): At => ({ now, random: 0.5 })

  function feed(input: Input): void {
    for (const action of machine.handle(input, at())) perform(action)
  }
  function perform(action: Action): void {
    switch (action.type) {
      case 'start': {
        const { id } = action.spec
        runs.set(id, action.run)
        const fails = failNext.delete(id)
        log.push(fails ? `start ${id} fails` : `start ${id}`)
        pending.push(
          fails
            ? { type: 'start-failed', id, run: action.run, error: new Error('no start') }
            : { type: 'started', id, run: action.run },
        )
        return
      }
      case 'stop':
        log.push(`stop ${action.id}`)
        pending.push({ type: 'stopped', id: action.id, run: action.run })
        return
      case 'timer':
        timers.set(action.key, action.ms)
        return
      case 'cancel':
        timers.delete(action.key)
        return
      case 'exit':
        over = action.error
        return
      case 'reply':
        log.push(action.error === undefined ? `reply ${action.request}` : `refuse ${action.request}`)
        return
      case 'ready':
        log.push('ready')
        return
      case 'report':
        return
    }
  }
  const pending: Input[] = []
  function settle(): void {
    for (let input = pending.shift(); input !== undefined; input = pending.shift()) feed(input)
  }
  feed({ type: 'begin' })
  settle()
  return {
    machine,
    failNext,
    timers,
    take: (): string[] => log.splice(0),
    get over() {
      return over
    },
    state: (id: string) => machine.children().find((it) => it.id === id)?.state,
    end(id: string, reason: ExitReason = failed): void {
      feed({ type: 'ended', id, run: runs.get(id) ?? 0, reason })
      settle()
    },
    command(request: number, message: Extract<Input, { type: 'command' }>['message']): void {
      feed({ type: 'command', request, message })
      settle()
    },
    /** Time passes, and all timers fire. */
    pass(ms: number): void {
      now += ms
      for (const key of [...timers.keys()]) {
        timers.delete(key)
        feed({ type: 'due', key })
        settle()
      }
    },
  }
}

const three = (strategy: Strategy, restart?: Restart): SupervisorArgs => ({
  strategy,
  children: [child('a', restart), child('b', restart), child('c', restart)],
})

describe('a supervisor', () => {
  it('starts its children in order, each after the one before', () => {
    expect(drive(three('one-for-one')).take()).toEqual(['start a', 'start b', 'start c', 'ready'])
  })

  it('starts children together where it may, and is ready when all of them run', () => {
    const machine = createSupervision({ ...three('one-for-one'), startup: 'together' })
    const at = { now: 0, random: 0.5 }
    const types = (input: Input) => machine.handle(input, at).map(({ type }) => type)
    expect(types({ type: 'begin' })).toEqual(['start', 'start', 'start'])
    expect(types({ type: 'started', id: 'c', run: 1 })).toEqual([])
    expect(types({ type: 'started', id: 'a', run: 1 })).toEqual([])
    expect(types({ type: 'started', id: 'b', run: 1 })).toEqual(['ready'])
  })

  it('fails with the first of them that cannot start, also where the others are still on their way', () => {
    const machine = createSupervision({ ...three('one-for-one'), startup: 'together' })
    const at = { now: 0, random: 0.5 }
    machine.handle({ type: 'begin' }, at)
    const error = new Error('no start')
    const actions = machine.handle({ type: 'start-failed', id: 'b', run: 1, error }, at)
    expect(actions.filter(({ type }) => type !== 'report')).toEqual([{ type: 'exit', error }])
  })

  it('restarts the failed child alone, one for one', () => {
    const run = drive(three('one-for-one'))
    run.take()
    run.end('b')
    expect(run.state('b')).toBe('waiting')
    run.pass(200)
    expect(run.take()).toEqual(['start b'])
  })

  it('stops those after the failed child in reverse and starts them in order, rest for one', () => {
    const run = drive(three('rest-for-one'))
    run.take()
    run.end('a')
    run.pass(200)
    expect(run.take()).toEqual(['stop c', 'stop b', 'start a', 'start b', 'start c'])
    run.end('c')
    run.pass(400)
    expect(run.take()).toEqual(['start c'])
  })

  it('restarts all, one for all', () => {
    const run = drive(three('one-for-all'))
    run.take()
    run.end('b')
    run.pass(200)
    expect(run.take()).toEqual(['stop c', 'stop a', 'start a', 'start b', 'start c'])
  })

  it('restarts a transient child after a failure only, a temporary never', () => {
    const run = drive({ strategy: 'one-for-one', children: [child('t', 'transient'), child('x', 'temporary')] })
    run.take()
    run.end('t', { kind: 'normal' })
    run.end('x')
    run.pass(200)
    expect(run.take()).toEqual([])
    expect(run.machine.children().map((it) => `${it.id} ${it.state}`)).toEqual(['t ended'])
  })

  it('forgets a temporary child that went with its siblings', () => {
    const run = drive({ strategy: 'one-for-all', children: [child('a'), child('x', 'temporary')] })
    run.take()
    run.end('a')
    run.pass(200)
    expect(run.take()).toEqual(['stop x', 'start a'])
    expect(run.machine.children()).toHaveLength(1)
  })

  it('waits longer with each failure, up to the bound, and begins anew after a stable run', () => {
    const run = drive({
      strategy: 'one-for-one',
      children: [child('a')],
      intensity: { restarts: 100, periodMs: 1 },
      backoff: { initialMs: 100, maxMs: 500, jitter: 0, resetAfterMs: 10_000 },
    })
    const delays: (number | undefined)[] = []
    for (let i = 0; i < 5; i++) {
      run.end('a')
      delays.push(run.timers.get('a'))
      run.pass(1)
    }
    expect(delays).toEqual([100, 200, 400, 500, 500])
    run.pass(10_000)
    run.end('a')
    expect(run.timers.get('a')).toBe(100)
  })

  it('gives up at one restart more than its intensity, and not before', () => {
    const run = drive({ ...three('one-for-one'), intensity: { restarts: 2, periodMs: 1_000 } })
    run.end('a')
    run.pass(300)
    run.end('a')
    run.pass(300)
    expect(run.over).toBeUndefined()
    run.end('b')
    expect(run.over).toMatchObject({ code: 'restart-intensity' })
  })

  it('forgets restarts that are older than the period', () => {
    const run = drive({ ...three('one-for-one'), intensity: { restarts: 1, periodMs: 1_000 } })
    for (let i = 0; i < 10; i++) {
      run.end('a')
      run.pass(1_001)
    }
    expect(run.over).toBeUndefined()
  })

  it('escalates at once what no restart can heal', () => {
    const run = drive(three('one-for-all'))
    const error = new TroupeError({ code: 'slot-ahead', message: 'a gap', permanent: true })
    run.end('b', { kind: 'error', error })
    expect(run.over).toBe(error)
  })

  it('counts a restart that fails to start, and tries again', () => {
    const run = drive({ ...three('rest-for-one'), intensity: { restarts: 2, periodMs: 60_000 } })
    run.take()
    run.failNext.add('b')
    run.end('b')
    run.pass(200)
    expect(run.take()).toEqual(['stop c', 'start b fails'])
    run.pass(400)
    expect(run.take()).toEqual(['start b', 'start c'])
    run.end('c')
    expect(run.over).toMatchObject({ code: 'restart-intensity' })
  })

  it('answers commands once they are done', () => {
    const run = drive(three('one-for-one'))
    run.take()
    run.command(1, { type: 'start-child', spec: child('d') })
    run.command(2, { type: 'start-child', spec: child('d') })
    run.command(3, { type: 'restart-child', id: 'a' })
    run.command(4, { type: 'stop-child', id: 'b' })
    run.command(5, { type: 'stop-child', id: 'b' })
    run.failNext.add('e')
    run.command(6, { type: 'start-child', spec: child('e') })
    expect(run.take()).toEqual([
      'start d',
      'reply 1',
      'refuse 2',
      'stop a',
      'start a',
      'reply 3',
      'stop b',
      'reply 4',
      'refuse 5',
      'start e fails',
      'refuse 6',
    ])
    expect(run.over).toBeUndefined()
    expect(run.machine.children().map((it) => it.id)).toEqual(['a', 'c', 'd'])
  })

  it('does not hear what an earlier incarnation says', () => {
    const run = drive(three('one-for-one'))
    run.end('a')
    run.pass(200)
    run.take()
    for (const action of run.machine.handle({ type: 'ended', id: 'a', run: 1, reason: failed }, { now: 0, random: 0 }))
      expect.fail(`acted on the past: ${action.type}`)
    expect(run.state('a')).toBe('running')
  })
})

/** The model: which children must run once everything has settled, and how often each was started. Nothing of the order. */
function model(args: SupervisorArgs, failures: readonly { child: number; normal: boolean }[]) {
  let alive = args.children.map((spec) => ({ id: spec.id, restart: spec.restart ?? 'permanent', up: true, starts: 1 }))
  let restarts = 0
  for (const { child: at, normal } of failures) {
    const hit = alive[at % Math.max(1, alive.length)]
    if (hit === undefined || !hit.up) continue
    if (hit.restart === 'temporary') {
      alive = alive.filter((it) => it !== hit)
      continue
    }
    if (hit.restart === 'transient' && normal) {
      hit.up = false
      continue
    }
    restarts++
    if (restarts > args.intensity!.restarts) return { over: true, alive }
    const from = args.strategy === 'one-for-all' ? 0 : alive.indexOf(hit)
    const group = args.strategy === 'one-for-one' ? [hit] : alive.slice(from)
    for (const it of group)
      if (it === hit || it.restart !== 'temporary') {
        it.up = true
        it.starts++
      }
    alive = alive.filter((it) => it === hit || it.restart !== 'temporary' || !group.includes(it))
  }
  return { over: false, alive }
}

const someArgs = fc.record({
  strategy: fc.constantFrom<Strategy>('one-for-one', 'one-for-all', 'rest-for-one'),
  restarts: fc.array(fc.constantFrom<Restart>('permanent', 'transient', 'temporary'), { minLength: 1, maxLength: 6 }),
  intensity: fc.nat(6),
})
const someFailures = fc.array(fc.record({ child: fc.nat(5), normal: fc.boolean() }), { maxLength: 12 })

function agrees(
  { strategy, restarts, intensity }: { strategy: Strategy; restarts: readonly Restart[]; intensity: number },
  failures: readonly { child: number; normal: boolean }[],
  planted: readonly Planted[] = [],
): void {
  const args: SupervisorArgs = {
    strategy,
    intensity: { restarts: intensity, periodMs: 1e9 },
    children: restarts.map((restart, i) => child(`c${i}`, restart)),
  }
  const run = drive(args, planted)
  const starts = new Map<string, number>()
  const count = (): void => {
    let running = new Set<string>()
    for (const line of run.take()) {
      const [verb, id] = line.split(' ') as [string, string]
      if (verb === 'start') {
        starts.set(id, (starts.get(id) ?? 0) + 1)
        // Ordered: nothing that starts has an elder sibling of its group start after it.
        for (const other of running) expect(Number(other.slice(1))).toBeLessThan(Number(id.slice(1)))
        running.add(id)
      } else running = new Set()
    }
  }
  count()
  for (const failure of failures) {
    const children = run.machine.children()
    const hit = children[failure.child % Math.max(1, children.length)]
    if (hit?.state === 'running') run.end(hit.id, failure.normal ? { kind: 'normal' } : failed)
    if (run.over !== undefined) break
    run.pass(100_000)
    count()
  }
  const expected = model(args, failures)
  expect(run.over !== undefined).toBe(expected.over)
  if (expected.over) return
  const seen = run.machine
    .children()
    .map((it) => ({ id: it.id, up: it.state === 'running', starts: starts.get(it.id) }))
  expect(seen).toEqual(expected.alive.map(({ id, up, starts: n }) => ({ id, up, starts: n })))
}

describe('any supervisor', () => {
  it('agrees with the model under random failures', () => {
    fc.assert(
      fc.property(someArgs, someFailures, (args, failures) => agrees(args, failures)),
      { numRuns: 2_000 },
    )
  })

  it.each<Planted>(['intensity-off-by-one', 'restart-order-reversed'])(
    'with %s does not: the model finds it',
    (fault) => {
      expect(() =>
        fc.assert(
          fc.property(someArgs, someFailures, (args, failures) => agrees(args, failures, [fault])),
          {
            numRuns: 2_000,
          },
        ),
      ).toThrow()
    },
  )
})
