/**
 * The Redis sink: pipelined batches on a socket of its own, several in flight, in order. (With `exactlyOnce` it is another:
 * redis-fenced.ts.)
 *
 * At least once: a batch whose replies a lost connection took comes again. Before its first write a writer ends the
 * connections of its own earlier lives and waits for Redis to say so: what a dead writer still had under way can never
 * take effect behind what the new one writes.
 */
import { killOlderClients } from '../wire/resp-clients.js'
import { describeEndpoint, parseRespEndpoint, type RespEndpoint } from '../wire/resp-endpoint.js'
import { explainRedis } from '../wire/resp-error.js'
import { RespError } from '../wire/resp-reply.js'
import { connectResp, type RespSocket } from '../wire/resp-socket.js'
import { respCommand, respWriter } from '../wire/resp-writer.js'
import { TroupeError } from '../world/error.js'
import type { Timer } from '../world/world.js'
import type { RedisSinkDefinition } from './definition.js'
import { type NameTemplate, nameTemplate } from './name-template.js'
import { redisEncoder, Unwritable } from './redis-commands.js'
import { checkFenced, openFencedWriter } from './redis-fenced.js'
import { redisPipeline } from './redis-pipeline.js'
import type { RefusedItem, SinkContext, SinkDriver, SinkWriter } from './sink.js'

const MAX_IN_FLIGHT = 4
/** Without any reply for this long, ms, while something is in flight, the connection counts as dead. */
const REPLY_MS = 30_000
const WATCH_MS = 5_000
/** An idle connection says something this often, ms: Redis may be told to end idle ones. */
const PING_MS = 30_000
const ping = respCommand(['PING'])

export const redisSink = {
  kind: 'redis',
  guarantee: (definition) => (definition.exactlyOnce ? 'exactly-once' : 'at-least-once'),

  async preflight(definition, context) {
    const place = `sink of processor ${context.processor}`
    const endpoint = parseRespEndpoint(definition.url, place)
    const template = nameTemplate(definition.name, 0, place)
    let socket: RespSocket | null = null
    try {
      socket = await connectResp({
        endpoint,
        name: `troupe.${context.pipeline}.${context.processor}.preflight`,
        world: context.world,
        onClose: () => {},
      })
      await checkServer(socket, definition, template)
      if (definition.exactlyOnce) await checkFenced(socket, context.pipeline, place)
      else await checkKill(socket)
    } catch (error) {
      throw explainRedis(error, endpoint, place, { subject: template.constant ?? definition.name, permanent: true })
    } finally {
      socket?.close()
    }
  },

  async open(definition, context) {
    const place = `sink of processor ${context.processor}`
    const endpoint = parseRespEndpoint(definition.url, place)
    const template = nameTemplate(definition.name, context.partition, place)
    return openWriter(definition, context, endpoint, template, place)
  },

  async openFenced(definition, context) {
    const place = `sink of processor ${context.processor}`
    const endpoint = parseRespEndpoint(definition.url, place)
    const template = nameTemplate(definition.name, context.partition, place)
    return openFencedWriter(definition, context, { endpoint, template, place, name: clientName(context) })
  },

  connections(definition) {
    const endpoint = parseRespEndpoint(definition.url, 'sink')
    const purpose = definition.exactlyOnce ? 'commits, one per partition' : 'pipelined writes, one per partition'
    return [{ server: `redis ${describeEndpoint(endpoint)}`, count: 1, purpose }]
  },
} satisfies SinkDriver<RedisSinkDefinition>

async function openWriter(
  definition: RedisSinkDefinition,
  context: SinkContext,
  endpoint: RespEndpoint,
  template: NameTemplate,
  place: string,
): Promise<SinkWriter> {
  const { world } = context
  const writer = respWriter(256 * 1024)
  const encode = redisEncoder(definition, template, writer)
  const name = clientName(context)
  let failure: Error | null = null
  let closing = false
  let running = false
  let watch: Timer | null = null

  const pipeline = redisPipeline(fail)
  function fail(cause: unknown): void {
    if (failure !== null) return
    failure = explainRedis(cause, endpoint, place)
    pipeline.end(failure)
    watch?.cancel()
    socket.close()
    if (running && !closing) context.fail(failure)
  }
  const options = {
    endpoint,
    name,
    world,
    onClose: (error: Error | null) => {
      if (running) fail(error ?? new Error('the connection was closed'))
    },
  }
  const socket = await connectResp(options).catch((error) => {
    throw explainRedis(error, endpoint, place)
  })
  try {
    await killOlderClients(socket.call, (other) => other === name)
  } catch (error) {
    socket.close()
    throw explainRedis(error, endpoint, place)
  }
  socket.consume(pipeline.consumer)
  running = true

  let seen = -1
  let quietMs = 0
  function onWatch(): void {
    quietMs = pipeline.replies === seen ? quietMs + WATCH_MS : 0
    seen = pipeline.replies
    if (pipeline.inFlight === 0 && quietMs >= PING_MS) {
      quietMs = 0
      pipeline.expect(new Int32Array(1), 1, []).catch(() => {})
      socket.write(ping)
    }
    if (quietMs >= REPLY_MS) fail(new Error(`no reply for ${REPLY_MS / 1000} s`))
    else watch = world.setTimer(WATCH_MS, onWatch, { background: true })
  }
  watch = world.setTimer(WATCH_MS, onWatch, { background: true })

  return {
    maxInFlight: MAX_IN_FLIGHT,
    batchSize: definition.batch,
    write(items) {
      if (failure !== null) return Promise.reject(failure)
      if (closing) return Promise.reject(new Error('the sink is closed'))
      let owners = new Int32Array(items.length + 8)
      let commands = 0
      const refused: RefusedItem[] = []
      for (let index = 0; index < items.length; index++) {
        const before = writer.size
        let made = 0
        try {
          made = encode(items[index]!)
        } catch (error) {
          writer.rewind(before)
          if (!(error instanceof Unwritable)) return rejectWhole(error)
          refused.push({ index, message: error.message })
        }
        if (commands + made > owners.length) {
          const larger = new Int32Array(owners.length * 2 + made)
          larger.set(owners)
          owners = larger
        }
        for (; made > 0; made--) owners[commands++] = index
      }
      const outcome = pipeline.expect(owners, commands, refused)
      if (commands > 0) {
        const bytes = writer.take()
        socket.write(bytes, () => writer.release(bytes))
      }
      return outcome
    },
    async close() {
      closing = true
      if (failure === null) await pipeline.settled()
      watch?.cancel()
      socket.close()
    },
  }

  /** An item that cannot be read at all (a corrupt frame): nothing of this batch was sent. */
  function rejectWhole(error: unknown): Promise<void> {
    writer.rewind(0)
    fail(error)
    return Promise.reject(failure)
  }
}

/** One living connection bears it: of a pipeline's processor in a partition of a set. */
function clientName(context: SinkContext): string {
  return `troupe.${context.pipeline}.${context.processor}.${context.set}.${context.partition}`
}

/** @throws RespError NOPERM where the user may not end the connections of an earlier life */
async function checkKill(socket: RespSocket): Promise<void> {
  await killOlderClients(
    (...args) => socket.call(...args),
    () => false,
  )
  // Kills nobody: asks whether we might.
  await socket.call('CLIENT', 'KILL', 'ID', '9007199254740991').catch((error) => {
    if (error instanceof RespError && error.code === 'NOPERM') throw error
  })
}

/** @throws RespError, TroupeError where the server takes no writes, or the name is of another type */
async function checkServer(socket: RespSocket, definition: RedisSinkDefinition, template: NameTemplate): Promise<void> {
  await socket.call('PING')
  const role = await socket.call('INFO', 'replication').catch(() => '')
  if (/^role:slave/m.test(String(role)) && !/^slave_read_only:0/m.test(String(role))) throw new RespError('READONLY')
  if (template.constant === null) return
  const wanted = definition.write === 'stream' ? 'stream' : definition.write
  const type = String(await socket.call('TYPE', template.constant).catch(() => 'none'))
  // SET replaces whatever there is.
  if (type !== 'none' && type !== wanted && definition.write !== 'string')
    throw new TroupeError({
      code: 'redis-wrong-type',
      message: `'${template.constant}' holds a ${type}, and the sink writes a ${wanted}`,
      place: 'sink',
      remedy: 'name another key, or remove the one that is there',
      exitCode: 2,
      permanent: true,
    })
}
