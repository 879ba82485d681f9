/** How errors end a command: printed as `error[code] place: message` with the remedy, and an exit code of 1 or 2. */
import { problemsOf } from '../pipeline/problem.js'
import { redactText } from '../pipeline/redact.js'
import { messageOf, TroupeError } from '../world/error.js'

/** The lines to print, without a stack unless `verbose`. Passwords in URLs are taken out, whoever wrote the message. */
export function failureText(error: unknown, verbose: boolean): string {
  const errors: readonly unknown[] = error instanceof TroupeError ? problemsOf(error) : [error]
  const lines = errors.flatMap((one) => linesOf(one))
  const stack = verbose && error instanceof Error ? [stackOf(error)] : []
  return redactText(`${[...lines, ...stack].join('\n')}\n`)
}

export function exitCodeOf(error: unknown): 1 | 2 {
  return error instanceof TroupeError ? error.exitCode : 1
}

function linesOf(error: unknown): string[] {
  if (!(error instanceof TroupeError)) return [`error[internal]: ${messageOf(error)}`]
  const place = error.place === undefined ? '' : ` ${error.place}`
  const head = `error[${error.code}]${place}: ${error.message}`
  return error.remedy === undefined ? [head] : [head, `  remedy: ${error.remedy}`]
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${stackOf(error.cause)}` : ''
  return `${error.stack ?? error.message}${cause}`
}
