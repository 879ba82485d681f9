/** What the commands on a cluster share: its option, the way to it, and how they answer. */

import { InvalidArgumentError } from 'commander'
import { type ClusterAccess, withCluster } from '../operator/cluster/connect.js'
import { loadPipeline } from '../pipeline/load.js'
import { namePattern } from '../pipeline/scalar.js'
import { TroupeError } from '../world/error.js'
import { realWorld } from '../world/real.js'
import { terminalLogger } from './log.js'

export interface ClusterFlags {
  readonly cluster?: string
  readonly json?: boolean
}

export const clusterOption = [
  '--cluster <servers>',
  'NATS servers of the cluster (nats://a:4222,nats://b:4222); `env`: those that TROUPE_CLUSTER names',
] as const

/**
 * A password on a command line is seen by everybody on the machine; in the environment it is not. The variable alone makes
 * no node and no look at a cluster of a command that can also do without one: those say `--cluster env`.
 *
 * @throws TroupeError `usage`
 */
export function serversOf(given: string | undefined): string {
  const named = process.env.TROUPE_CLUSTER ?? ''
  if (given !== undefined && given !== 'env') return given
  if (named !== '') return named
  throw usage(
    given === undefined ? 'this command works on a cluster: which one?' : 'TROUPE_CLUSTER names no servers',
    'give --cluster <servers>, or set TROUPE_CLUSTER to them',
  )
}

export interface Answer {
  readonly value: unknown
  readonly lines: readonly string[]
}

/** Connects, works, prints. */
export async function onCluster(
  file: string,
  flags: ClusterFlags,
  work: (access: ClusterAccess) => Promise<Answer>,
): Promise<void> {
  const servers = serversOf(flags.cluster)
  const definition = await loadPipeline(file)
  const log = terminalLogger('error', (line) => void process.stderr.write(`${line}\n`))
  const { value, lines } = await withCluster(definition, servers, { world: realWorld, log }, work)
  process.stdout.write(`${flags.json === true ? JSON.stringify(value, null, 2) : lines.join('\n')}\n`)
}

/** Of a node or a processor: it becomes a part of keys and subjects. */
export function nameOption(text: string): string {
  if (!namePattern.test(text)) throw new InvalidArgumentError('1 to 64 of A-Z, a-z, 0-9, _ and -.')
  return text
}

export function usage(message: string, remedy: string): TroupeError {
  return new TroupeError({ code: 'usage', message, remedy, exitCode: 2 })
}
