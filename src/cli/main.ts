#!/usr/bin/env node
/** The `troupe` command. */
import { readFileSync } from 'node:fs'
import { endNow } from './end.js'
import { failureText } from './failure.js'
import { runProgram } from './program.js'

/** The package's own description stands above dist/src/cli. */
function version(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

// A bug of ours or of a handler that nobody awaited: say so and end; the next start goes on from the last checkpoint.
process.on('uncaughtException', (error) => {
  process.stderr.write(failureText(error, process.argv.includes('--verbose')))
  if (process.argv[2] === 'run') endNow()
  process.exit(1)
})
// The reader of a pipe (`| head`) may go first.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))

const code = await runProgram(process.argv.slice(2), version())
process.exitCode = code
// Whatever a failed start has left open must not keep the process: output is written out first.
process.stdout.write('', () => process.stderr.write('', () => process.exit(code)))
