import type { Logger } from '../../src/world/logger.js'

/** Warnings and errors to stderr, nothing else: a measured run must not write a log. */
export const quietLog: Logger = {
  debug() {},
  info() {},
  warn: (fields, message) => say('warn', message, fields),
  error: (fields, message) => say('error', message, fields),
}

function say(level: string, message: string, fields: object): void {
  process.stderr.write(`${level}: ${message} ${JSON.stringify(fields)}\n`)
}
