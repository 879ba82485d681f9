/** Starts the runtime as a child: through the command line (`troupe run`), or as the child of main.ts that obeys. */
import { type ChildProcess, fork } from 'node:child_process'
import { compiled } from '../compiled.js'
import type { FromRuntime, ToRuntime, Torment } from './main.js'
import type { ChaosPipeline } from './pipeline.js'

const readyMs = 60_000
const answerMs = 20_000
const mostLines = 20_000

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** The end of what it said. */
  readonly said: string
}

export interface Runtime {
  readonly pid: number
  readonly ended: Promise<Exit>
  signal(name: NodeJS.Signals): void
  /** SIGKILL, and waits until it is gone. */
  kill(): Promise<void>
  /** It has said that it runs. */
  readonly runs: Promise<void>
  /** SIGTERM: drains. */
  stop(): Promise<Exit>
  /** How often it has said this. */
  said(pattern: RegExp): number
}

export interface ObedientRuntime extends Runtime {
  /** Resolves when the pipeline runs; rejects where it ends before. */
  readonly running: Promise<void>
  ask<T extends FromRuntime['type']>(message: ToRuntime, type: T): Promise<Extract<FromRuntime, { type: T }>>
}

/** `troupe run` on the chaos pipeline. */
export function startThroughCli(pipeline: ChaosPipeline): Runtime {
  const cli = compiled(new URL('../../src/cli/main.js', import.meta.url))
  const file = compiled(new URL('./pipeline.js', import.meta.url))
  return watch(launch(cli, ['run', file, '--log-level', 'warn'], pipeline))
}

/** `troupe run --cluster` on it: one node. */
export function startNode(pipeline: ChaosPipeline, servers: string, node: string): Runtime {
  const cli = compiled(new URL('../../src/cli/main.js', import.meta.url))
  const file = compiled(new URL('./pipeline.js', import.meta.url))
  return watch(
    launch(cli, ['run', file, '--cluster', servers, '--node', node, '--log-level', 'info', '--json'], pipeline),
  )
}

export function startObedient(
  pipeline: ChaosPipeline,
  torment: Torment = {},
  environment: Readonly<Record<string, string>> = {},
): ObedientRuntime {
  const main = compiled(new URL('./main.js', import.meta.url))
  const child = launch(main, [JSON.stringify(torment)], pipeline, environment)
  const runtime = watch(child)
  const next = <T extends FromRuntime['type']>(type: T, deadlineMs: number) =>
    new Promise<Extract<FromRuntime, { type: T }>>((resolve, reject) => {
      const deadline = setTimeout(() => reject(new Error(`the runtime did not say '${type}' in time`)), deadlineMs)
      const listen = (message: FromRuntime) => {
        if (message.type !== type) return
        clearTimeout(deadline)
        child.off('message', listen)
        resolve(message as Extract<FromRuntime, { type: T }>)
      }
      child.on('message', listen)
      void runtime.ended.then(({ said }) => {
        clearTimeout(deadline)
        reject(new Error(`the runtime ended: ${said.trim().split('\n').at(-1)}`))
      })
    })
  const running = next('running', readyMs).then(() => {})
  running.catch(() => {})
  return {
    ...runtime,
    running,
    ask(message, type) {
      const answer = next(type, answerMs)
      child.send(message)
      return answer
    },
  }
}

function launch(
  module: string,
  args: readonly string[],
  pipeline: ChaosPipeline,
  environment: Readonly<Record<string, string>> = {},
): ChildProcess {
  return fork(module, args, {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    execArgv: [],
    env: { ...process.env, CHAOS_PIPELINE: JSON.stringify(pipeline), ...environment },
  })
}

function watch(child: ChildProcess): Runtime {
  let said = ''
  /** Whole lines, the newest last. */
  const lines: string[] = []
  let rest = ''
  let running = () => {}
  const runs = new Promise<void>((resolve) => {
    running = resolve
  })
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-8_000)
    const parts = (rest + text).split('\n')
    rest = parts.pop()!
    lines.push(...parts)
    if (lines.length > mostLines) lines.splice(0, lines.length - mostLines)
    if (said.includes('"msg":"running"')) running()
  })
  const ended = new Promise<Exit>((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, said }))
    child.on('error', (error) => resolve({ code: null, signal: null, said: error.message }))
  })
  void ended.then(() => running())
  const signal = (name: NodeJS.Signals) => void child.kill(name)
  return {
    pid: child.pid!,
    ended,
    runs,
    signal,
    said: (pattern) => lines.filter((line) => pattern.test(line)).length,
    async kill() {
      signal('SIGKILL')
      await ended
    },
    stop() {
      signal('SIGTERM')
      return ended
    },
  }
}
