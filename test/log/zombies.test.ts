/**
 * Owners that are paused with a built batch in their hands, on real servers: one, and three that replicate.
 *
 * Between a batch that is built and one that is sent there is no room for a signal, so the pause is made here: what the
 * paused one asks of the stream, hears from it and has timers for waits at a gate, and goes on to the server unchanged when
 * it wakes. No lease is there: nothing but the log stands between a zombie and the work of its successor. For whole
 * processes see `npm run chaos -- zombie-node`.
 */
import { describe, expect, onTestFinished, test } from 'vitest'
import { createNatsStream } from '../../src/log/jetstream/nats-stream.js'
import type { Outcome, StreamMessage, StreamPort } from '../../src/log/jetstream/port.js'
import { provisionStream } from '../../src/log/jetstream/provision.js'
import { decodeOwnership, decodeProcessor, decodeReader } from '../../src/log/jetstream/stored.js'
import { startNatsCluster } from '../../src/servers/index.js'
import { realWorld } from '../../src/world/real.js'
import type { World } from '../../src/world/world.js'
import { linkTo, server, silent } from './nats-harness.js'
import { names, own, settle, upTo, write } from './shop-log.js'

const stages = {
  'one server (R1)': { replicas: 1, start: async () => (await server({ syncInterval: 'always' })).url },
  'three servers (R3)': {
    replicas: 3,
    start: async () => {
      const cluster = await startNatsCluster({ syncInterval: 'always' })
      onTestFinished(() => cluster.stop())
      return cluster.url
    },
  },
} as const

async function stage({ replicas, start }: (typeof stages)[keyof typeof stages]) {
  const url = await start()
  const link = await linkTo(url)
  await provisionStream(link, names, { maxBytes: 64 * 1024 * 1024, replicas, provision: true, log: silent })
  const another = async () => createNatsStream(await linkTo(url), names, { log: silent })
  const stream = createNatsStream(link, names, { log: silent })
  return { stream, another, terms: watchTerms(stream) }
}

/** The terms that were seen in each checkpoint, in the order in which they were stored. */
function watchTerms(stream: StreamPort): ReadonlyMap<string, number[]> {
  const terms = new Map<string, number[]>()
  const reading = stream.read({
    subject: `troupe.shop.ck.>`,
    from: 1,
    window: 4 * 1024 * 1024,
    message({ subject, payload }) {
      terms.set(subject, [...(terms.get(subject) ?? []), decodeOwnership(payload, subject).term])
      reading.credit(payload.length)
    },
    resumed() {},
    failed(error) {
      throw error
    },
  })
  onTestFinished(() => reading.stop())
  return terms
}

/** Once the watch has seen the taker's term of these. */
async function neverFall(terms: ReadonlyMap<string, readonly number[]>, taken: readonly string[]): Promise<void> {
  for (const subject of taken) await settle(() => expect(terms.get(subject), subject).toContain(2))
  for (const [subject, seen] of terms) expect(seen, subject).toEqual([...seen].sort((one, other) => one - other))
}

interface Sleeper {
  readonly stream: StreamPort
  readonly world: World
  /** From the next commit on it is paused; gives the batch that it has built. */
  pauseAtNextCommit(): Promise<readonly StreamMessage[]>
  /** Gives what the server says to that batch. */
  wake(): Promise<Outcome>
}

function sleeper(awake: StreamPort): Sleeper {
  let caught: ((batch: readonly StreamMessage[]) => void) | null = null
  let answered: (outcome: Outcome) => void = () => {}
  let late: (() => void)[] | null = null
  const whenAwake = () => new Promise<void>((resolve) => (late === null ? resolve() : late.push(resolve)))
  const orLater = (run: () => void) => (late === null ? run() : void late.push(run))
  const stream: StreamPort = {
    async commit(messages, deadlineMs) {
      if (caught === null || late !== null) {
        await whenAwake()
        return awake.commit(messages, deadlineMs)
      }
      late = []
      caught(messages)
      await whenAwake()
      const outcome = await awake.commit(messages, deadlineMs)
      answered(outcome)
      return outcome
    },
    last: (...given) => whenAwake().then(() => awake.last(...given)),
    first: (...given) => whenAwake().then(() => awake.first(...given)),
    at: (...given) => whenAwake().then(() => awake.at(...given)),
    subjects: (...given) => whenAwake().then(() => awake.subjects(...given)),
    state: (...given) => whenAwake().then(() => awake.state(...given)),
    purge: (...given) => whenAwake().then(() => awake.purge(...given)),
    read: (options) =>
      awake.read({
        ...options,
        message: (message) => orLater(() => options.message(message)),
        resumed: (state) => orLater(() => options.resumed(state)),
        failed: (error) => orLater(() => options.failed(error)),
      }),
  }
  return {
    stream,
    world: { ...realWorld, setTimer: (ms, run, options) => realWorld.setTimer(ms, () => orLater(run), options) },
    pauseAtNextCommit: () =>
      new Promise((resolve) => {
        caught = resolve
      }),
    wake() {
      const waited = late ?? []
      const outcome = new Promise<Outcome>((resolve) => {
        answered = resolve
      })
      late = null
      caught = null
      for (const go of waited) go()
      return outcome
    },
  }
}

describe.each(Object.entries(stages))('on %s', (_, place) => {
  test('a reader that wakes with a built batch is refused by the log: no event is lost, none is there twice', async () => {
    const { stream, another, terms } = await stage(place)
    const owning = await own(stream)
    const zombie = sleeper(await another())
    const old = await write(zombie.stream, { world: zombie.world })
    for (const position of upTo(20)) old.append(position)
    await settle(() => expect(owning.got.a).toEqual(upTo(20)))
    const built = zombie.pauseAtNextCommit()
    for (const position of upTo(30, 21)) old.append(position)
    expect((await built).map(({ subject }) => subject)).toEqual(
      expect.arrayContaining([names.frames('key', 0), names.reader('db')]),
    )

    const taker = await write(await another())
    for (const position of upTo(60, 21)) taker.append(position)
    await settle(() => expect(owning.got.b).toEqual(upTo(60)))

    expect(await zombie.wake()).toEqual({ kind: 'fenced' })
    await settle(() => expect(old.failures).toMatchObject([{ code: 'fenced' }]))
    expect(String(old.failures[0])).toMatch(/10071.*term 2; ours is 1/)
    expect(old.writer.figures()).toMatchObject({ refused: 1 })
    for (const position of upTo(80, 61)) taker.append(position)
    await settle(() => expect(owning.got.b).toEqual(upTo(80)))
    expect(owning.got.a).toEqual(upTo(80))
    expect(owning.failures).toEqual([])
    expect(taker.failures).toEqual([])
    const stands = decodeReader((await stream.last(names.reader('db'), 5_000))!.payload, 'reader')
    expect(stands).toMatchObject({ term: 2, state: { at: 80 } })
    await neverFall(terms, [names.reader('db')])
  })

  test('an owner that wakes with a built checkpoint is refused by the log, and its successor has missed nothing', async () => {
    const { stream, another, terms } = await stage(place)
    const { append } = await write(stream)
    const zombie = sleeper(await another())
    const old = await own(zombie.stream, { world: zombie.world, checkpointInterval: 600_000 })
    for (const position of upTo(20)) append(position)
    await settle(() => expect(old.got.b).toEqual(upTo(20)))
    await old.log.checkpoint()
    for (const position of upTo(30, 21)) append(position)
    await settle(() => expect(old.got.b).toEqual(upTo(30)))
    const built = zombie.pauseAtNextCommit()
    void old.log.checkpoint()
    expect((await built).map(({ subject }) => subject)).toEqual([
      names.processor('a', 'key', 0),
      names.processor('b', 'key', 0),
    ])

    const taker = await own(await another())
    for (const position of upTo(50, 31)) append(position)
    await settle(() => expect(taker.got.b).toEqual(upTo(50, 21)))
    await taker.log.checkpoint()

    expect(await zombie.wake()).toEqual({ kind: 'fenced' })
    await settle(() => expect(old.failures).toMatchObject([{ code: 'fenced' }]))
    expect(String(old.failures[0])).toMatch(/10071.*term 2; ours is 1/)
    for (const position of upTo(60, 51)) append(position)
    await settle(() => expect(taker.got.b).toEqual(upTo(60, 21)))
    await taker.log.checkpoint()
    expect(taker.got.a).toEqual(upTo(60, 21))
    expect(taker.failures).toEqual([])
    const taken = ['a', 'b'].map((processor) => names.processor(processor, 'key', 0))
    for (const subject of taken) {
      const { term, lanes } = decodeProcessor((await stream.last(subject, 5_000))!.payload, subject)
      expect(term).toBe(2)
      expect(Object.values(lanes).map(({ position }) => Number(position.major))).toEqual([60])
    }
    await neverFall(terms, taken)
  })
})
