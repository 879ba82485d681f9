/**
 * The bucket at one moment: who lives, who holds what, which orders are in force.
 *
 * Read once, without a watch: the age of each value is the difference of two times of the server, so nobody's clock but its own
 * counts. One look cannot tell how long the proof of life of a single resource has stood still: a lease of a living
 * holder counts as held here, also where the nodes are about to take it away.
 */
import { named } from '../../membership/keys.js'
import { createObserver, type Observer, type Problem } from '../../membership/observer.js'
import type { KvEntry } from '../../membership/port.js'
import { callJetStream } from '../../wire/nats/jetstream-api.js'
import { TroupeError } from '../../world/error.js'
import { answerWithin, type ClusterAccess } from './connect.js'

export interface Snapshot {
  readonly observer: Observer
  /** The moment, for the observer's questions. */
  readonly now: number
  /** The moment by the server's wall clock, ms. */
  readonly serverTime: number
  readonly problems: readonly Problem[]
}

/** Requests under way at once. */
const width = 16

export async function lookAtBucket(access: ClusterAccess): Promise<Snapshot> {
  const { bucket, bucketName, definition } = access
  const prefix = `$KV.${bucketName}.`
  const subjects = (await bucket.subjects(`${prefix}>`, answerWithin)).filter(
    (subject) => named(subject.slice(prefix.length)) !== undefined,
  )
  const found = await inGroups(subjects, async (subject) => bucket.last(subject, answerWithin))
  const serverTime = await serverTimeOf(access)
  const stored = found.filter((message) => message !== null).sort((a, b) => a.storedAt - b.storedAt)
  // The oldest value is moment 0; we are not a node, whose own silence would count.
  const begin = Math.min(serverTime, stored[0]?.storedAt ?? serverTime)
  const observer = createObserver(definition.cluster.lease, Number.POSITIVE_INFINITY)
  const problems: Problem[] = []
  for (const { subject, sequence, payload, headers, storedAt } of stored) {
    const gone = headers['KV-Operation'] !== undefined
    const entry: KvEntry = { key: subject.slice(prefix.length), value: gone ? null : payload, revision: sequence }
    const problem = observer.heard(entry, storedAt - begin)
    if (problem !== undefined) problems.push(problem)
  }
  return { observer, now: Math.max(0, serverTime - begin), serverTime, problems }
}

/** Applies a question to each, some at a time, in order. */
export async function inGroups<A, B>(items: readonly A[], ask: (item: A) => Promise<B>): Promise<B[]> {
  const answers: B[] = []
  for (let at = 0; at < items.length; at += width)
    answers.push(...(await Promise.all(items.slice(at, at + width).map(ask))))
  return answers
}

async function serverTimeOf({ link, bucketName }: ClusterAccess): Promise<number> {
  const answer = await callJetStream<{ readonly ts?: string }>(link, {
    subject: `STREAM.INFO.KV_${bucketName}`,
    deadlineMs: answerWithin,
  })
  const time = answer.ok ? Date.parse(answer.value.ts ?? '') : Number.NaN
  if (!Number.isNaN(time)) return time
  throw new TroupeError({
    code: 'cluster-unreadable',
    message: 'the bucket of the nodes tells no time: ages cannot be judged',
    place: `bucket ${bucketName}`,
    remedy: 'look at the NATS servers',
  })
}
