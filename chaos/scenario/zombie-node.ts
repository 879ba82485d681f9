/**
 * A node is paused in the very moment in which it would send a batch that it has built: of a reader, or the checkpoint of a
 * partition's owner. Another seals and goes on. Then the first one wakes, and sends it: the log must refuse it, and
 * the node say so. On three NATS servers, on one, and with nodes that do not look at their leases, so that nothing but
 * the log can stop them.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { compiled } from '../compiled.js'
import type { Asleep } from '../runtime/sleep.js'
import { type ObedientRuntime, startObedient } from '../runtime/start.js'
import { stopAll, tellLastWords } from './last-words.js'
import { type LogWatch, watchLog } from './log-watch.js'
import { type NatsTrio, startNatsOne, startNatsTrio } from './nats-trio.js'
import { repeats, type Scenario } from './scenario.js'
import { setStage } from './stage.js'

const leaseMs = 1_500
/** For how long the server's answer is listened for, once the node has said that it is fenced. */
const hearingMs = 5_000
/** Whose commit it holds: the readers', then an owner's. */
const subjects = ['troupe.chaos.ck.reader.db ', 'troupe.chaos.ck.proc.copy.key.', 'troupe.chaos.ck.reader.clicks ']
/** Rounds more, for the subjects whose refusal nobody has heard yet: whoever woke too late proves nothing. */
const mostMore = 3
const refusal = /the log has refused our commit \(10071\): another owner has sealed/
/** Who woke so late that it had given up waiting for the reply reads what stands there instead. */
const fencedOff = /another owner has sealed/

interface Ground {
  readonly nats: () => Promise<NatsTrio>
  readonly planted?: readonly string[]
}

const zombie =
  ({ nats: startServers, planted = [] }: Ground): Scenario =>
  async ({ seed, faults, rate, progress }) => {
    const rounds = faults ?? 6
    const stage = await setStage({ seed, rate })
    const nats = await startServers()
    const file = join(stage.folder, 'sleep')
    const preload = pathToFileURL(compiled(new URL('../runtime/sleep.js', import.meta.url)))
    const environment = { CHAOS_SLEEP: file, NODE_OPTIONS: `--import ${preload}` }
    const pipeline = stage.pipeline({
      lease: leaseMs,
      holdback: 0,
      exactlyOnce: true,
      data: join(stage.folder, 'data'),
    })
    const start = (node: string) =>
      startObedient(pipeline, { planted, cluster: { servers: nats.url, node } }, environment)
    const nodes: ObedientRuntime[] = ['n1', 'n2'].map(start)
    let watch: LogWatch | null = null
    const recoveries: number[] = []
    const broken: string[] = []
    /** Batches that the log has refused, by whose they were. */
    const refusals = new Map<string, number>()
    const unheard = () => [...refusals].filter(([, times]) => times === 0).map(([subject]) => subject)
    let round = 0
    try {
      await Promise.all(nodes.map((node) => node.running))
      watch = await watchLog(nats.url, 'chaos')
      await stage.load()
      while (round < rounds || (unheard().length > 0 && round < rounds + mostMore)) {
        await stage.pause(200, 1_500)
        const subject = round < rounds ? subjects[round % subjects.length]! : unheard()[0]!
        round++
        writeFileSync(file, subject)
        await stage.until('a node builds a batch', async () => existsSync(`${file}.asleep`))
        const asleep = JSON.parse(readFileSync(`${file}.asleep`, 'utf8')) as Asleep
        rmSync(`${file}.asleep`)
        const sleeper = nodes.find((node) => node.pid === asleep.pid)!
        const before = sleeper.said(fencedOff)
        await stage.until('another node seals', async () => watch!.term(asleep.subject) > asleep.term)
        // A socket that slept in an earlier round may have heard a refusal of its own meanwhile.
        rmSync(`${file}.refused`, { force: true })
        const heard = () => existsSync(`${file}.refused`) && readFileSync(`${file}.refused`, 'utf8') === asleep.subject
        sleeper.signal('SIGCONT')
        const woken = performance.now()
        await stage.until('the log refuses what the woken node sends', async () => {
          const waited = performance.now() - woken
          if (sleeper.said(fencedOff) > before) return heard() || waited > hearingMs
          // Who has seen first that its lease is gone stops what it had, and may say nothing of the refusal.
          return waited > 2 * hearingMs
        })
        const seen = heard()
        refusals.set(subject, (refusals.get(subject) ?? 0) + (seen ? 1 : 0))
        recoveries.push(await stage.recovered())
        progress(
          `${round} of ${rounds}: n${nodes.indexOf(sleeper) + 1} woke with ${asleep.subject}, ${seen ? 'and was refused (10071)' : 'too late to hear the refusal'}; ${recoveries.at(-1)} ms`,
        )
      }
      await stage.settle()
      await stage.until('the log drains', () => nats.drained('chaos'))
      const { seals, frames } = watch
      broken.push(...watch.wrong)
      const told = nodes.reduce((sum, node) => sum + node.said(refusal), 0)
      if (frames === 0 || seals === 0) broken.push(`the watch of the log saw ${frames} frames and ${seals} seals`)
      for (const subject of unheard())
        broken.push(`no batch of a woken node to ${subject.trim()} was refused by the log (10071)`)
      if (told === 0) broken.push('no woken node said that the log has refused its commit')
      broken.push(...(await stopAll(nodes)))
      const refused = [...refusals.values()].reduce((sum, times) => sum + times, 0)
      const check = await stage.judge()
      broken.push(...repeats(check))
      return { faults: round, recoveries, lossWindows: 0, broken, check, notes: { refused, told, seals, frames } }
    } catch (error) {
      await tellLastWords(nodes, progress)
      throw error
    } finally {
      for (const node of nodes) await node.kill()
      await watch?.stop()
      await nats.stop()
      await stage.clear()
    }
  }

export const zombieNode = zombie({ nats: () => startNatsTrio() })
export const zombieNodeSingle = zombie({ nats: () => startNatsOne() })
export const zombieNodeBlind = zombie({ nats: () => startNatsTrio(), planted: ['ignore-leases'] })
