/**
 * The runtime as a child that can be tormented from inside: runs the chaos pipeline as `troupe run` does, and does what
 * its parent says. Dies with its parent.
 */
import { fileURLToPath } from 'node:url'
import { type Logger, loadPipeline, realWorld, runPipeline } from '../../src/index.js'

/** How it is run, and what is done to it from inside. */
export interface Torment {
  readonly flushDelay?: number
  readonly planted?: readonly string[]
  /** As a node of a cluster. */
  readonly cluster?: { readonly servers: string; readonly node: string }
}

export type ToRuntime = { readonly type: 'kill-thread'; readonly pick: number } | { readonly type: 'status' }

export type FromRuntime =
  | { readonly type: 'running' }
  | { readonly type: 'killed'; readonly thread: string | null }
  | { readonly type: 'status'; readonly lossWindows: number; readonly restarts: number }

const { cluster, ...chaos } = JSON.parse(process.argv[2] ?? '{}') as Torment
const log: Logger = {
  debug() {},
  info() {},
  warn: (fields, message) => note('warn', fields, message),
  error: (fields, message) => note('error', fields, message),
}
function note(level: string, fields: object, message: string): void {
  process.stderr.write(`${level}: ${message} ${JSON.stringify(fields)}\n`)
}
const say = (message: FromRuntime) => process.send?.(message)

process.on('disconnect', () => process.exit(1))
try {
  const definition = await loadPipeline(fileURLToPath(new URL('./pipeline.js', import.meta.url)))
  const running = await runPipeline(definition, {
    world: realWorld,
    log,
    chaos,
    ...(cluster === undefined ? {} : { cluster: { ...cluster, version: '0.0.0-chaos' } }),
  })
  process.on('message', (message: ToRuntime) => {
    if (message.type === 'kill-thread') {
      const owners = running.threads().filter((name) => name.startsWith('owners'))
      const thread = owners[message.pick % Math.max(1, owners.length)] ?? null
      say({ type: 'killed', thread: thread !== null && running.killThread(thread) ? thread : null })
    } else
      void running.status().then((status) =>
        say({
          type: 'status',
          lossWindows: status.sources.reduce((sum, source) => sum + source.lossWindows, 0),
          restarts: status.actors.restarts,
        }),
      )
  })
  process.on('SIGTERM', () => void running.stop())
  say({ type: 'running' })
  const reason = await running.ended
  if (reason.kind === 'error') throw reason.error
  process.exit(0)
} catch (error) {
  const { code, message } = error as { code?: string; message?: string }
  process.stderr.write(`ended: ${code ?? 'error'}: ${message}\n`, () => process.exit(1))
}
