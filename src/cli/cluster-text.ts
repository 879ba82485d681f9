/** What a cluster says, for a person. */
import type { WhyAnswer } from '../operator/cluster/explain.js'
import type { Retirement } from '../operator/cluster/retire.js'
import type { Sought } from '../operator/cluster/seek.js'
import type { ClusterStatus, OwnerLine, PartitionLine } from '../operator/cluster/status.js'
import { bytesText } from '../pipeline/explain-text.js'
import { countText, elapsedText, tableLines } from './format.js'

export function clusterLines(status: ClusterStatus): string[] {
  const { log, departed, problems } = status
  const age = (at: number | null): string =>
    at === null ? 'none yet' : `${elapsedText(Math.max(0, status.at - at))} ago`
  const used =
    log.limitBytes === null || log.used === null
      ? 'no limit'
      : `of ${bytesText(log.limitBytes)}, ${(100 * log.used).toFixed(log.used < 0.1 ? 1 : 0)} %`
  return [
    `${status.pipeline}  ${status.nodes.filter(({ state }) => state !== 'lost').length} nodes  durability ${status.durability}, holdback ${elapsedText(status.holdbackMs)}`,
    ...ordersLines(status),
    ...tableLines(
      status.nodes.map(({ node, state, version, beatAgeMs, holds }) => [
        `node ${node}`,
        state,
        `version ${version}`,
        `beat ${elapsedText(beatAgeMs)} ago`,
        `holds ${holds.length === 0 ? 'nothing' : holds.join(' ')}`,
      ]),
    ),
    ...tableLines(
      status.readers.map((line) => [
        `reader ${line.source}`,
        ownerText(line),
        termText(line),
        `checkpoint ${age(line.checkpointAt)}`,
      ]),
    ),
    ...tableLines(
      status.partitions.map((line) => [
        `partition ${line.set}.${line.partition}`,
        ownerText(line),
        termText(line),
        `${countText(line.frames.retained)} frames retained`,
        ...line.processors.map((one) => `${lagText(one)}, checkpoint ${age(one.checkpointAt)}`),
      ]),
    ),
    `  log ${bytesText(log.bytes)} ${used}, ${countText(log.messages)} messages`,
    ...(log.stoppedBy === null ? [] : [`  the log is at its mark, and readers wait for ${log.stoppedBy}`]),
    ...departed.map(
      ({ processor, partitions, sequence }) =>
        `  processor ${processor} left the pipeline: it pins the log behind ${sequence} in ${partitions.join(', ')} until \`troupe retire ${processor}\``,
    ),
    ...problems.map((problem) => `  ignored ${problem}`),
  ]
}

function ordersLines({ orders }: ClusterStatus): string[] {
  const said = [
    ...(orders.paused ? ['the pipeline is paused'] : []),
    ...(orders.rolling ? ['a rolling upgrade is under way'] : []),
    ...orders.draining.map((node) => `node ${node} is drained`),
    ...orders.pausedProcessors.map((processor) => `processor ${processor} is paused`),
  ]
  return said.length === 0 ? [] : [`  orders: ${said.join(', ')}`]
}

function ownerText({ node, lease, leaseRevision }: OwnerLine): string {
  return node === null ? `nobody (${lease})` : `${node} (lease ${leaseRevision})`
}

function termText({ term }: OwnerLine): string {
  return term === 0 ? 'never owned' : `term ${term}`
}

function lagText({ processor, sequence, lag, paused }: PartitionLine['processors'][number]): string {
  const order = paused ? ', paused by order' : ''
  if (sequence === null) return `${processor} has not begun${order}`
  const place = lag === 0 ? `${processor} is through` : `${processor} at ${sequence}, ${countText(lag)} behind`
  return `${place}${order}`
}

export function seekLines({ processor, partitions }: Sought): string[] {
  const ends = {
    owner: 'its owner has begun anew',
    free: 'nobody holds it: whoever takes it begins there',
    unanswered: 'its owner has not begun anew yet: see `troupe why`',
    unchanged: 'as it was',
  } as const
  return tableLines(
    partitions.map(({ partition, from, to, again, skipped, takenUp }) => [
      `${processor} in ${partition}`,
      from === to ? `stays at ${from}` : `from ${from} to ${to}`,
      skipped > 0 ? `${countText(skipped)} events are passed over` : `${countText(again)} events come again`,
      ends[takenUp],
    ]),
  )
}

export function retirementLines({ processor, partitions }: Retirement): string[] {
  return tableLines(
    partitions.map(({ partition, sequence, at, retained, unfinished }) => [
      `${processor} in ${partition}`,
      `finished up to ${sequence}`,
      at === 0 ? '' : `at ${new Date(at).toISOString()}`,
      `${countText(retained)} frames retained`,
      unfinished ? 'has not finished them: they are lost to it' : 'has finished all of them',
    ]),
  )
}

export function whyLines({ owner, death, explanation, processors, refused, told }: WhyAnswer): string[] {
  const { desired, why, hold, standing, candidates } = explanation
  return [
    `${owner.resource}  ${ownerText(owner)}${death === null ? '' : `: ${death}`}, lease revision ${owner.leaseRevision}, ${termText(owner)}`,
    `  desired ${desired ?? 'nobody'}: ${why}${hold === null ? '' : `; no voluntary moves: ${hold}`}`,
    ...processors.map((one) => `  ${lagText(one)}`),
    ...refused.map(
      ({ node, count, why }) =>
        `  ${countText(count)} commits of ${node} were refused here, the last one because ${why}`,
    ),
    ...(standing.to === undefined ? [] : [`  released to ${standing.to}`]),
    ...(standing.home === undefined ? [] : [`  home ${standing.home}`]),
    ...tableLines(
      candidates.map(({ node, state, score, weight, load, bounds, avoided }) => [
        node,
        state,
        `score ${score.toFixed(3)}`,
        `weight ${weight}`,
        `is to hold ${load} of ${bounds.least} to ${bounds.most}`,
        avoided ? 'could not keep it running' : '',
      ]),
    ),
    ...(told === null ? [] : toldLines(told)),
  ]
}

function toldLines({ node, problem, view, figures }: NonNullable<WhyAnswer['told']>): string[] {
  return [
    ...(problem === null ? [] : [`  node ${node} did not tell all: ${problem}`]),
    ...(figures === null
      ? []
      : [
          `  node ${node} sealed it with term ${figures.term}; since then ${figures.commits} commits, ${figures.refused} refused, ` +
            `${figures.ambiguous} without an answer, ${figures.retries} sent again`,
        ]),
    ...(view?.unit == null
      ? []
      : [
          `  its unit is ${view.unit.unit}${view.unit.lastError === undefined ? '' : `; last it failed with ${view.unit.lastError}`}`,
        ]),
    ...tableLines((view?.events ?? []).map(({ at, type, text }) => [new Date(at).toISOString(), type, text])),
  ]
}
