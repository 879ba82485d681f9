/** Starts the writer process and speaks with it; prepares the tables that it writes. */
import { fork } from 'node:child_process'
import { Client } from 'pg'
import { compiled } from '../compiled.js'
import { laneTable } from '../ledger/settle.js'
import type { FromWriter, WriterRequest } from './protocol.js'
import { shopSchema } from './shop.js'

export type WriterProgress = Extract<FromWriter, { type: 'progress' }>

export interface RunningWriter {
  readonly pid: number
  progress(): WriterProgress
  /** Lets every lane end its write, then ends the process. Resolves with the totals. */
  stop(): Promise<{ readonly changes: number; readonly clicks: number; readonly transactions: number }>
  /** Resolves as `stop` does, when the writer has reached its limit. */
  readonly done: Promise<{ readonly changes: number; readonly clicks: number; readonly transactions: number }>
  /** SIGKILL: leaves open intents. */
  kill(): void
}

/** Makes the shop's tables and the lanes' table; a second time does nothing. */
export async function prepareShop(url: string): Promise<void> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    for (const statement of [...shopSchema, laneTable]) await client.query(statement)
  } finally {
    await client.end()
  }
}

export function startWriter(request: WriterRequest): RunningWriter {
  const child = fork(compiled(new URL('./main.js', import.meta.url)), [JSON.stringify(request)], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    execArgv: [],
  })
  let last: WriterProgress = { type: 'progress', changes: 0, clicks: 0, transactions: 0, behindMs: 0, reconnects: 0 }
  const done = new Promise<{ changes: number; clicks: number; transactions: number }>((resolve, reject) => {
    child.on('message', (message: FromWriter) => {
      if (message.type === 'progress') last = message
      else if (message.type === 'done') resolve(message)
      else reject(new Error(`the writer failed: ${message.message}`))
    })
    child.on('error', reject)
    child.on('exit', (code, signal) => reject(new Error(`the writer ended early (${signal ?? code})`)))
  })
  done.catch(() => {})
  return {
    pid: child.pid!,
    progress: () => last,
    done,
    stop() {
      if (child.connected) child.send({ type: 'stop' })
      return done
    },
    kill: () => void child.kill('SIGKILL'),
  }
}
