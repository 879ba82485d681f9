/** `troupe status` and `troupe tree`: what a running node says of itself, through the local socket of its data directory. */
import { existsSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { Command } from 'commander'
import { askNode } from '../operator/client.js'
import { loadPipeline } from '../pipeline/load.js'
import { TroupeError } from '../world/error.js'
import { realWorld } from '../world/real.js'
import { type ClusterFlags, clusterOption } from './cluster-access.js'
import { tableLines } from './format.js'
import { statusLines } from './status-text.js'
import { treeLines } from './tree-text.js'

interface NodeFlags {
  readonly data?: string
  readonly cluster?: string
  readonly json?: boolean
}

export function statusCommand(): Command {
  return nodeCommand(
    'status',
    'sources, processors, partitions and memory of a running pipeline',
    async (directory) => {
      const status = await askNode(directory, 'status', { world: realWorld })
      const partitions = status.partitions.map(
        ({ set, partition, state, thread, outstandingFrames, events, restarts }) => [
          `${set} ${partition}`,
          state,
          thread ?? '-',
          `${events} events`,
          `${outstandingFrames} frames unfinished`,
          `${restarts} restarts`,
        ],
      )
      return { value: status, lines: [...statusLines(status, null), ...tableLines(partitions, '    ')] }
    },
    async (file, flags) => {
      const { statusOfCluster } = await import('./cluster-commands.js')
      await statusOfCluster(file, flags)
    },
  )
}

export function treeCommand(): Command {
  return nodeCommand('tree', 'the live supervision tree: state, thread, mailbox, restarts', async (directory) => {
    const tree = await askNode(directory, 'tree', { world: realWorld })
    return { value: tree, lines: treeLines(tree) }
  })
}

function nodeCommand(
  name: string,
  description: string,
  ask: (directory: string) => Promise<{ readonly value: unknown; readonly lines: readonly string[] }>,
  askCluster?: (file: string | undefined, flags: ClusterFlags) => Promise<void>,
): Command {
  const command = new Command(name)
    .description(description)
    .argument('[file]', 'the pipeline that it runs; without it, the one data directory under .troupe/')
    .option('--data <directory>', 'its data directory')
    .option('--json', 'as JSON')
    .action(async (file: string | undefined, flags: NodeFlags) => {
      const { cluster } = flags
      if (cluster !== undefined && askCluster !== undefined) return askCluster(file, { ...flags, cluster })
      const { value, lines } = await ask(await dataDirectoryOf(file, flags))
      const text = flags.json === true ? JSON.stringify(value, null, 2) : lines.join('\n')
      process.stdout.write(`${text}\n`)
    })
  return askCluster === undefined ? command : command.option(...clusterOption)
}

async function dataDirectoryOf(file: string | undefined, flags: NodeFlags): Promise<string> {
  if (flags.data !== undefined) return resolve(flags.data)
  if (file !== undefined) return (await loadPipeline(file)).dataDirectory
  const found = existsSync('.troupe')
    ? readdirSync('.troupe', { withFileTypes: true }).filter((entry) => entry.isDirectory())
    : []
  if (found.length === 1) return resolve(join('.troupe', found[0]!.name))
  throw new TroupeError({
    code: 'usage',
    message:
      found.length === 0
        ? 'there is no data directory under .troupe/ here'
        : `there are ${found.length} data directories under .troupe/ here`,
    remedy: 'name the pipeline’s file, or its data directory with --data',
    exitCode: 2,
  })
}
