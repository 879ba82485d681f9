/** Threads as Node's workers. A worker that throws, runs out of memory or exits is a death with its reason as text. */
import { Worker } from 'node:worker_threads'
import { compiled } from '../loader.js'
import type { ThreadDriver } from './driver.js'
import type { Batch } from './link.js'
import type { ToHost } from './to-host.js'

export const DEFAULT_HEAP_MB = 256

export function workerDriver(heapMb: number = DEFAULT_HEAP_MB): ThreadDriver {
  const here = import.meta.url
  const entry = new URL(compiled(new URL(here.endsWith('.ts') ? './worker.ts' : './worker.js', here).href))
  return {
    start(birth, events) {
      const worker = new Worker(entry, {
        workerData: birth,
        name: birth.thread,
        execArgv: [],
        resourceLimits: { maxOldGenerationSizeMb: heapMb },
      })
      let cause: string | undefined
      let dead = false
      worker.on('message', (batch: Batch<ToHost>) => {
        if (!dead) events.received(batch)
      })
      // 'exit' follows, also after an error.
      worker.on('error', (error: unknown) => {
        cause ??= describe(error)
      })
      worker.on('exit', (code) => {
        if (dead) return
        dead = true
        events.died(cause ?? `exit code ${code}`)
      })
      return {
        post: (batch) => worker.postMessage(batch),
        terminate(detail) {
          cause ??= detail
          void worker.terminate()
        },
      }
    },
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return `uncaught: ${String(error)}`
  const code = (error as { code?: unknown }).code
  if (code === 'ERR_WORKER_OUT_OF_MEMORY') return `out of memory: ${error.message}`
  return `uncaught: ${error.name}: ${error.message}`
}
