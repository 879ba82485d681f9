/**
 * What all nodes of a pipeline must agree on, kept in its stream: the protocol and the number of partitions of each set.
 * The first node writes it; whoever comes with other partitions is refused.
 *
 * A newer protocol may be written over an older one once no node of that lives any more; from then on the older version is
 * refused. So an upgrade over protocols is: stop all nodes, start the new ones.
 */
import { TroupeError } from '../../world/error.js'
import { sleep } from '../../world/sleep.js'
import type { World } from '../../world/world.js'
import type { PartitionSet } from '../log.js'
import type { StreamNames } from './names.js'
import { answerWithin, type StoredMessage, type StreamPort } from './port.js'

interface Layout {
  readonly version: 1
  readonly protocol: number
  readonly sets: Readonly<Record<string, number>>
}

const deadline = 15_000
const attempts = 20

/**
 * Sets may come; none may change its number of partitions, which would send keys to other checkpoints.
 * @throws TroupeError `cluster-layout`, `cluster-protocol`, exit code 2
 */
export async function agreeOnLayout(
  stream: StreamPort,
  names: StreamNames,
  sets: readonly PartitionSet[],
  options: {
    readonly protocol: number
    readonly pipeline: string
    readonly world: World
    /** Rejects while a node of another protocol lives. */
    readonly alone: () => Promise<void>
  },
): Promise<void> {
  const { protocol, pipeline, world } = options
  const place = `pipeline ${pipeline}`
  for (let attempt = 0; attempt < attempts; attempt++) {
    const found = await stream.last(names.layout, deadline)
    const known = found === null ? null : layoutOf(found)
    if (known !== null && known.protocol > protocol)
      throw new TroupeError({
        code: 'cluster-protocol',
        message: `the log is written under protocol ${known.protocol}; this version speaks ${protocol}, which is older`,
        place,
        remedy: 'run the version that the other nodes run: there is no way back to an older protocol',
        exitCode: 2,
        permanent: true,
      })
    const raises = known !== null && known.protocol < protocol
    if (raises) await options.alone()
    const wanted: Record<string, number> = { ...known?.sets }
    mustMatch(wanted, sets, place)
    for (const { name, partitions } of sets) wanted[name] = partitions
    if (known !== null && !raises && sets.every(({ name }) => known.sets[name] !== undefined)) return
    const layout: Layout = { version: 1, protocol, sets: wanted }
    const outcome = await stream.commit(
      [
        {
          subject: names.layout,
          payload: Buffer.from(JSON.stringify(layout)),
          expect: found?.sequence ?? 0,
          rollup: true,
        },
      ],
      deadline,
    )
    if (outcome.kind === 'committed') return
    if (outcome.kind === 'misconfigured')
      throw new TroupeError({
        code: 'log-misconfigured',
        message: `the layout cannot be written: ${outcome.why}`,
        place,
        remedy: 'compare the stream and the permissions with docs/nats.md',
        exitCode: 2,
        permanent: true,
      })
    // Somebody else came first, or nobody knows: look again.
    await sleep(world, 100)
  }
  throw new TroupeError({
    code: 'log-silent',
    message: 'the layout of the log could not be agreed on',
    place,
    remedy: 'look at the NATS servers',
  })
}

/**
 * For whoever looks on from outside and writes no layout: a set that the log does not have yet is none of its business.
 * @throws TroupeError `cluster-layout`, exit code 2
 */
export async function mustHaveLayout(
  stream: Pick<StreamPort, 'last'>,
  names: StreamNames,
  sets: readonly PartitionSet[],
  pipeline: string,
): Promise<void> {
  const found = await stream.last(names.layout, answerWithin)
  if (found !== null) mustMatch(layoutOf(found).sets, sets, `pipeline ${pipeline}`)
}

function layoutOf({ payload }: StoredMessage): Layout {
  return JSON.parse(Buffer.from(payload).toString('utf8')) as Layout
}

function mustMatch(known: Layout['sets'], sets: readonly PartitionSet[], place: string): void {
  for (const { name, partitions } of sets) {
    const before = known[name]
    if (before === undefined || before === partitions) continue
    throw new TroupeError({
      code: 'cluster-layout',
      message: `the log has ${before} partitions in set ${name}, this pipeline ${partitions}: another pipeline of this name, or a changed \`partitions\``,
      place,
      remedy: `give the pipeline another name, or set partitions: ${before}; a change of the number needs an empty log`,
      exitCode: 2,
      permanent: true,
    })
  }
}
