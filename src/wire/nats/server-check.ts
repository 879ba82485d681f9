/** Whether the servers that were found can serve: their version, headers, JetStream. */
import type { ServerInfo } from '@nats-io/transport-node'
import { TroupeError } from '../../world/error.js'
import type { NatsLink } from './connect.js'
import { deniedNats } from './errors.js'
import { type ApiCaller, answerOf, callJetStream } from './jetstream-api.js'

const CHECK_MS = 10_000
const OLDEST = [2, 12] as const

/** @throws TroupeError `nats-too-old`, `nats-headers` */
export function checkServer(info: ServerInfo | undefined, described: string, place: string | undefined): void {
  if (info === undefined) return
  const refuse = (code: string, message: string, remedy: string) =>
    new TroupeError({
      code,
      message,
      ...(place === undefined ? {} : { place }),
      remedy,
      exitCode: 2,
      permanent: true,
    })
  const [major = 0, minor = 0] = info.version.split('.').map(Number)
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]))
    throw refuse(
      'nats-too-old',
      `NATS at ${described} is version ${info.version}; Troupe needs ${OLDEST.join('.')} or newer`,
      'upgrade nats-server: older ones ignore atomic batches without a word, and events would be lost or come twice',
    )
  if (info.headers !== true)
    throw refuse(
      'nats-headers',
      `NATS at ${described} does not allow headers`,
      'remove `no_header_support` from its configuration: checkpoints and batches are made of headers',
    )
}

/**
 * Any server of a cluster may answer for JetStream, so the account is asked and not the server's own INFO.
 *
 * @throws TroupeError `jetstream-off`, `nats-denied`
 */
export async function checkJetStream(
  link: Pick<NatsLink, keyof ApiCaller | 'connection'>,
  place: string | undefined,
): Promise<void> {
  const reply = await link.request({ subject: '$JS.API.INFO', payload: new Uint8Array(0), deadlineMs: 2_000 })
  const off = (why: string) =>
    new TroupeError({
      code: 'jetstream-off',
      message: `NATS at ${link.described} has no JetStream for this account (${why})`,
      ...(place === undefined ? {} : { place }),
      remedy: 'add `jetstream { store_dir: … }` to the servers and `jetstream: enabled` to the account',
      exitCode: 2,
      permanent: true,
    })
  if (reply.kind === 'no-responders') throw off('nobody answers its API')
  if (reply.kind === 'denied') {
    if (reply.operation === 'subscription') throw deniedNats(reply.operation, reply.subject, link.described)
    // The least of privileges need not hold it. What is denied of the rest says so itself.
    if (link.connection.info?.jetstream !== true) throw off('and the user may not ask')
    return
  }
  // A server that has just started may answer before its JetStream does.
  const first = answerOf<unknown>(reply)
  const answer =
    typeof first === 'object' ? first : await callJetStream<unknown>(link, { subject: 'INFO', deadlineMs: CHECK_MS })
  if (!answer.ok) throw off(`${answer.error.description}, ${answer.error.errCode}`)
}
