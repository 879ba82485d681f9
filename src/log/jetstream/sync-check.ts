/**
 * Whether the servers sync what they store before they answer, as `durability: synced` vouches for.
 *
 * Servers tell it to the system account alone, and to an account that imports `$SYS.REQ.SERVER.PING.JSZ` from it
 * (cluster/nats does so). Asked of all of them at once; a server that does not answer in time is not seen. Who may not ask
 * learns nothing, and says so: then the word of whoever wrote the configuration is all that there is.
 */
import type { NatsLink } from '../../wire/nats/connect.js'
import { TroupeError } from '../../world/error.js'
import type { Logger } from '../../world/logger.js'

export type Synced =
  | { readonly kind: 'synced'; readonly servers: number }
  /** `seen`: servers that answered, all of them synced. */
  | { readonly kind: 'unverified'; readonly seen: number; readonly why: string }
  | { readonly kind: 'lazy'; readonly server: string; readonly intervalMs: number | null }

interface ServerAnswer {
  readonly server?: { readonly name?: string }
  readonly data?: {
    readonly config?: { readonly sync_always?: boolean; readonly sync_interval?: number }
    readonly meta_cluster?: { readonly cluster_size?: number }
  }
}

export const syncQuestion = '$SYS.REQ.SERVER.PING.JSZ'
const answerWithin = 2_000
const noResponders = 503

/** @throws TroupeError `log-not-synced` (exit code 2) */
export async function checkSynced(link: NatsLink, { log, place }: { log: Logger; place: string }): Promise<void> {
  const found = await lookAtSync(link)
  if (found.kind === 'unverified')
    log.warn(
      { seen: found.seen, why: found.why },
      'durability: synced could not be verified: whether every NATS server has sync_interval: always is your word alone',
    )
  if (found.kind !== 'lazy') return
  throw new TroupeError({
    code: 'log-not-synced',
    message: `the pipeline says durability: synced, but the NATS server ${found.server} syncs ${found.intervalMs === null ? 'late' : `every ${found.intervalMs} ms`} only: what it acknowledged may be lost`,
    place,
    remedy: 'set sync_interval: always in the jetstream block of every server, or durability: lazy in the pipeline',
    exitCode: 2,
    permanent: true,
  })
}

export function lookAtSync(link: NatsLink): Promise<Synced> {
  const { world, connection } = link
  return new Promise((resolve) => {
    let seen = 0
    const finish = (result: Synced) => {
      timer.cancel()
      subscription.unsubscribe()
      unobserve()
      resolve(result)
    }
    const unverified = (why: string) => finish({ kind: 'unverified', seen, why })
    const timer = world.setTimer(answerWithin, () =>
      unverified(seen === 0 ? 'no server answered' : 'not every server answered'),
    )
    const unobserve = link.observe({
      denied: (_, subject) => {
        if (subject === syncQuestion) unverified('the user may not ask')
      },
      disconnected: () => unverified('the connection was lost'),
    })
    const inbox = link.inbox()
    const subscription = connection.subscribe(inbox, {
      callback(error, message) {
        if (error !== null) return unverified(error.message)
        if (message.headers?.code === noResponders) return unverified('the account cannot ask the servers')
        const { server, data } = parse(message.data)
        if (data?.config === undefined) return
        if (data.config.sync_always !== true) {
          const { sync_interval: interval } = data.config
          const intervalMs = interval === undefined ? null : interval / 1_000_000
          return finish({ kind: 'lazy', server: server?.name ?? 'of an unknown name', intervalMs })
        }
        seen++
        if (seen >= (data.meta_cluster?.cluster_size ?? 1)) finish({ kind: 'synced', servers: seen })
      },
    })
    connection.publish(syncQuestion, JSON.stringify({ config: true }), { reply: inbox })
  })
}

function parse(data: Uint8Array): ServerAnswer {
  try {
    const value: unknown = JSON.parse(Buffer.from(data).toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as ServerAnswer) : {}
  } catch {
    return {}
  }
}
