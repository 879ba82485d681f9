/**
 * The fenced Redis sink: items and checkpoint in one script, which takes effect as a whole and only for the newest writer
 * of a partition.
 *
 * Exactly-once effect, as long as Redis keeps what it acknowledged: checkpoint and data lie in the same Redis and live and
 * die together. What a dead writer had under way either took effect before the seal, and then the checkpoint that the seal
 * gave back says so, or never does: its term is no longer the stored one.
 */
import type { LaneVector } from '../checkpoint/checkpoint.js'
import { loadVector, type StoredVector, storeVector } from '../checkpoint/vector.js'
import { describeEndpoint, type RespEndpoint } from '../wire/resp-endpoint.js'
import { explainRedis } from '../wire/resp-error.js'
import { RespError, type RespValue } from '../wire/resp-reply.js'
import { connectResp, type RespSocket } from '../wire/resp-socket.js'
import { respCommand, respWriter, TooManyArguments } from '../wire/resp-writer.js'
import { TroupeError } from '../world/error.js'
import type { Timer } from '../world/world.js'
import type { RedisSinkDefinition } from './definition.js'
import type { NameTemplate } from './name-template.js'
import { redisEncoder, Unwritable } from './redis-commands.js'
import { commit, maxArguments, seal } from './redis-script.js'
import {
  type FencedWriter,
  type RefusedItem,
  type SinkContext,
  type SinkItem,
  SinkRefusal,
  sinkFenced,
} from './sink.js'

/** Without a reply for this long, ms, the connection counts as dead. */
const REPLY_MS = 30_000
/** An idle connection says something this often, ms: Redis may be told to end idle ones. */
const PING_MS = 30_000
const ping = respCommand(['PING'])
/** Redis takes 2^20 arguments in one command. */
const MAX_ARGUMENTS = 1_000_000
/** Far below client-query-buffer-limit (1 GiB). */
const MAX_BYTES = 256 * 1024 * 1024

export interface RedisPlace {
  readonly endpoint: RespEndpoint
  readonly template: NameTemplate
  readonly place: string
  /** Of the connection. */
  readonly name: string
}

/** Where the checkpoint of one partition lies; docs/sinks.md names it for those who must look. */
export function fenceKey(context: Pick<SinkContext, 'pipeline' | 'processor' | 'set' | 'partition'>): string {
  return `troupe:{${context.pipeline}}:${context.processor}:${context.set}:${context.partition}`
}

export async function openFencedWriter(
  definition: RedisSinkDefinition,
  context: SinkContext,
  { endpoint, template, place, name }: RedisPlace,
): Promise<FencedWriter> {
  const { world } = context
  const writer = respWriter(256 * 1024)
  const encode = redisEncoder(definition, template, writer)
  const key = fenceKey(context)
  const token = Buffer.from(world.randomBytes(8)).toString('hex')
  let failure: Error | null = null
  let closing = false
  let running = false
  let pinging: Timer | null = null
  let underWay: Promise<unknown> = Promise.resolve()

  let told = false
  /** The end of this writer, with the first cause of it. */
  function end(cause: unknown): Error {
    failure ??= explainRedis(cause, endpoint, place)
    pinging?.cancel()
    socket.close()
    return failure
  }
  function fail(cause: unknown): void {
    const error = end(cause)
    if (!running || closing || told) return
    told = true
    context.fail(error)
  }

  const socket: RespSocket = await connectResp({
    endpoint,
    name,
    world,
    onClose: (error) => {
      if (running && error !== null) fail(error)
    },
  }).catch((error) => {
    throw explainRedis(error, endpoint, place)
  })

  async function within(reply: Promise<RespValue>): Promise<RespValue> {
    const watch = world.setTimer(REPLY_MS, () => end(new Error(`no reply for ${REPLY_MS / 1000} s`)), {
      background: true,
    })
    try {
      return await reply
    } finally {
      watch.cancel()
    }
  }

  function pingLater(): void {
    pinging?.cancel()
    pinging = world.setTimer(PING_MS, () => void within(socket.ask(ping)).then(pingLater, fail), { background: true })
  }

  let term: string
  let lanes: LaneVector | null
  try {
    const [sealed] = await Promise.all([sealFence(), within(socket.call('SCRIPT', 'LOAD', commit.text))])
    term = sealed.term
    lanes = sealed.lanes
  } catch (error) {
    socket.close()
    throw explainRedis(error, endpoint, place)
  }
  running = true
  pingLater()

  async function sealFence(): Promise<{ readonly term: string; readonly lanes: LaneVector | null }> {
    const least = String(Math.floor(world.now() / 1000))
    const partitions = String(context.partitions)
    const reply = await within(socket.call('EVAL', seal.text, '1', key, least, token, partitions))
    const [sealedTerm, stored, layout] = reply as readonly (Buffer | null)[]
    if (layout !== null && layout !== undefined && layout.toString() !== partitions)
      context.log.warn(
        { processor: context.processor, key, before: layout.toString(), now: partitions },
        'the partitions have changed and the checkpoint in the sink with them: what was not confirmed will be written again',
      )
    return { term: String(sealedTerm), lanes: stored === null ? null : parseLanes(String(stored)) }
  }

  function parseLanes(text: string): LaneVector {
    try {
      return loadVector(JSON.parse(text) as StoredVector)
    } catch (cause) {
      throw new TroupeError({
        code: 'sink-checkpoint-corrupt',
        message: `the checkpoint at ${key} of the Redis at ${describeEndpoint(endpoint)} cannot be read`,
        place,
        remedy: `remove the field \`lanes\` of that key to go on from the pipeline's own checkpoint: what is newer than that will be written again`,
        permanent: true,
        cause,
      })
    }
  }

  /** The whole command; null where items are refused before anything was sent. */
  function encoded(items: readonly SinkItem[], to: LaneVector, refused: RefusedItem[], owners: number[]) {
    writer.begin()
    for (const argument of ['EVALSHA', commit.sha, '1', key, term, token, JSON.stringify(storeVector(to))])
      writer.text(argument)
    writer.nest(maxArguments)
    for (let index = 0; index < items.length; index++) {
      const { size, nested } = writer
      try {
        for (let made = encode(items[index]!); made > 0; made--) owners.push(index)
      } catch (error) {
        writer.rewindNested(size, nested)
        if (!(error instanceof Unwritable || error instanceof TooManyArguments)) throw error
        refused.push({ index, message: error.message })
      }
    }
    const count = writer.nested
    const bytes = writer.take()
    if (refused.length === 0 && count <= MAX_ARGUMENTS && bytes.length <= MAX_BYTES) return bytes
    writer.release(bytes)
    if (refused.length === 0) throw tooLarge(items.length, bytes.length, place)
    return null
  }

  async function run(bytes: Uint8Array): Promise<RespValue> {
    try {
      return await within(socket.ask(bytes))
    } catch (error) {
      if (!(error instanceof RespError) || error.code !== 'NOSCRIPT') throw error
      // Redis was started again or its scripts were flushed; the connection stands, so nothing else has changed.
      await within(socket.call('SCRIPT', 'LOAD', commit.text))
      return within(socket.ask(bytes))
    }
  }

  async function write(items: readonly SinkItem[], to: LaneVector): Promise<readonly RefusedItem[]> {
    const refused: RefusedItem[] = []
    const owners: number[] = []
    try {
      const bytes = encoded(items, to, refused, owners)
      if (bytes === null) throw refusal(refused)
      const reply = (await run(bytes)) as readonly [Buffer, readonly RespValue[]]
      writer.release(bytes)
      pingLater()
      if (String(reply[0]) === 'committed') return failedItems(reply[1], owners)
      throw refusal(
        distinct(reply[1] as readonly number[], owners).map((index) => ({
          index,
          message: 'WRONGTYPE the key holds another type of value',
        })),
      )
    } catch (error) {
      if (error instanceof SinkRefusal) throw error
      if (error instanceof RespError && error.code === 'FENCED')
        throw end(sinkFenced(place, `${key}: ${error.message.replace('FENCED ', '')}, ours is ${term}`))
      throw end(error)
    }
  }

  return {
    lanes,
    term: Number(term),
    batchSize: definition.batch,
    commit(items, to) {
      if (failure !== null) return Promise.reject(failure)
      if (closing) return Promise.reject(new Error('the sink is closed'))
      const outcome = write(items, to)
      underWay = outcome.catch(() => {})
      return outcome
    },
    async close() {
      closing = true
      await underWay
      pinging?.cancel()
      socket.close()
    },
  }
}

/**
 * Asks whether the scripts may run and whether Redis keeps what it was given.
 * @throws RespError NOPERM; TroupeError `redis-evicts`
 */
export async function checkFenced(socket: RespSocket, pipeline: string, place: string): Promise<void> {
  await socket.call('SCRIPT', 'LOAD', commit.text)
  const nobody = `troupe:{${pipeline}}`
  // No writer has this term: it is refused, and that is the answer that was wanted.
  for (const text of [commit.text, commit.sha])
    await socket.call(text === commit.sha ? 'EVALSHA' : 'EVAL', text, '1', nobody, '-', '-', '{}').catch((error) => {
      if (!(error instanceof RespError) || error.code !== 'FENCED') throw error
    })
  const memory = String(await socket.call('INFO', 'memory').catch(() => ''))
  const policy = /^maxmemory_policy:(\S+)/m.exec(memory)?.[1] ?? 'noeviction'
  const bounded = /^maxmemory:[1-9]/m.test(memory)
  if (bounded && policy.startsWith('allkeys'))
    throw new TroupeError({
      code: 'redis-evicts',
      message: `this Redis throws away any key when its memory is full (maxmemory-policy ${policy}): the checkpoint of an exactly-once sink would not be safe`,
      place,
      remedy: 'set maxmemory-policy to noeviction or to one of volatile-*, or take out exactlyOnce',
      exitCode: 2,
      permanent: true,
    })
}

function refusal(refused: readonly RefusedItem[]): SinkRefusal {
  return new SinkRefusal(refused[0]!.index, refused[0]!.message, { refused })
}

/** The items of these commands, numbered from 1. */
function distinct(commands: readonly number[], owners: readonly number[]): number[] {
  return [...new Set(commands.map((command) => owners[command - 1]!))]
}

function failedItems(reply: readonly RespValue[], owners: readonly number[]): readonly RefusedItem[] {
  const failed = new Map<number, string>()
  for (let at = 0; at < reply.length; at += 2) {
    const index = owners[(reply[at] as number) - 1]!
    if (!failed.has(index)) failed.set(index, String(reply[at + 1]))
  }
  return [...failed].map(([index, message]) => ({ index, message }))
}

function tooLarge(items: number, bytes: number, place: string): TroupeError {
  return new TroupeError({
    code: 'output-too-large',
    message: `what one frame of at most 512 events became (${items} items, ${bytes} bytes) is too large for one atomic step`,
    place,
    remedy: 'let the handler make fewer or smaller records of one event, or take out exactlyOnce',
    permanent: true,
  })
}
