/** Redis Streams as a source: preflight, opening, and what it costs in connections. */
import { describeEndpoint, parseRespEndpoint } from '../../wire/resp-endpoint.js'
import { explainRedis } from '../../wire/resp-error.js'
import { messageOf, TroupeError } from '../../world/error.js'
import type { SourceDriver } from '../source.js'
import { connectAdmin, type RedisAdmin } from './admin.js'
import type { RedisStreamsSourceDefinition } from './definition.js'
import { groupOf, openReader } from './reader.js'

export const redisStreamsSource: SourceDriver<RedisStreamsSourceDefinition> = {
  kind: 'redis-streams',
  replayable: true,
  obliges: true,

  async preflight(config, context) {
    const place = `source ${context.name}`
    const endpoint = parseRespEndpoint(config.url, place)
    let admin: RedisAdmin | null = null
    try {
      admin = await connectAdmin(endpoint, `troupe.${context.pipeline}.${context.name}.preflight`, () => {})
      await check(config, admin, context.pipeline, place)
    } catch (error) {
      throw explainRedis(error, endpoint, place, { permanent: true })
    } finally {
      admin?.close()
    }
  },

  open: openReader,

  connections(config) {
    const server = `redis ${describeEndpoint(parseRespEndpoint(config.url, 'source'))}`
    const common = [
      { server, count: 1, purpose: 'groups, claims and figures' },
      { server, count: 1, purpose: 'reading (XREAD or XREADGROUP)' },
    ]
    return config.mode === 'group' ? [...common, { server, count: 1, purpose: 'acknowledging (XACK)' }] : common
  },
}

/** Does, harmlessly, what the reader will do: what is denied is denied here. */
async function check(
  config: RedisStreamsSourceDefinition,
  admin: RedisAdmin,
  pipeline: string,
  place: string,
): Promise<void> {
  await admin.replication()
  for (const stream of config.streams) {
    try {
      await admin.stream(stream)
      await admin.entry(stream, { majorHigh: 0, majorLow: 0, minorHigh: 0, minorLow: 1 })
    } catch (error) {
      if (!/^WRONGTYPE/.test(messageOf(error))) throw error
      throw new TroupeError({
        code: 'redis-wrong-type',
        message: `the key ${stream} holds another type of value than a stream`,
        place,
        remedy: 'correct the name under `streams`',
        exitCode: 2,
        permanent: true,
        cause: error,
      })
    }
  }
  const stream = config.streams[0]
  if (stream === undefined) return
  if (config.mode === 'read') {
    await admin.call('XREAD', 'COUNT', '1', 'STREAMS', stream, '18446744073709551615-18446744073709551615')
    return
  }
  await admin.killOlder(() => false)
  // An id that no entry has: these change nothing, and show what the user may do.
  const group = groupOf(config, pipeline)
  await admin.call('XACK', stream, group, '0-1')
  await allowed(() => admin.call('XGROUP', 'SETID', stream, `${group}\0none`, '0-1'))
  await allowed(() => admin.call('XPENDING', stream, `${group}\0none`))
  await allowed(() => admin.call('XCLAIM', stream, `${group}\0none`, 'preflight', '0', '0-1'))
  await allowed(() => admin.call('XINFO', 'CONSUMERS', stream, `${group}\0none`))
  await allowed(() => admin.call('XREADGROUP', 'GROUP', `${group}\0none`, 'preflight', 'STREAMS', stream, '>'))
}

/** Whatever is said of a group that is not there; not that the command is denied. */
async function allowed(run: () => Promise<unknown>): Promise<void> {
  try {
    await run()
  } catch (error) {
    if (/^(NOPERM|READONLY)/.test(messageOf(error))) throw error
  }
}
