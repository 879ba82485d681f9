/** The commands on a cluster, against two real nodes. The tests follow one another on the same cluster. */
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { decodeProcessor, encodeProcessor } from '../../src/log/jetstream/stored.js'
import type { WhyAnswer } from '../../src/operator/cluster/explain.js'
import type { Sought } from '../../src/operator/cluster/seek.js'
import type { ClusterStatus } from '../../src/operator/cluster/status.js'
import { type Rig, startRig } from './cluster-rig.js'

let rig: Rig
let file: string
let without: string
/** Numbers of all entries that there are. */
let total = 0

beforeAll(async () => {
  rig = await startRig()
  file = rig.file('clicks', { copy: '', audit: '' })
  without = rig.file('without', { copy: '' })
  await Promise.all([rig.node('n1', file), rig.node('n2', file)])
  await add(20)
}, 120_000)

afterAll(() => rig?.stop(), 60_000)

/** Of the test that failed: those behind it would wait for what its cluster cannot give any more. */
let failed: string | null = null

beforeEach(({ task, skip, onTestFailed }) => {
  if (failed !== null) skip(`not tried: '${failed}' has failed on the same cluster`)
  onTestFailed(() => {
    failed = task.name
  })
})

async function add(count: number): Promise<string[]> {
  total += count
  return rig.add(count)
}

const upTo = (count: number, from = 0): number[] => Array.from({ length: count - from }, (_, index) => from + index)
const sorted = (numbers: readonly number[]): number[] => [...numbers].sort((a, b) => a - b)
const wait = <T>(check: () => Promise<T>): Promise<T> => vi.waitFor(check, { timeout: 60_000, interval: 100 })

const settled = ({ partitions, readers }: ClusterStatus): boolean =>
  [...partitions, ...readers].every(({ node, term }) => node !== null && term > 0) &&
  partitions.every(({ processors }) => processors.every(({ lag, sequence }) => lag === 0 && sequence !== null))

const holdersOf = ({ partitions, readers }: ClusterStatus) =>
  new Set([...partitions, ...readers].map(({ node }) => node))

/** What a processor is behind in all partitions. */
const lagOf = ({ partitions }: ClusterStatus, name: string): number =>
  partitions
    .flatMap(({ processors }) => processors)
    .reduce((sum, { processor, lag }) => sum + (processor === name ? lag : 0), 0)

const pausedIn = ({ partitions }: ClusterStatus, name: string): boolean =>
  partitions.every(({ processors }) => processors.find(({ processor }) => processor === name)?.paused === true)

test('status shows nodes, owners by lease and term, processors and the log of the whole cluster', async () => {
  const status = await rig.until('two nodes own everything', (one) => settled(one) && one.nodes.length === 2)
  expect(status.nodes.map(({ node, state }) => [node, state])).toEqual([
    ['n1', 'active'],
    ['n2', 'active'],
  ])
  expect(status.partitions.map(({ resource }) => resource)).toEqual(['part.key.0', 'part.key.1'])
  expect(status.log).toMatchObject({ limitBytes: 64 * 1024 ** 2 })
  expect(status.orders).toEqual({ paused: false, rolling: false, draining: [], pausedProcessors: [] })
  expect(status.departed).toEqual([])
  const [text, json] = await Promise.all([
    rig.spawned('status', file, '--cluster', 'env'),
    rig.spawned('status', file, '--cluster', rig.url, '--json'),
  ])
  expect(text.out).toContain('node n1')
  expect(text.out).toMatch(/partition key\.0 +n[12] \(lease \d+\) +term \d+/)
  expect(text.out).toMatch(/durability synced/)
  expect(JSON.parse(json.out)).toMatchObject({ pipeline: status.pipeline, departed: [] })
}, 120_000)

test('a cluster that is not there or has other partitions, a status without a file and a wrong name are refused with exit code 2', async () => {
  const elsewhere = rig.file('elsewhere', { copy: '' })
  const halved = rig.file('halved', { copy: '' })
  const { readFileSync, writeFileSync } = await import('node:fs')
  writeFileSync(elsewhere, readFileSync(elsewhere, 'utf8').replace('name: clicks', 'name: elsewhere'))
  writeFileSync(halved, readFileSync(halved, 'utf8').replace('partitions: 2', 'partitions: 1'))
  const [missing, other, nameless, node, resource] = await Promise.all([
    rig.troupe('status', elsewhere, '--cluster', 'env'),
    rig.troupe('status', halved, '--cluster', 'env'),
    rig.troupe('status', '--cluster', 'env'),
    rig.troupe('drain', 'n3', file),
    rig.troupe('why', 'key.7', file),
  ])
  expect(missing).toMatchObject({ code: 2, out: '', err: expect.stringContaining('error[stream-missing]') })
  expect(other).toMatchObject({ code: 2, out: '', err: expect.stringContaining('error[cluster-layout]') })
  expect(nameless).toMatchObject({ code: 2, err: expect.stringContaining('error[usage]') })
  expect(node).toMatchObject({ code: 2, err: expect.stringContaining('error[unknown-node]') })
  expect(node.err).toMatch(/did you mean 'n[12]'\? the nodes are n1, n2/)
  expect(resource).toMatchObject({ code: 2, err: expect.stringContaining('part.key.0, part.key.1, reader.clicks') })
}, 60_000)

test('on the way back too a name that nobody has is refused, and what can be no name', async () => {
  const [node, processor, noNode, noProcessor] = await Promise.all([
    rig.troupe('drain', 'n3', file, '--undo'),
    rig.troupe('resume', file, 'copi'),
    rig.troupe('drain', 'n.1', file, '--undo'),
    rig.troupe('resume', file, 'copy*'),
  ])
  expect(node).toMatchObject({ code: 2, out: '', err: expect.stringContaining('error[unknown-node]') })
  expect(processor).toMatchObject({ code: 2, out: '', err: expect.stringContaining("did you mean 'copy'?") })
  for (const said of [noNode, noProcessor])
    expect(said).toMatchObject({ code: 2, out: '', err: expect.stringContaining('error[usage]') })
  expect(await rig.troupe('resume', file, 'copy')).toMatchObject({
    code: 0,
    out: 'processor copy goes on (it was so already)\n',
  })
}, 60_000)

test('why tells scores, caps, lease and term of a partition and of a reader', async () => {
  // The second node may still be getting its share.
  const { owner, explanation, processors, refused } = await wait(async () => {
    const told = JSON.parse((await rig.troupe('why', 'key.0', file, '--json')).out) as WhyAnswer
    expect(told.owner).toMatchObject({ resource: 'part.key.0', lease: 'held', node: told.explanation.desired })
    return told
  })
  const reader = await rig.troupe('why', 'reader.clicks', file)
  expect(owner.leaseRevision).toBeGreaterThan(0)
  expect(owner.term).toBeGreaterThan(0)
  expect(explanation.candidates.map(({ node }) => node).sort()).toEqual(['n1', 'n2'])
  expect(explanation.candidates[0]!.score).toBeGreaterThanOrEqual(explanation.candidates[1]!.score)
  expect(explanation.candidates[0]).toMatchObject({ weight: 1, bounds: { least: 1, most: 1 }, avoided: false })
  expect(processors.map(({ processor, lag }) => [processor, lag])).toEqual([
    ['copy', 0],
    ['audit', 0],
  ])
  expect(refused).toEqual([])
  expect(reader.out).toMatch(/reader\.clicks {2}n[12] \(lease \d+\), lease revision \d+, term \d+/)
  expect(reader.out).toMatch(/n[12] +active +score \d+\.\d{3} +weight 1 +is to hold \d of \d to \d/)
}, 60_000)

test('why tells whose commits were refused, and the partition goes on behind the seal that refused them', async () => {
  const { stream, names } = rig.access()
  const subject = names.processor('copy', 'key', 0)
  // Where the partition moves in that moment its taker seals over the seal, and nothing is refused.
  await wait(async () => {
    const found = (await stream.last(subject, 5_000))!
    const stored = decodeProcessor(found.payload, subject)
    const seal = encodeProcessor({ ...stored, term: stored.term + 1, owner: 'nobody', commit: 0 })
    const outcome = await stream.commit([{ subject, payload: seal, expect: found.sequence, rollup: true }], 5_000)
    expect(outcome.kind).toBe('committed')
    await add(20)
    await rig.until('it goes on', settled)
    const { refused } = JSON.parse((await rig.troupe('why', 'key.0', file, '--json')).out) as WhyAnswer
    expect(refused).toMatchObject([
      { node: expect.stringMatching(/^n[12]$/), why: expect.stringMatching(/another owner has sealed term/) },
    ])
    expect(refused[0]!.count).toBeGreaterThan(0)
  })
  expect(new Set(await rig.written('copy'))).toEqual(new Set(upTo(total)))
}, 120_000)

test('a node that is drained gives everything away, and takes part again when that is undone', async () => {
  expect(await rig.troupe('drain', 'n1', file)).toMatchObject({ code: 0, out: 'node n1 is drained\n' })
  // It may have held nothing before, so its state tells that it has heard it.
  const drained = await rig.until(
    'n1 has heard it and holds nothing',
    (one) =>
      settled(one) &&
      !holdersOf(one).has('n1') &&
      one.nodes.some(({ node, state }) => node === 'n1' && state === 'draining'),
  )
  expect(drained.orders.draining).toEqual(['n1'])
  expect((await rig.troupe('why', 'key.0', file)).out).toMatch(/part\.key\.0 {2}n2 \(lease \d+\)/)
  expect(await rig.troupe('drain', 'n1', file, '--undo')).toMatchObject({ code: 0 })
  await rig.until('n1 is active', ({ nodes }) => nodes.some(({ node, state }) => node === 'n1' && state === 'active'))
}, 120_000)

test('a rolling upgrade is told to all and ended again', async () => {
  expect(await rig.troupe('rolling', file, 'on')).toMatchObject({ code: 0 })
  expect((await rig.until('it is told', ({ orders }) => orders.rolling)).orders.rolling).toBe(true)
  expect((await rig.troupe('why', 'key.0', file)).out).toContain('no voluntary moves: rolling')
  expect((await rig.troupe('rolling', file, 'on')).out).toContain('it was so already')
  expect(await rig.troupe('rolling', file, 'off')).toMatchObject({ code: 0 })
  await rig.until('it is over', ({ orders }) => !orders.rolling)
}, 120_000)

test('a pipeline that is paused is held by nobody until it is resumed', async () => {
  expect(await rig.troupe('pause', file)).toMatchObject({ code: 0 })
  const paused = await rig.until('nobody holds anything', (one) => [...holdersOf(one)].every((node) => node === null))
  expect(paused.orders.paused).toBe(true)
  expect(JSON.parse((await rig.troupe('resume', file, '--json')).out)).toMatchObject({ inForce: false, changed: true })
  await rig.until('it goes on', settled)
}, 120_000)

test('a processor that is paused takes nothing more, also under another owner, and goes on where it was', async () => {
  const unknown = await rig.troupe('pause', file, 'adit')
  expect(unknown).toMatchObject({ code: 2, err: expect.stringContaining("did you mean 'audit'?") })
  expect(await rig.troupe('pause', file, 'copy')).toMatchObject({ code: 0, out: 'processor copy is paused\n' })
  await rig.until('it is told', (one) => pausedIn(one, 'copy'))
  // The order is with the owners once a beat has brought it.
  const { stream, names } = rig.access()
  const before = await rig.written('copy')
  await rig.end('n1', 'SIGKILL')
  await rig.until('one node holds everything', (one) => holdersOf(one).size === 1 && holdersOf(one).has('n2'))
  await add(20)
  await wait(async () => expect(new Set(await rig.written('audit'))).toEqual(new Set(upTo(total))))
  const status = await rig.until(
    'audit is through, copy is behind',
    (one) => lagOf(one, 'audit') === 0 && lagOf(one, 'copy') > 0,
  )
  expect(status.orders.pausedProcessors).toEqual(['copy'])
  expect(status.partitions.every(({ frames }) => frames.retained > 0)).toBe(true)
  expect((await rig.written('copy')).length).toBe(before.length)
  const [why, text] = await Promise.all([
    rig.troupe('why', 'key.0', file),
    rig.troupe('status', file, '--cluster', 'env'),
  ])
  expect(why.out).toMatch(/copy .*paused by order/)
  expect(text.out).toContain('orders: processor copy is paused')
  expect(text.out).toMatch(/copy .*paused by order/)
  expect((await stream.last(names.processor('copy', 'key', 0), 5_000))!.sequence).toBeGreaterThan(0)
  await rig.node('n1', file)
  await rig.until('n1 is back', ({ nodes }) => nodes.some(({ node, state }) => node === 'n1' && state === 'active'))
  expect(await rig.troupe('resume', file, 'copy')).toMatchObject({ code: 0, out: 'processor copy goes on\n' })
  await rig.until('it goes on', settled)
  expect(sorted((await rig.written('copy')).slice(before.length))).toEqual(upTo(total, total - 20))
}, 180_000)

test('a processor is put elsewhere only while it is paused, by its name, and not where its sink has the checkpoint', async () => {
  const exact = rig.file('exact', { copy: ', exactlyOnce: true' })
  const [running, unknown, nowhere, sink] = await Promise.all([
    rig.troupe('seek', file, 'copy', '--to', 'earliest'),
    rig.troupe('seek', file, 'copi', '--to', 'earliest'),
    rig.troupe('seek', file, 'copy', '--to', 'yesterday'),
    rig.troupe('seek', exact, 'copy', '--to', 'earliest'),
  ])
  expect(running).toMatchObject({ code: 2, err: expect.stringContaining('error[processor-not-paused]') })
  expect(unknown).toMatchObject({ code: 2, err: expect.stringContaining("did you mean 'copy'?") })
  expect(nowhere).toMatchObject({ code: 2, err: expect.stringContaining('is no place in a log') })
  expect(sink).toMatchObject({ code: 2, err: expect.stringContaining('error[sink-has-checkpoint]') })
}, 60_000)

/** Until the owners of both partitions have heard it. */
async function pauseCopy(): Promise<void> {
  const before = rig.logged('paused by order')
  expect(await rig.troupe('pause', file, 'copy')).toMatchObject({ code: 0 })
  await rig.until('it is told', (one) => pausedIn(one, 'copy'))
  await wait(async () => expect(rig.logged('paused by order')).toBeGreaterThanOrEqual(before + 2))
}

async function resumeCopy(): Promise<void> {
  expect(await rig.troupe('resume', file, 'copy')).toMatchObject({ code: 0 })
  await rig.until('it goes on', settled)
}

test('back to the earliest, everything that is retained comes again, and to nobody else', async () => {
  await pauseCopy()
  const [copied, audited] = [await rig.written('copy'), await rig.written('audit')]
  const said = await rig.troupe('seek', file, 'copy', '--to', 'earliest', '--json')
  expect(said).toMatchObject({ code: 0 })
  const { partitions } = JSON.parse(said.out) as Sought
  expect(partitions.map(({ partition, to, takenUp }) => [partition, to, takenUp])).toEqual([
    ['key.0', 0, 'owner'],
    ['key.1', 0, 'owner'],
  ])
  expect(partitions.reduce((sum, { again }) => sum + again, 0)).toBe(total)
  expect((await rig.written('copy')).length).toBe(copied.length)
  await resumeCopy()
  const again = (await rig.written('copy')).slice(copied.length)
  expect(sorted(again)).toEqual(upTo(total))
  // In the order of each key.
  for (const key of upTo(10))
    expect(again.filter((number) => number % 10 === key)).toEqual(sorted(again.filter((number) => number % 10 === key)))
  expect(await rig.written('audit')).toEqual(audited)
}, 120_000)

test('back to a position and to a time, what lies behind it comes again', async () => {
  await pauseCopy()
  const [first] = await add(10)
  await rig.until('it is in the log', (one) => lagOf(one, 'audit') === 0 && lagOf(one, 'copy') > 0)
  await resumeCopy()
  await pauseCopy()
  const before = await rig.written('copy')
  const back = await rig.troupe('seek', file, 'copy', '--to', first!, '--json')
  expect(back, back.err).toMatchObject({ code: 0 })
  await resumeCopy()
  const again = (await rig.written('copy')).slice(before.length)
  expect(again).toEqual(expect.arrayContaining(upTo(total, total - 10)))
  expect(again.length).toBeLessThan(total)
  await pauseCopy()
  const tomorrow = await rig.troupe('seek', file, 'copy', '--to', '2999-01-01T00:00:00Z', '--json')
  expect(JSON.parse(tomorrow.out)).toMatchObject({ partitions: [{ takenUp: 'unchanged' }, { takenUp: 'unchanged' }] })
  const unknown = await rig.troupe('seek', file, 'copy', '--to', 'clicks:99999999999999-0')
  expect(unknown).toMatchObject({
    code: 2,
    err: expect.stringMatching(/error\[seek-outside\].*[\s\S]*in the log up to/),
  })
  await resumeCopy()
}, 120_000)

test('forward only with the count of what is passed over, and then that never comes', async () => {
  await pauseCopy()
  await add(40)
  await wait(async () => expect(new Set(await rig.written('audit'))).toEqual(new Set(upTo(total))))
  await rig.until('it is in the log', (one) => lagOf(one, 'audit') === 0 && lagOf(one, 'copy') > 0)
  const refused = await rig.troupe('seek', file, 'copy', '--to', 'latest')
  expect(refused).toMatchObject({ code: 2, err: expect.stringContaining('error[seek-skips]') })
  // The first of them may have come before the order did.
  const [, count = ''] = /: (\d+) events that it has not finished/.exec(refused.err) ?? []
  expect(Number(count)).toBeGreaterThan(0)
  expect(refused.err).toContain(`--skip ${count} `)
  const less = await rig.troupe('seek', file, 'copy', '--to', 'latest', '--skip', String(Number(count) - 1))
  expect(less).toMatchObject({ code: 2, err: expect.stringContaining('error[seek-skips]') })
  const passed = await rig.troupe('seek', file, 'copy', '--to', 'latest', '--skip', count)
  expect(passed, passed.err).toMatchObject({ code: 0, out: expect.stringContaining('events are passed over') })
  const before = await rig.written('copy')
  await add(5)
  await resumeCopy()
  await wait(async () =>
    expect(sorted((await rig.written('copy')).slice(before.length))).toEqual(upTo(total, total - 5)),
  )
}, 120_000)

test('back beyond what the log retains is refused with what it has', async () => {
  const { stream, names } = rig.access()
  await pauseCopy()
  const [one] = (await rig.until('it is told', (status) => pausedIn(status, 'copy'))).partitions
  await stream.purge(names.frames('key', 0), one!.frames.last, 5_000)
  const [sequence, time] = await Promise.all([
    rig.troupe('seek', file, 'copy', '--to', '1'),
    rig.troupe('seek', file, 'copy', '--to', '2020-01-01'),
  ])
  for (const said of [sequence, time]) {
    expect(said).toMatchObject({ code: 2, err: expect.stringContaining('error[seek-outside]') })
    expect(said.err).toContain(`partition key.0: it retains sequences ${one!.frames.last} to ${one!.frames.last}`)
    expect(said.err).not.toContain('partition key.1')
  }
  await resumeCopy()
}, 120_000)

test('a processor that the file has is not retired, nor one that a node still runs', async () => {
  const [has, runs, unknown] = await Promise.all([
    rig.troupe('retire', 'audit', file),
    rig.troupe('retire', 'audit', without, '--yes'),
    rig.troupe('retire', 'nobody', file),
  ])
  expect(has).toMatchObject({ code: 2, err: expect.stringContaining('error[processor-in-use]') })
  expect(runs).toMatchObject({ code: 2, err: expect.stringContaining('runs it still') })
  expect(unknown).toMatchObject({ code: 2, err: expect.stringContaining('error[unknown-processor]') })
}, 60_000)

test('a processor that left the file is named, and retired when that is confirmed; the others go on', async () => {
  await Promise.all([rig.end('n1'), rig.end('n2')])
  await rig.node('n1', without)
  await rig.until('n1 owns everything', (one) => {
    const { nodes } = one
    return (
      holdersOf(one).size === 1 &&
      holdersOf(one).has('n1') &&
      nodes.some(({ node, state }) => node === 'n1' && state === 'active')
    )
  })
  await add(3)
  await wait(async () => expect(await rig.written('copy')).toEqual(expect.arrayContaining(upTo(total, total - 3))))
  const status = await rig.troupe('status', without, '--cluster', 'env')
  expect(status.out).toContain('processor audit left the pipeline: it pins the log')
  const unconfirmed = await rig.troupe('retire', 'audit', without)
  expect(unconfirmed).toMatchObject({ code: 2, err: expect.stringContaining('error[not-confirmed]') })
  expect(unconfirmed.err).toMatch(/audit in key\.0 +finished up to \d+/)
  expect(await rig.troupe('retire', 'audit', without, '--yes')).toMatchObject({
    code: 0,
    out: expect.stringContaining('processor audit is retired'),
  })
  expect(JSON.parse((await rig.troupe('status', without, '--cluster', 'env', '--json')).out)).toMatchObject({
    departed: [],
  })
  expect(await rig.troupe('retire', 'audit', without, '--yes')).toMatchObject({
    code: 2,
    err: expect.stringContaining('error[unknown-processor]'),
  })
}, 120_000)
