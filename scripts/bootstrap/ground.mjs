// What every step of the bootstrap stands on: the root, how it speaks, how it fails, how it runs a program.
import { spawn } from 'node:child_process'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..')

/** An error for a person: where, why, what to do. */
export class Failure extends Error {
  constructor({ place, cause, remedy, exitCode = 1 }) {
    super(cause)
    this.place = place
    this.remedy = remedy
    this.exitCode = exitCode
  }
}

export function fail(failure) {
  throw new Failure(failure)
}

export function say(line) {
  process.stderr.write(`· ${line}\n`)
}

/** Runs `work` and says how long it took. */
export async function timed(title, work) {
  const start = performance.now()
  say(`${title} …`)
  const result = await work()
  say(`${title}: ${seconds(performance.now() - start)}`)
  return result
}

export function seconds(milliseconds) {
  return `${(milliseconds / 1000).toFixed(1)} s`
}

/**
 * Runs a program in the foreground and gives its exit code, 128 + n after signal n as shells do.
 * Ctrl-C reaches it from the terminal itself; a SIGTERM to us is passed on.
 */
export function run(program, args, { env = process.env, output = 'inherit' } = {}) {
  return new Promise((done, refused) => {
    const child = spawn(program, args, {
      cwd: root,
      env,
      stdio: ['inherit', output === 'inherit' ? 'inherit' : 2, 'inherit'],
    })
    const ignore = () => {}
    const pass = () => child.kill('SIGTERM')
    process.on('SIGINT', ignore)
    process.on('SIGTERM', pass)
    const settle = () => {
      process.off('SIGINT', ignore)
      process.off('SIGTERM', pass)
    }
    child.once('error', (error) => {
      settle()
      refused(error)
    })
    child.once('exit', (code, signal) => {
      settle()
      done(code ?? 128 + (signalNumbers[signal] ?? 0))
    })
  })
}

const signalNumbers = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGABRT: 6, SIGKILL: 9, SIGSEGV: 11, SIGTERM: 15 }
