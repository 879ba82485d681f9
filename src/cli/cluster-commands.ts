/** The commands on a whole cluster, from any machine that reaches its NATS servers. */
import { Argument, Command, InvalidArgumentError } from 'commander'
import type { ClusterAccess } from '../operator/cluster/connect.js'
import { TroupeError } from '../world/error.js'
import { type Answer, type ClusterFlags, clusterOption, nameOption, onCluster, usage } from './cluster-access.js'
import { clusterLines, retirementLines, seekLines, whyLines } from './cluster-text.js'

/** `troupe status FILE --cluster`. */
export async function statusOfCluster(file: string | undefined, flags: ClusterFlags): Promise<void> {
  if (file === undefined)
    throw usage('the status of a cluster needs the pipeline’s file', 'troupe status FILE --cluster SERVERS')
  const { clusterStatus } = await import('../operator/cluster/status.js')
  await onCluster(file, flags, async (access) => {
    const status = await clusterStatus(access)
    return { value: status, lines: clusterLines(status) }
  })
}

export function drainCommand(): Command {
  return clusterCommand('drain', 'let a node of a cluster give everything away and take nothing')
    .argument('<node>', 'its name', nameOption)
    .argument('<file>', 'the pipeline')
    .option('--undo', 'let it take part again')
    .action(async (node: string, file: string, flags: ClusterFlags & { readonly undo?: boolean }) => {
      const { mustBeKnown } = await import('../operator/cluster/orders.js')
      const { keys } = await import('../membership/keys.js')
      const undo = flags.undo === true
      await onCluster(file, flags, async (access) => {
        const known = () => mustBeKnown(access, node)
        if (!undo) await known()
        return order(access, keys.drain(node), !undo, `node ${node} ${undo ? 'takes part again' : 'is drained'}`, known)
      })
    })
}

export function pauseCommand(): Command {
  return pausing('pause', 'let nobody in a cluster work, or one processor rest, until it is resumed', true)
}

export function resumeCommand(): Command {
  return pausing('resume', 'let a cluster, or one processor, work again that was paused', false)
}

export function rollingCommand(): Command {
  return clusterCommand('rolling', 'a rolling upgrade: nothing moves for balance, and who comes back gets back')
    .argument('<file>', 'the pipeline')
    .addArgument(new Argument('<state>', 'on or off').choices(['on', 'off']))
    .action(async (file: string, state: 'on' | 'off', flags: ClusterFlags) => {
      const { keys } = await import('../membership/keys.js')
      const on = state === 'on'
      await onCluster(file, flags, async (access) =>
        order(access, keys.rolling, on, on ? 'a rolling upgrade is under way' : 'no rolling upgrade is under way'),
      )
    })
}

export function retireCommand(): Command {
  return clusterCommand('retire', 'remove the checkpoints of a processor that left the pipeline: it pins the log')
    .argument('<processor>', 'its name')
    .argument('<file>', 'the pipeline, without it')
    .option('--yes', 'do it; without this, what would be lost is said')
    .action(async (processor: string, file: string, flags: ClusterFlags & { readonly yes?: boolean }) => {
      const { planRetirement, retire } = await import('../operator/cluster/retire.js')
      await onCluster(file, flags, async (access) => {
        const planned = await planRetirement(access, processor)
        const { retirement } = planned
        const lines = retirementLines(retirement)
        if (flags.yes !== true)
          throw new TroupeError({
            code: 'not-confirmed',
            message: ['nothing was removed. It would be:', ...lines].join('\n'),
            place: `processor ${processor}`,
            remedy: 'say --yes to remove its checkpoints for good',
            exitCode: 2,
          })
        await retire(access, planned)
        return { value: { ...retirement, retired: true }, lines: [...lines, `processor ${processor} is retired`] }
      })
    })
}

export function whyCommand(): Command {
  return clusterCommand('why', 'why a partition or reader of a cluster is where it is')
    .argument('<resource>', 'key.3, part.key.3 or reader.db')
    .argument('<file>', 'the pipeline')
    .action(async (resource: string, file: string, flags: ClusterFlags) => {
      const { whyThere } = await import('../operator/cluster/explain.js')
      await onCluster(file, flags, async (access) => {
        const answer = await whyThere(access, resource)
        return { value: answer, lines: whyLines(answer) }
      })
    })
}

export function seekCommand(): Command {
  return clusterCommand('seek', 'put a paused processor elsewhere in the log that the cluster retains')
    .argument('<file>', 'the pipeline')
    .argument('<processor>', 'its name')
    .requiredOption(
      '--to <place>',
      'earliest, latest, a sequence of the log, a position (0/16B3748, 1700000000000-0, db:…), or a time (2026-01-31T12:00:00Z)',
    )
    .option('--skip <events>', 'pass over at most so many events that it has not finished', countOption, 0)
    .action(
      async (file: string, processor: string, flags: ClusterFlags & { readonly to: string; readonly skip: number }) => {
        const [{ seek }, { parseTarget }] = await Promise.all([
          import('../operator/cluster/seek.js'),
          import('../operator/cluster/seek-target.js'),
        ])
        const to = parseTarget(flags.to)
        await onCluster(file, flags, async (access) => {
          const sought = await seek(access, { processor, to, skip: flags.skip })
          return { value: sought, lines: seekLines(sought) }
        })
      },
    )
}

function countOption(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('A number of events.')
  return Number(text)
}

function pausing(name: 'pause' | 'resume', description: string, paused: boolean): Command {
  return clusterCommand(name, description)
    .argument('<file>', 'the pipeline')
    .argument('[processor]', 'this one alone; without it, the whole pipeline', nameOption)
    .action(async (file: string, processor: string | undefined, flags: ClusterFlags) => {
      const { mustHaveProcessor } = await import('../operator/cluster/orders.js')
      const { keys } = await import('../membership/keys.js')
      const key = processor === undefined ? keys.pausePipeline : keys.pauseProcessor(processor)
      await onCluster(file, flags, async (access) => {
        const known = () => {
          if (processor !== undefined) mustHaveProcessor(access, processor)
        }
        if (paused) known()
        const what = processor === undefined ? `pipeline ${access.definition.name}` : `processor ${processor}`
        return order(access, key, paused, `${what} ${paused ? 'is paused' : 'goes on'}`, known)
      })
    })
}

/** @param known throws where the name in it is a slip; who has left may still be under an order, which can be withdrawn */
async function order(
  access: ClusterAccess,
  key: string,
  on: boolean,
  text: string,
  known: () => void | Promise<void> = () => {},
): Promise<Answer> {
  const { giveOrder, withdrawOrder } = await import('../operator/cluster/orders.js')
  const change = await (on ? giveOrder(access, key) : withdrawOrder(access, key))
  if (!on && !change.changed) await known()
  return { value: change, lines: [change.changed ? text : `${text} (it was so already)`] }
}

function clusterCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option(...clusterOption)
    .option('--json', 'as JSON')
}
