/**
 * The two forms of the log, both on standard error (standard output belongs to sinks and answers): JSON lines by pino,
 * and short lines for a terminal. Passwords of URLs are taken out of both.
 */
import { type Logger as Pino, pino } from 'pino'
import { redactText } from '../pipeline/redact.js'
import type { Logger } from '../world/logger.js'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export function jsonLogger(level: LogLevel, write: (line: string) => void): Pino {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => write(redactText(line)) },
  )
}

const ranks: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 }

/** `write` gets one line without its end. */
export function terminalLogger(least: LogLevel, write: (line: string) => void): Logger {
  const at =
    (level: LogLevel) =>
    (fields: object, message: string): void => {
      if (ranks[level] < ranks[least]) return
      write(redactText(`${level.padEnd(5)} ${message}${fieldsText(fields)}`))
    }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

function fieldsText(fields: object): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `  ${name}=${fieldText(value)}`)
    .join('')
}

function fieldText(value: unknown): string {
  if (value instanceof Error) return value.message
  if (typeof value !== 'object' || value === null) return String(value)
  return JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? inner.toString() : inner)).slice(
    0,
    400,
  )
}
