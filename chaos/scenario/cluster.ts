/**
 * Three NATS servers and three nodes under load: nodes are killed, and paused for longer than their lease; NATS servers are
 * killed and started again. Whatever goes, the others carry on.
 */
import { join } from 'node:path'
import { type Runtime, startNode } from '../runtime/start.js'
import { stopAll, tellLastWords } from './last-words.js'
import { startNatsTrio } from './nats-trio.js'
import { type Ordeal, repeats, type Scenario, type ScenarioOptions } from './scenario.js'
import { setStage } from './stage.js'

const leaseMs = 1_500
const kinds = ['kill-node', 'pause-node', 'kill-nats'] as const

export const cluster: Scenario = (options) => torment('read', options)

/** The same, reading the stream through its consumer group. */
export const clusterGroup: Scenario = (options) => torment('group', options)

async function torment(mode: 'read' | 'group', { seed, faults, rate, progress }: ScenarioOptions): Promise<Ordeal> {
  const count = faults ?? 30
  const stage = await setStage({ seed, rate })
  const nats = await startNatsTrio()
  const pipeline = stage.pipeline({
    mode,
    lease: leaseMs,
    holdback: 0,
    exactlyOnce: true,
    data: join(stage.folder, 'data'),
  })
  const start = (index: number) => startNode(pipeline, nats.url, `n${index + 1}`)
  const nodes: Runtime[] = [0, 1, 2].map(start)
  const recoveries: number[] = []
  const counts: Record<string, number> = { 'kill-node': 0, 'pause-node': 0, 'kill-nats': 0 }
  try {
    await stage.load()
    for (let fault = 1; fault <= count; fault++) {
      await stage.pause(200, 1_500)
      const kind = kinds[fault <= kinds.length ? fault - 1 : stage.seed.below(kinds.length)]!
      const victim = stage.seed.below(3)
      counts[kind]!++
      switch (kind) {
        case 'kill-node':
          await nodes[victim]!.kill()
          recoveries.push(await stage.recovered())
          nodes[victim] = start(victim)
          break
        case 'pause-node': {
          nodes[victim]!.signal('SIGSTOP')
          // Measured from here: when the pause ends, the others have long taken over.
          const [recovery] = await Promise.all([stage.recovered(), stage.pause(leaseMs + 500, leaseMs + 2_500)])
          recoveries.push(recovery)
          await stage.recovered()
          nodes[victim]!.signal('SIGCONT')
          break
        }
        case 'kill-nats':
          await nats.servers[victim]!.kill()
          await stage.pause(0, 2_000)
          await nats.servers[victim]!.restart()
          recoveries.push(await stage.recovered())
          break
      }
      progress(
        `${fault} of ${count}: ${kind} ${victim + 1}, back after ${recoveries.at(-1)} ms, ${await stage.sinkLength()} records`,
      )
    }
    await Promise.all(nodes.map((node) => node.runs))
    await stage.recovered()
    await stage.settle()
    await stage.until('the log drains', () => nats.drained('chaos'))
    const broken = await stopAll(nodes)
    const check = await stage.judge(mode)
    broken.push(...repeats(check))
    return { faults: count, recoveries, lossWindows: 0, broken, check, notes: counts }
  } catch (error) {
    await tellLastWords(nodes, progress)
    throw error
  } finally {
    for (const node of nodes) await node.kill()
    await nats.stop()
    await stage.clear()
  }
}
