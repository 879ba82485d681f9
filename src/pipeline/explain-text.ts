/** An explanation for a person to read. */
import type { Explanation } from './explain.js'
import { formatDuration } from './scalar.js'

export function explanationText(explanation: Explanation): string {
  const lines = [
    `Pipeline ${explanation.pipeline}`,
    `  ${explanation.partitions} partitions over ${threadsText(explanation.threads)}, checkpoint every ${formatDuration(explanation.checkpointInterval)}, stop within ${formatDuration(explanation.stopDeadline)}`,
    `  unfinished at most ${bytesText(explanation.credits.partitionBytes)} a partition, ${bytesText(explanation.credits.pipelineBytes)} in all; then sources are not read`,
    `  data in ${explanation.dataDirectory}`,
    ...clusterLines(explanation.cluster),
    '',
    'Paths',
  ]
  for (const path of explanation.paths) {
    const handler = path.handler === 'pass' ? '' : ` [${path.handler} handler]`
    lines.push(
      `  ${path.source} (${path.sourceKind}) → ${path.processor}${handler} → ${path.sink ?? 'nowhere'}`,
      `    guarantee  ${path.guarantee}: ${path.reason}`,
      `    order      ${path.order}: ${path.ordering}`,
      `    takes      ${path.filter}, in ${path.partitions === 1 ? '1 partition' : `${path.partitions} partitions`}`,
    )
  }
  lines.push('', 'Connections')
  for (const server of explanation.servers) {
    lines.push(`  ${server.server}: ${server.connections}`)
    for (const use of server.uses) lines.push(`    ${String(use.count).padStart(3)}  ${use.by}: ${use.purpose}`)
  }
  if (explanation.servers.length === 0) lines.push('  none')
  return `${lines.join('\n')}\n`
}

function clusterLines(cluster: Explanation['cluster']): string[] {
  if (cluster === null) return []
  const { replicas, maxBytes, durability, holdback, retain, lease } = cluster
  const copies = replicas === null ? 'three replicas, or one where there is one NATS server' : `${replicas} replicas`
  return [
    `  on a cluster: a log of ${copies}, at most ${bytesText(maxBytes)}, readers stop at 80 %; a silent node is dead after ${formatDuration(lease)}`,
    `  ${durability}: a source may forget what was stored ${holdback === 0 ? 'at once' : `${formatDuration(holdback)} after that`}; processed events stay ${retain === 0 ? 'no longer' : formatDuration(retain)}`,
  ]
}

function threadsText(threads: number): string {
  if (threads === 0) return 'the main thread'
  return threads === 1 ? '1 thread' : `${threads} threads`
}

export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${value >= 100 || Number.isInteger(value) ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}
