/**
 * NATS servers that forget what they had acknowledged, as after a power failure of servers that sync late: their stores are
 * copied, more goes through and is processed, they are killed, and the older stores are put back.
 *
 * Within the holdback nothing is lost: the sources were not told yet, and read it again; `log-rewind` is said, and a sink
 * that stores the checkpoint takes nothing twice. Beyond it (`beyond`) the source was told, and what the log held of it
 * is gone: then the source must stop with `slot-ahead`, or with `onGap: report` go on behind a loss window.
 */
import { join } from 'node:path'
import { copyStore, type StoreCopy } from '../../src/servers/index.js'
import { type ObedientRuntime, startObedient } from '../runtime/start.js'
import { type NatsTrio, startNatsOne, startNatsTrio } from './nats-trio.js'
import { repeats, type Scenario } from './scenario.js'
import { setStage } from './stage.js'

const leaseMs = 1_500
const holdbackMs = 10_000
/** From the copy to the kill: what is stored in between must not have been confirmed. */
const withinMs = 0.8 * holdbackMs
const mostCopies = 20
const rewound = /log-rewind|speaks of frames that the log has lost/

const lost =
  (startServers: () => Promise<NatsTrio>): Scenario =>
  async ({ seed, faults, rate, progress }) => {
    const rounds = faults ?? 3
    const stage = await setStage({ seed, rate })
    const nats = await startServers()
    const pipeline = stage.pipeline({
      lease: leaseMs,
      holdback: holdbackMs,
      exactlyOnce: true,
      data: join(stage.folder, 'data'),
    })
    const nodes: ObedientRuntime[] = ['n1', 'n2'].map((node) =>
      startObedient(pipeline, { cluster: { servers: nats.url, node } }),
    )
    const recoveries: number[] = []
    const broken: string[] = []
    let said = 0
    try {
      await Promise.all(nodes.map((node) => node.running))
      await stage.load()
      for (let round = 1; round <= rounds; round++) {
        await stage.pause(200, 1_000)
        const copies = await copyAndGoOn()
        const heard = count()
        await Promise.all(nats.servers.map((server) => server.kill()))
        for (const copy of copies) await copy.putBackStore()
        await Promise.all(nats.servers.map((server) => server.restart()))
        await stage.until('the lost tail is reported', async () => count() > heard)
        recoveries.push(await stage.grown())
        said += count() - heard
        progress(`${round} of ${rounds}: the log lost its tail; back after ${recoveries.at(-1)} ms`)
      }
      await stage.settle()
      await stage.until('the log drains', () => nats.drained('chaos'))
      const exits = await Promise.all(nodes.map((node) => node.stop()))
      for (const [index, exit] of exits.entries())
        if (exit.code !== 0)
          broken.push(`node ${index + 1} ended with ${exit.signal ?? exit.code}: ${exit.said.slice(-1_500)}`)
      const check = await stage.judge()
      broken.push(...repeats(check))
      return { faults: rounds, recoveries, lossWindows: 0, broken, check, notes: { said } }
    } catch (error) {
      for (const [index, node] of nodes.entries()) {
        node.signal('SIGKILL')
        progress(`node ${index + 1} said: ${(await node.ended).said.slice(-3_000)}`)
      }
      throw error
    } finally {
      for (const node of nodes) await node.kill()
      await nats.stop()
      await stage.clear()
    }
    /** A machine that is too busy to get beyond the copy within the holdback proves nothing: then it is copied again. */
    async function copyAndGoOn(): Promise<readonly StoreCopy[]> {
      for (let attempt = 1; attempt <= mostCopies; attempt++) {
        const begun = performance.now()
        const copies = await Promise.all(nats.servers.map((server) => copyStore(server)))
        const before = await stage.sinkLength()
        await stage.until('more is processed', async () => (await stage.sinkLength()) > before + rate / 2)
        await stage.pause(0, 1_000)
        if (performance.now() - begun < withinMs) return copies
      }
      throw new Error(`nothing was processed within ${withinMs} ms of a copy, ${mostCopies} times`)
    }
    function count(): number {
      return nodes.reduce((sum, node) => sum + node.said(rewound), 0)
    }
  }

export const lostTail = lost(() => startNatsTrio(false))
export const lostTailSingle = lost(() => startNatsOne(false))

/** Everything was processed, and confirmed to the source, before the log forgot it. */
export const lostTailBeyond: Scenario = async ({ seed, rate, progress }) => {
  const stage = await setStage({ seed, rate })
  const nats = await startNatsOne(false)
  const broken: string[] = []
  const cluster = { servers: nats.url, node: 'n1' }
  const settings = { lease: leaseMs, holdback: 1_000, exactlyOnce: true, data: join(stage.folder, 'data') }
  let node = startObedient(stage.pipeline(settings), { cluster })
  try {
    await node.running
    await stage.load()
    const copy = await copyStore(nats.servers[0]!)
    await stage.recovered()
    await stage.settle()
    await stage.until('the log drains', () => nats.drained('chaos'))
    await nats.servers[0]!.kill()
    await copy.putBackStore()
    await nats.servers[0]!.restart()
    progress('the log lost what the source was told to forget')
    await stage.until('the source says so and stops', async () => node.said(/slot-ahead/) > 0)
    progress('refused with slot-ahead')
    await node.stop()

    node = startObedient(stage.pipeline({ ...settings, onGap: 'report' }), { cluster })
    await node.running
    let lossWindows = 0
    await stage.until('a loss window is reported', async () => {
      lossWindows = (await node.ask({ type: 'status' }, 'status')).lossWindows
      return lossWindows > 0
    })
    await stage.settle()
    await stage.until('the log drains', () => nats.drained('chaos'))
    const exit = await node.stop()
    if (exit.code !== 0) broken.push(`the node ended with ${exit.signal ?? exit.code}: ${exit.said.slice(-1_500)}`)
    const check = await stage.judge()
    broken.push(...repeats(check))
    return { faults: 1, recoveries: [], lossWindows, broken, check }
  } catch (error) {
    node.signal('SIGKILL')
    progress(`the node said: ${(await node.ended).said.slice(-3_000)}`)
    throw error
  } finally {
    await node.kill()
    await nats.stop()
    await stage.clear()
  }
}
