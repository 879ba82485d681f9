import type { Scenario } from './scenario.js'

/** Every scenario by its name; loaded when asked for. */
export const scenarios: Readonly<Record<string, () => Promise<Scenario>>> = {
  'crash-troupe': async () => (await import('./crash-troupe.js')).crashTroupe,
  'crash-troupe-fenced': async () => (await import('./crash-troupe.js')).crashTroupeFenced,
  'crash-thread-fenced': async () => (await import('./crash-thread.js')).crashThreadFenced,
  'crash-postgres': async () => (await import('./crash-server.js')).crashPostgres,
  'crash-redis': async () => (await import('./crash-server.js')).crashRedis,
  'crash-thread': async () => (await import('./crash-thread.js')).crashThread,
  'stale-checkpoint': async () => (await import('./stale-checkpoint.js')).staleCheckpoint,
  'delayed-flush': async () => (await import('./delayed-flush.js')).delayedFlush,
  cluster: async () => (await import('./cluster.js')).cluster,
  'cluster-group': async () => (await import('./cluster.js')).clusterGroup,
  'zombie-node': async () => (await import('./zombie-node.js')).zombieNode,
  'zombie-node-single': async () => (await import('./zombie-node.js')).zombieNodeSingle,
  'zombie-node-blind': async () => (await import('./zombie-node.js')).zombieNodeBlind,
  'lost-tail': async () => (await import('./lost-tail.js')).lostTail,
  'lost-tail-single': async () => (await import('./lost-tail.js')).lostTailSingle,
  'lost-tail-beyond': async () => (await import('./lost-tail.js')).lostTailBeyond,
  'zombie-reader': async () => (await import('./zombie-reader.js')).zombieReader,
}
