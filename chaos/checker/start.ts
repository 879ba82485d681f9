/** Runs the checker in a process of its own. */
import { spawn } from 'node:child_process'
import { compiled } from '../compiled.js'
import type { CheckReport, CheckRequest } from './run.js'

const deadlineMs = 120_000

/** @throws Error where the checker could not judge */
export function judge(request: CheckRequest): Promise<CheckReport> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [compiled(new URL('./main.js', import.meta.url)), JSON.stringify(request)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: deadlineMs,
    })
    let out = ''
    let errors = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text
    })
    child.on('error', reject)
    child.on('close', (code) => {
      if (code === 0 || code === 1) resolve(JSON.parse(out) as CheckReport)
      else reject(new Error(errors.trim() || `the checker ended with ${code}`))
    })
  })
}
