/**
 * Our side of `cluster`: from the WAL through the replicated log to count-rows.ts on another node. Time begins when the
 * reader's node asks PostgreSQL for the slot and ends with the last event handled on the owner's. CPU is that of both nodes.
 */
import type { PipelineConfig } from '../../src/pipeline/schema.js'
import { print } from '../harness/finish.js'
import { cpuOf } from '../harness/processes.js'
import type { WorkShape } from '../harness/tally.js'
import { startNodePair } from './node-pair.js'

export interface ClusterToHandlerInput {
  readonly config: PipelineConfig
  readonly servers: string
  readonly shape: WorkShape
  /** Processes of the NATS servers: what they take is told too. */
  readonly nats: readonly number[]
}

const handledMs = 75_000

const { config, servers, shape, nats } = JSON.parse(process.argv[2]!) as ClusterToHandlerInput
const pair = await startNodePair({ config, servers, shape })
try {
  const natsBefore = cpuOf(nats)
  await pair.resume()
  const { tally } = await pair.owner.next('handled', handledMs)
  const natsAfter = cpuOf(nats)
  const [reader, owner] = await Promise.all([pair.reader.report(), pair.owner.report()])
  if (owner.bytes > 0 || reader.began === null) throw new Error('the reader was not where it should be')
  const natsMicros = natsBefore === null || natsAfter === null ? null : ((natsAfter - natsBefore) * 1000) / shape.total
  print({
    count: tally.count,
    elapsedMs: tally.endedAt - reader.began.at,
    cpuMs: reader.cpuMs - reader.began.cpu + tally.endedCpu - pair.owner.joinedCpuMs,
    peakRssMb: Math.max(reader.peakRssMb, owner.peakRssMb),
    tally,
    extra: {
      bytesPerEvent: Math.round((reader.bytes * 10) / shape.total) / 10,
      ...(natsMicros === null ? {} : { natsCpuMicrosPerEvent: Math.round(natsMicros * 100) / 100 }),
    },
  })
} finally {
  pair.end()
}
process.exit(0)
