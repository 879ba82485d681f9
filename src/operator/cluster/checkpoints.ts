/** The checkpoints of the processors as they stand in the stream, and the frames that wait for them. */
import { decodeProcessor, type StoredProcessor } from '../../log/jetstream/stored.js'
import { partitionSets } from '../../pipeline/graph.js'
import { callJetStream } from '../../wire/nats/jetstream-api.js'
import { TroupeError } from '../../world/error.js'
import { answerWithin, type ClusterAccess } from './connect.js'
import { inGroups } from './snapshot.js'

export interface FoundCheckpoint {
  readonly processor: string
  readonly set: string
  readonly partition: number
  readonly subject: string
  /** Where the checkpoint itself stands. */
  readonly revision: number
  readonly stored: StoredProcessor
  /** The pipeline's file does not have the processor (in this set): nobody moves its checkpoint on. */
  readonly departed: boolean
}

export interface WaitingFrames {
  /** Frames that the log retains, finished or not. */
  readonly retained: number
  /** Sequence of the last one; 0: none is retained. */
  readonly last: number
}

export async function readCheckpoints(access: ClusterAccess): Promise<readonly FoundCheckpoint[]> {
  const { stream, names, definition } = access
  const sets = partitionSets(definition)
  const subjects = [...(await stream.subjects(names.processors, answerWithin))].sort(byNumber)
  const found = await inGroups(subjects, async (subject) => {
    const message = await stream.last(subject, answerWithin)
    if (message === null) return []
    const [, , , , processor = '', set = '', partition = ''] = subject.split('.')
    const departed = !sets.some(({ name, processors }) => name === set && processors.includes(processor))
    const stored = decodeProcessor(message.payload, subject)
    return [{ processor, set, partition: Number(partition), subject, revision: message.sequence, stored, departed }]
  })
  return found.flat()
}

/** By `set.partition`, of every partition that has frames. */
export async function readFrames(access: ClusterAccess): Promise<ReadonlyMap<string, WaitingFrames>> {
  const { link, names, stream } = access
  const filter = names.frames('*', 0).replace(/0$/, '*')
  const answer = await callJetStream<{ readonly state: { readonly subjects?: Readonly<Record<string, number>> } }>(
    link,
    { subject: `STREAM.INFO.${names.stream}`, body: { subjects_filter: filter }, deadlineMs: answerWithin },
  )
  if (!answer.ok)
    throw new TroupeError({
      code: 'cluster-unreadable',
      message: `the frames of the log cannot be counted: ${answer.error.description}`,
      place: `stream ${names.stream}`,
      remedy: 'look at the NATS servers',
    })
  const counted = Object.entries(answer.value.state.subjects ?? {})
  const found = await inGroups(counted, async ([subject, retained]) => {
    const last = (await stream.last(subject, answerWithin))?.sequence ?? 0
    return [subject.split('.').slice(3).join('.'), { retained, last }] as const
  })
  return new Map(found)
}

function byNumber(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true })
}
